"""Labels that are probably wrong, by confident learning on out-of-sample probabilities.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", https://arxiv.org/abs/1911.00068, as cleanlab implements it.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.audit.vote_agreement import VoteAgreement, measure_agreement
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError
from mien.evaluation.out_of_sample import (
    NO_FOLD,
    CrossValidation,
    faces_sha256,
    read_cross_validation,
)

#: How cleanlab scores a label: by how far its probability is below the largest of the others.
#: Measured on FER2013 by five folds of hog-logistic: of the 1,000 most doubtful labels FER+ voters
#: hold 69 % wrong, where the label's probability alone ("self_confidence") comes to 62 %, its
#: entropy-weighted form to 55 %, and chance to 28 %.
_SCORE: Final = "normalized_margin"


@dataclass(frozen=True, kw_only=True)
class ClassDoubt:
    """How many labels of one class are doubtful.

    Attributes:
        name: The class.
        count: Faces with this label.
        doubtful: Of these, the ones whose label is probably wrong.
        suggested: The class most often suggested for those; empty where there are none.
    """

    name: str
    count: int
    doubtful: int
    suggested: str

    @property
    def share(self) -> float:
        """Share of the class's faces that are doubtful, 0 to 1; 0 of none."""
        return self.doubtful / self.count if self.count else 0.0


