"""A data set looked at before anyone trains on it: the facts, without any drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.duplicates import Duplicates, find_duplicates
from mien.data.ferplus import majority_expressions, most_saw
from mien.data.measures import Measure, blocks, is_flat, measure_images
from mien.data.row_problems import Column, RowProblem, ValueCounts, count_problems
from mien.errors import DataError
from mien.expressions import EXPRESSIONS

#: From here on the largest class outweighs the smallest so far that accuracy alone misleads.
_NOTABLE_IMBALANCE: Final = 3.0
#: Of the values that cannot be used, as many are told one by one.
LISTED_PROBLEMS: Final = 20


@dataclass(frozen=True, kw_only=True)
class VoteFacts:
    """What FER+ votes say of a data set.

    Attributes:
        without: Images that nobody voted on.
        not_a_face: Images that most of their voters took for no face.
        decided: Images with one of the seven expressions on more than half of their votes.
        agreeing: Of these, the ones whose expression is the data set's label.
    """

    without: int
    not_a_face: int
    decided: int
    agreeing: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Exploration:
    """The facts of a data set; classes (C) are those it declares, splits (S) those with images.

    Attributes:
        classes: The class names; a label is an index into them.
        splits: The splits that have any image.
        counts: ``(S, C)`` int64 images.
        image_shape: Height and width.
        image_dtype: Type of a pixel.
        label_dtype: Type of a label.
        labels: ``(N,)`` int64.
        names: ``(N,)`` where each image came from.
        grey_levels: ``(S, 256)`` int64 pixels of each grey level.
        mean_faces: ``(C, H, W)`` float32; zeros for a class without images.
        flat: Indices of images of one colour, which show nothing.
        measures: Brightness, contrast and sharpness of each image.
        duplicates: Images whose pixels are the same.
        votes: What the FER+ votes say, where the data set has them.
        samples: Some indices of each class that has any, drawn with the seed, ascending.
        seed: Of the samples.
        fingerprint: Of the data set; empty where rows were left out.
        problems: The values for which rows of the source were left out, in its order.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    image_shape: tuple[int, int]
    image_dtype: str
    label_dtype: str
    labels: npt.NDArray[np.int64]
    names: npt.NDArray[np.str_]
    grey_levels: npt.NDArray[np.int64]
    mean_faces: npt.NDArray[np.float32]
    flat: npt.NDArray[np.int64]
    measures: tuple[Measure, ...]
    duplicates: Duplicates
    votes: VoteFacts | None
    samples: Mapping[str, npt.NDArray[np.int64]]
    seed: int
    fingerprint: str
    problems: tuple[RowProblem, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """``(C,)`` images of each class, over all splits."""
        totals: npt.NDArray[np.int64] = self.counts.sum(axis=0)
        return totals

    @property
    def imbalance(self) -> float:
        """Images of the largest class for one of the smallest that has any."""
        present = self.class_counts[self.class_counts > 0]
        return float(present.max() / present.min())

    @property
    def pixel_mean_std(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels, in grey levels from 0 to 255."""
        return _mean_std(self.grey_levels.sum(axis=0))

    @property
    def is_outlier(self) -> npt.NDArray[np.bool_]:
        """``(N,)``: which images lie beyond a limit of any measure."""
        outside: npt.NDArray[np.bool_] = np.any(
            [each.is_low | each.is_high for each in self.measures], axis=0
        )
        return outside

    @property
    def left_out(self) -> int:
        """Rows of the source that are left out, since a value of theirs cannot be used."""
        return len({problem.name for problem in self.problems})

    @property
    def missing_values(self) -> dict[Column, ValueCounts]:
        """Values of each column that are missing or unreadable."""
        return count_problems(self.problems)

    def split_mean_std(self) -> dict[str, tuple[float, float]]:
        """Return :attr:`pixel_mean_std` of each split."""
        return {
            split: _mean_std(levels)
            for split, levels in zip(self.splits, self.grey_levels, strict=True)
        }

    def outliers_of(self, measure: Measure) -> dict[str, tuple[int, int]]:
        """Return each class's images below and above a measure's limits."""
        size = len(self.classes)
        low = np.bincount(self.labels[measure.is_low], minlength=size)
        high = np.bincount(self.labels[measure.is_high], minlength=size)
        return {
            name: (int(below), int(above))
            for name, below, above in zip(self.classes, low, high, strict=True)
        }

    def copies(self) -> dict[tuple[str, str], int]:
        """Return how many images of the second split the first has too, exact copies.

        Each pair is told once, in the order of :data:`mien.data.dataset.SPLITS`; a split with
        itself stands for its own repeats.
        """
        codes = [SPLITS.index(split) for split in self.splits]
        return {
            (SPLITS[first], SPLITS[second]): int(self.duplicates.copies[first, second])
            for first in codes
            for second in codes
            if first <= second
        }

    def findings(self) -> list[str]:
        """Return what to mind before training, a sentence each, the gravest first."""
        return [*_gaps(self), *_leaks(self), *_oddities(self), *_imbalances(self)]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as native values for JSON; images by name, never by pixel."""
        votes = self.votes
        return {
            "images": len(self),
            "fingerprint": self.fingerprint,
            "image_shape": list(self.image_shape),
            "image_dtype": self.image_dtype,
            "label_dtype": self.label_dtype,
            "label_encoding": dict(enumerate(self.classes)),
            "counts": {
                split: dict(zip(self.classes, row, strict=True))
                for split, row in zip(self.splits, self.counts.tolist(), strict=True)
            },
            "left_out": self.left_out,
            "missing_values": {
                column: counts._asdict() for column, counts in self.missing_values.items()
            },
            "problems": [dict(vars(each)) for each in self.problems[:LISTED_PROBLEMS]],
            "imbalance": self.imbalance,
            "pixels": self._pixels_dict(),
            "flat": self.names[self.flat].tolist(),
            "measures": {each.name: self._measure_dict(each) for each in self.measures},
            "outliers": int(self.is_outlier.sum()),
            "duplicates": {
                "surplus": self.duplicates.surplus,
                "groups": self.duplicates.groups,
                "conflicting": self.duplicates.conflicting,
                "copies": [
                    {"split": second, "of": first, "images": count}
                    for (first, second), count in self.copies().items()
                ],
            },
            "votes": None if votes is None else dict(vars(votes)),
            "samples": {name: self.names[where].tolist() for name, where in self.samples.items()},
            "seed": self.seed,
            "findings": self.findings(),
        }

    def _pixels_dict(self) -> dict[str, Any]:
        mean, std = self.pixel_mean_std
        splits = self.split_mean_std().items()
        return {
            "mean": mean,
            "std": std,
            "splits": {split: {"mean": mean, "std": std} for split, (mean, std) in splits},
        }

    def _measure_dict(self, measure: Measure) -> dict[str, Any]:
        return {
            "definition": measure.definition,
            "min": float(measure.values.min()),
            "quartiles": list(measure.quartiles),
            "max": float(measure.values.max()),
            "low_limit": measure.low,
            "high_limit": measure.high,
            "low": int(measure.is_low.sum()),
            "high": int(measure.is_high.sum()),
            "per_class": {
                name: {"low": low, "high": high}
                for name, (low, high) in self.outliers_of(measure).items()
            },
        }


def explore(
    dataset: ExpressionDataset,
    *,
    problems: Sequence[RowProblem] = (),
    samples: int = 12,
    seed: int = 0,
) -> Exploration:
    """Gather the facts of a data set.

    Args:
        dataset: At least one image.
        problems: For which rows were left out, as :func:`mien.data.load_dataset` told them.
        samples: How many images of each class to draw, at most.
        seed: The same seed draws the same samples.

    Raises:
        DataError: There is no image.
    """
    if not len(dataset):
        raise DataError("the data set has no images, so there is nothing to explore")
    codes = [SPLITS.index(split) for split in dataset.splits]
    counts = [list(dataset.split_counts()[split].values()) for split in dataset.splits]
    grey_levels, mean_faces = _sum_pixels(dataset)
    return Exploration(
        classes=dataset.classes,
        splits=dataset.splits,
        counts=np.array(counts, np.int64),
        image_shape=(dataset.images.shape[1], dataset.images.shape[2]),
        image_dtype=str(dataset.images.dtype),
        label_dtype=str(dataset.labels.dtype),
        labels=dataset.labels,
        names=dataset.names,
        grey_levels=grey_levels[codes],
        mean_faces=mean_faces,
        flat=np.flatnonzero(is_flat(dataset.images)),
        measures=measure_images(dataset.images),
        duplicates=find_duplicates(dataset),
        votes=_vote_facts(dataset),
        samples=_draw_samples(dataset, samples, seed),
        seed=seed,
        fingerprint=dataset.fingerprint,
        problems=tuple(problems),
    )


def _sum_pixels(
    dataset: ExpressionDataset,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return grey levels, ``(len(SPLITS), 256)``, and mean faces, ``(C, H, W)``."""
    levels = np.zeros(len(SPLITS) * 256, np.int64)
    sums = np.zeros((len(dataset.classes), dataset.images[0].size))
    for where in blocks(len(dataset)):
        pixels = dataset.images[where].reshape(-1, sums.shape[1])
        cells = dataset.split_codes[where, None].astype(np.uint16) * 256 + pixels
        levels += np.bincount(cells.ravel(), minlength=levels.size)
        is_class = np.arange(len(sums))[:, None] == dataset.labels[where]
        sums += is_class.astype(np.float32) @ pixels.astype(np.float32)
    members = np.bincount(dataset.labels, minlength=len(sums)).clip(1)
    faces = (sums / members[:, None]).astype(np.float32)
    return levels.reshape(-1, 256), faces.reshape(-1, *dataset.images.shape[1:])


def _mean_std(levels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean and standard deviation behind a ``(256,)`` histogram."""
    grey = np.arange(levels.size)
    mean = np.average(grey, weights=levels)
    return float(mean), float(np.sqrt(np.average((grey - mean) ** 2, weights=levels)))


def _draw_samples(
    dataset: ExpressionDataset, samples: int, seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    drawn = {}
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members):
            few = rng.choice(members, min(samples, len(members)), replace=False)
            drawn[name] = np.sort(few)
    return drawn


def _vote_facts(dataset: ExpressionDataset) -> VoteFacts | None:
    if dataset.votes is None:
        return None
    totals = dataset.votes.sum(axis=1)
    majority = majority_expressions(dataset.votes)
    decided = majority >= 0
    labels = np.array(dataset.classes)[dataset.labels]
    agreeing = decided & (np.array(EXPRESSIONS)[majority] == labels)
    return VoteFacts(
        without=int((totals == 0).sum()),
        not_a_face=int(most_saw(dataset.votes, "NF").sum()),
        decided=int(decided.sum()),
        agreeing=int(agreeing.sum()),
    )


def _gaps(facts: Exploration) -> list[str]:
    """Tell of rows that are left out."""
    if not facts.problems:
        return []
    told = [
        f"{column} {count:,} {how}"
        for column, counts in facts.missing_values.items()
        for how, count in counts._asdict().items()
        if count
    ]
    rows = _number(facts.left_out, "image is", "images are")
    return [
        f"{rows} left out here, with values missing or unreadable ({', '.join(told)}); training "
        "refuses the data set"
    ]


def _leaks(facts: Exploration) -> list[str]:
    """Tell of copies across splits, and of copies with several labels."""
    found = [
        f"{_number(count, f'{second} image is an exact copy', f'{second} images are exact copies')}"
        f" of what {first} has too, so a figure on {second} is flattered"
        for (first, second), count in facts.copies().items()
        if count and first != second
    ]
    if facts.duplicates.conflicting:
        pictures = _number(facts.duplicates.conflicting, "picture comes", "pictures come")
        found.append(f"{pictures} more than once, with different labels")
    if facts.duplicates.surplus:
        images = _number(facts.duplicates.surplus, "image repeats", "images repeat")
        found.append(f"{images} an earlier one exactly")
    return found


def _oddities(facts: Exploration) -> list[str]:
    """Tell of images that show nothing, and of those that voters would not name."""
    found = []
    if len(facts.flat):
        found.append(f"{_number(len(facts.flat), 'image is', 'images are')} of one colour: empty")
    if facts.votes and facts.votes.without:
        found.append(f"{_number(facts.votes.without, 'image has', 'images have')} no FER+ votes")
    if facts.votes and facts.votes.not_a_face:
        images = _number(facts.votes.not_a_face, "image is", "images are")
        found.append(f"{images} no face to most of their FER+ voters")
    return found


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _imbalances(facts: Exploration) -> list[str]:
    """Tell of classes and splits that are missing or small."""
    found = []
    totals = facts.class_counts
    empty = [name for name, count in zip(facts.classes, totals, strict=True) if not count]
    if empty:
        found.append(f"no images of {', '.join(empty)}")
    if facts.imbalance >= _NOTABLE_IMBALANCE:
        present = np.flatnonzero(totals)
        largest = facts.classes[totals.argmax()]
        smallest = facts.classes[present[totals[present].argmin()]]
        found.append(
            f"{facts.imbalance:.1f} times as many images of {largest} as of {smallest}, so read "
            "macro-F1 and recalls beside accuracy"
        )
    if len(facts.splits) == 1:
        found.append(f"all images are {facts.splits[0]}, so there is nothing apart to measure on")
    return found
