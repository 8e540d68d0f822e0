"""A data set audited: what repeats, leaks between splits, or shows nothing worth learning."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.audit.label_errors import LabelErrors
from mien.audit.near_duplicates import NearDuplicates, find_near_duplicates
from mien.audit.non_faces import NonFaces, find_non_faces
from mien.data import SPLITS, ExpressionDataset
from mien.data.duplicates import Duplicates, find_duplicates
from mien.data.measures import Measure, is_flat, measure_images
from mien.errors import DataError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit:
    """What is wrong with a data set (N images, C classes, S splits with images).

    Attributes:
        classes: The class names; a label is an index into them.
        splits: The splits that have any image.
        counts: ``(S, C)`` int64 images.
        labels: ``(N,)`` int64.
        split_codes: ``(N,)`` uint8 indices into :data:`mien.data.SPLITS`.
        names: ``(N,)`` where each image came from.
        fingerprint: Of the data set.
        exact: Images whose pixels are the same.
        near: Images that are nearly the same; None where they were not looked for.
        flat: ``(F,)`` int64 images of one colour, which show nothing.
        non_faces: Images that show no face; None where they were not looked for.
        measures: Brightness, contrast and sharpness of each image, with what is outlying.
        label_errors: Labels that are likely wrong; None where they were not looked for.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    counts: Indices
    labels: Indices
    split_codes: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]
    fingerprint: str
    exact: Duplicates
    near: NearDuplicates | None
    flat: Indices
    non_faces: NonFaces | None
    measures: tuple[Measure, ...]
    label_errors: LabelErrors | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def copies(self) -> Duplicates:
        """Exact copies, and near ones where they were looked for."""
        return self.exact if self.near is None else self.near.duplicates

    @property
    def near_surplus(self) -> int | None:
        """Images that repeat an earlier one nearly and not exactly; None where not looked for."""
        return None if self.near is None else self.near.duplicates.surplus - self.exact.surplus

    def split_of(self, index: int) -> str:
        """Return the split of an image."""
        return SPLITS[int(self.split_codes[index])]

    def class_of(self, index: int) -> str:
        """Return the class of an image."""
        return self.classes[int(self.labels[index])]

    def conflicts(self) -> list[Indices]:
        """Return the groups of exact copies that have different labels, ascending indices each."""
        groups = self.exact.members()
        return [group for group in groups if len(np.unique(self.labels[group])) > 1]

    def leaks(self) -> dict[tuple[str, str], tuple[int, int | None]]:
        """Return how many images of the second split the first has too, exactly and at all.

        The second figure has near copies as well, and is None where they were not looked for.
        Each pair of different splits is told both ways, in the order of :data:`mien.data.SPLITS`.
        """
        codes = [SPLITS.index(split) for split in self.splits]
        near = None if self.near is None else self.near.duplicates.copies
        return {
            (SPLITS[first], SPLITS[second]): (
                int(self.exact.copies[first, second]),
                None if near is None else int(near[first, second]),
            )
            for first in codes
            for second in codes
            if first != second
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as native values for JSON; images by index and name, not by pixel."""
        return {
            "images": len(self),
            "fingerprint": self.fingerprint,
            "counts": {
                split: dict(zip(self.classes, row, strict=True))
                for split, row in zip(self.splits, self.counts.tolist(), strict=True)
            },
            "exact_duplicates": {
                **_figures(self.exact),
                "members": [self._faces(group) for group in self.exact.members()],
            },
            "near_duplicates": None if self.near is None else self._near_dict(self.near),
            "leaks": [
                {"split": second, "of": first, "exact": exact, "exact_or_near": near}
                for (first, second), (exact, near) in self.leaks().items()
            ],
            "flat": self._faces(self.flat),
            "non_faces": None if self.non_faces is None else self._non_faces_dict(self.non_faces),
            "outliers": {each.name: _outliers_dict(each) for each in self.measures},
            "label_errors": None if self.label_errors is None else self.label_errors.to_dict(),
        }

    def _near_dict(self, near: NearDuplicates) -> dict[str, Any]:
        first, second = (self._faces(column) for column in near.pairs.T)
        facts = (near.correlations.tolist(), near.mirrored.tolist())
        return {
            "besides_exact": self.near_surplus,
            **_figures(near.duplicates),
            "pairs": [
                {"first": one, "second": other, "correlation": round(alike, 4), "mirrored": turned}
                for one, other, alike, turned in zip(first, second, *facts, strict=True)
            ],
        }

    def _non_faces_dict(self, found: NonFaces) -> dict[str, Any]:
        return {
            "face_space_limit": found.face_space.high,
            "face_score_limit": found.limit,
            "voted_non_faces": found.voted_non_faces,
            "candidates": len(found.ranked),
            "flagged": [
                {
                    **face,
                    "face_space": round(float(found.face_space.values[face["index"]]), 4),
                    "face_score": round(score, 4),
                }
                for face, score in zip(
                    self._faces(found.flagged), found.scores.tolist(), strict=False
                )
            ],
        }

    def _faces(self, indices: Indices) -> list[dict[str, Any]]:
        return [
            {
                "index": index,
                "name": str(self.names[index]),
                "split": self.split_of(index),
                "label": self.class_of(index),
            }
            for index in indices.tolist()
        ]


def audit(
    dataset: ExpressionDataset,
    *,
    near: bool = True,
    non_faces: bool = True,
    watch: Callable[[str], None] | None = None,
) -> Audit:
    """Look for what is wrong with a data set; FER2013 takes 20 s of one core.

    Args:
        dataset: At least one image.
        near: Whether to look for near copies.
        non_faces: Whether to look for pictures that show no face.
        watch: Called with what is being done.

    Raises:
        DataError: There is no image.
        ModelError: The detector's weights are missing or not those expected.
    """
    if not len(dataset):
        raise DataError("the data set has no images, so there is nothing to audit")
    tell = watch or (lambda _: None)
    tell("looking for copies")
    exact = find_duplicates(dataset)
    measures = measure_images(dataset.images)
    if near:
        tell("looking for near copies")
    copies = find_near_duplicates(dataset) if near else None
    if non_faces:
        tell("looking for faces")
    faceless = find_non_faces(dataset) if non_faces else None
    counts = [list(dataset.split_counts()[split].values()) for split in dataset.splits]
    return Audit(
        classes=dataset.classes,
        splits=dataset.splits,
        counts=np.array(counts, np.int64),
        labels=dataset.labels,
        split_codes=dataset.split_codes,
        names=dataset.names,
        fingerprint=dataset.fingerprint,
        exact=exact,
        near=copies,
        flat=np.flatnonzero(is_flat(dataset.images)),
        non_faces=faceless,
        measures=measures,
    )


def _figures(duplicates: Duplicates) -> dict[str, Any]:
    return {
        "surplus": duplicates.surplus,
        "groups": duplicates.groups,
        "conflicting": duplicates.conflicting,
    }


def _outliers_dict(measure: Measure) -> dict[str, Any]:
    return {
        "definition": measure.definition,
        "low_limit": measure.low,
        "high_limit": measure.high,
        "low": np.flatnonzero(measure.is_low).tolist(),
        "high": np.flatnonzero(measure.is_high).tolist(),
    }