@dataclass(frozen=True, kw_only=True)
class LabelPair:
    """Two classes that labels confuse.

    Attributes:
        label: The class that faces are labelled as.
        likely: The class that they seem to be of.
        share: Share of all faces of which that is estimated, 0 to 1.
    """

    label: str
    likely: str
    share: float


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelErrors:
    """What confident learning makes of a data set's labels.

    Attributes:
        quality: ``(N,)`` float32 cleanlab's label quality score, from 0, doubtful, to 1.
        is_issue: ``(N,)`` bool which labels are doubtful: as many of each pair of classes as the
            joint holds wrong, the surest ones (cleanlab's pruning by noise rate).
        suggested: ``(N,)`` int64 the class that the probabilities hold most probable.
        probabilities: ``(N, C)`` float32, out of sample.
        joint: ``(C, C)`` float64 estimated share of all faces by label (row) and true class.
        labels: ``(N,)`` int64 the labels that were rated.
        names: ``(N,)`` where each face came from.
        classes: The class names.
        source: How the probabilities came about, for readers.
        agreement: How FER+ votes agree, where the data set has them.
    """

    quality: npt.NDArray[np.float32]
    is_issue: npt.NDArray[np.bool_]
    suggested: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    joint: npt.NDArray[np.float64] = field(repr=False)
    labels: npt.NDArray[np.int64] = field(repr=False)
    names: npt.NDArray[np.str_] = field(repr=False)
    classes: tuple[str, ...]
    source: str
    agreement: VoteAgreement | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ranking(self) -> npt.NDArray[np.int64]:
        """``(N,)`` int64 indices of all faces, the most doubtful label first."""
        return np.argsort(self.quality, kind="stable")

    @property
    def doubtful(self) -> int:
        """How many labels are doubtful."""
        return int(self.is_issue.sum())

    def surer_than(self, probability: float) -> list[tuple[int, int]]:
        """Return the doubtful labels' indices and what they are read as with that probability.

        Args:
            probability: The least, 0 to 1.
        """
        sure = self.is_issue & (self.probabilities.max(axis=1) >= probability)
        return [(int(index), int(self.suggested[index])) for index in np.flatnonzero(sure)]

    def per_class(self) -> tuple[ClassDoubt, ...]:
        """Return each class's doubtful labels."""
        size = len(self.classes)
        cells = self.labels[self.is_issue] * size + self.suggested[self.is_issue]
        found = np.bincount(cells, minlength=size**2).reshape(size, size)
        counts = np.bincount(self.labels, minlength=size)
        return tuple(
            ClassDoubt(
                name=name,
                count=int(counts[label]),
                doubtful=int(row.sum()),
                suggested=self.classes[row.argmax()] if row.any() else "",
            )
            for label, (name, row) in enumerate(zip(self.classes, found, strict=True))
        )

    def pairs(self) -> tuple[LabelPair, ...]:
        """Return the pairs of classes that labels confuse at all, the most confused first."""
        shares = self.joint * ~np.eye(len(self.classes), dtype=bool)
        order = np.argsort(-shares, axis=None, kind="stable")
        return tuple(
            LabelPair(label=self.classes[label], likely=self.classes[likely], share=float(share))
            for label, likely in zip(*np.unravel_index(order, shares.shape), strict=True)
            if (share := shares[label, likely]) > 0
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain JSON types, doubtful faces, the worst first."""
        ranked = self.ranking[self.is_issue[self.ranking]]
        return {
            "source": self.source,
            "faces": len(self),
            "doubtful": self.doubtful,
            "per_class": {
                each.name: {"faces": each.count, "doubtful": each.doubtful, "share": each.share}
                for each in self.per_class()
            },
            "pairs": [dict(vars(pair)) for pair in self.pairs()],
            "agreement": None if self.agreement is None else self.agreement.to_dict(),
            "labels": [
                {
                    "index": int(index),
                    "name": str(self.names[index]),
                    "label": self.classes[self.labels[index]],
                    "suggested": self.classes[self.suggested[index]],
                    "probability": float(self.probabilities[index].max()),
                    "quality": float(self.quality[index]),
                }
                for index in ranked
            ],
        }


def find_label_errors(
    dataset: ExpressionDataset, probabilities: npt.NDArray[np.floating], *, source: str
) -> LabelErrors:
    """Find labels that are probably wrong.

    Args:
        dataset: The faces and their labels.
        probabilities: ``(N, C)`` each face's, by a model that did not learn from it.
        source: How they came about, for readers.

    Raises:
        DataError: There are fewer than two classes with faces.
        ValueError: The probabilities are not ``(N, C)`` numbers from 0 to 1 that sum to 1.
    """
    shape = (len(dataset), len(dataset.classes))
    if probabilities.shape != shape:
        raise ValueError(f"expected probabilities {shape}, got {probabilities.shape}")
    sums = probabilities.sum(axis=1)
    if not (np.all(probabilities >= 0) and np.allclose(sums, 1, atol=1e-3)):
        raise ValueError("expected probabilities from 0 to 1 that sum to 1 for each face")
    if len(np.unique(dataset.labels)) < 2:
        raise DataError("label errors are found among two classes or more: all faces are of one")
    scaled = probabilities.astype(np.float64) / sums[:, None]
    quality, is_issue, joint = _learn_confidently(dataset.labels, scaled)
    suggested = scaled.argmax(axis=1)
    agreement = None
    if dataset.votes is not None:
        ranking = np.argsort(quality, kind="stable")
        agreement = measure_agreement(
            dataset.votes, dataset.labels, suggested, ranking, classes=dataset.classes
        )
    return LabelErrors(
        quality=quality,
        is_issue=is_issue,
        suggested=suggested,
        probabilities=scaled.astype(np.float32),
        joint=joint,
        labels=dataset.labels,
        names=dataset.names,
        classes=dataset.classes,
        source=source,
        agreement=agreement,
    )


def rate_labels(dataset: ExpressionDataset, folder: str | Path) -> LabelErrors:
    """Find label errors by the probabilities of a cross-validation.

    Args:
        dataset: The very faces and labels that were cross-validated; votes may have been added.
        folder: What :func:`mien.evaluation.cross_validation.cross_validate` wrote.

    Raises:
        CheckpointError: There is no finished cross-validation, or it is of other data.
        DataError: There are fewer than two classes with faces.
    """
    found = read_cross_validation(folder)
    if found.faces_sha256 != faces_sha256(dataset):
        raise CheckpointError(f"{folder}: {_difference(found, dataset)}: cross-validate it anew")
    others = "; the mean of all folds for other splits" if (found.fold_of == NO_FOLD).any() else ""
    source = (
        f"{found.folds}-fold cross-validation of {found.recipe.get('name', 'a recipe')} "
        f"({100 * found.mean:.1f} ± {100 * found.deviation:.1f} % of its training faces read as "
        f"labelled{others})"
    )
    return find_label_errors(dataset, found.probabilities, source=source)


def _difference(found: CrossValidation, dataset: ExpressionDataset) -> str:
    """Return in which way the data of a cross-validation is other than a data set."""
    if found.classes != dataset.classes:
        return (
            f"the cross-validation is of the classes {', '.join(found.classes)}, "
            f"the data of {', '.join(dataset.classes)}"
        )
    if len(found.fold_of) != len(dataset):
        return (
            f"the cross-validation is of {len(found.fold_of):,} faces, the data of {len(dataset):,}"
        )
    return "the cross-validation is of other faces, labels or splits than the data"


def _learn_confidently(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return cleanlab's quality of each label, its choice of doubtful ones, and the joint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that only speed it up
        from cleanlab.count import compute_confident_joint, estimate_joint  # noqa: PLC0415
        from cleanlab.filter import find_label_issues  # noqa: PLC0415 - slow to import
        from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

        counts = compute_confident_joint(labels, probabilities)
        is_issue = find_label_issues(labels, probabilities, confident_joint=counts, n_jobs=1)
        joint = estimate_joint(labels, probabilities, confident_joint=counts)
        quality = get_label_quality_scores(labels, probabilities, method=_SCORE)
    return quality.astype(np.float32), is_issue.astype(bool), joint.astype(np.float64)
