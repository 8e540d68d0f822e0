"""Robustness: how much of a model's accuracy is left where the faces are damaged.

:func:`measure_robustness` shows a model the same faces under every corruption of
:mod:`mien.evaluation.robustness.corruptions` at every strength, and sums up in one mean figure.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation.json_values import read_count, read_number, read_text
from mien.evaluation.metrics import ClassificationMetrics, classification_metrics
from mien.evaluation.predictor import Predictor
from mien.evaluation.robustness.corruptions import CORRUPTIONS, STRENGTHS, Corruption, corrupt

#: Faces damaged and shown at once; bounds the memory that a large split takes.
_CHUNK: Final = 1024


@dataclass(frozen=True, kw_only=True)
class CorruptionFigures:
    """A model under one corruption.

    Attributes:
        levels: What the corruption was set to, in its own unit, weakest first.
        accuracies: Shares of faces read right, 0 to 1, one a level.
        macro_f1s: Mean F1 over the classes that have faces, one a level.
    """

    levels: tuple[float, ...]
    accuracies: tuple[float, ...]
    macro_f1s: tuple[float, ...]

    @property
    def mean_accuracy(self) -> float:
        """Mean over the levels, 0 to 1."""
        return statistics.fmean(self.accuracies)

    @property
    def mean_macro_f1(self) -> float:
        """Mean over the levels, 0 to 1."""
        return statistics.fmean(self.macro_f1s)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CorruptionFigures":
        """Read what :func:`dataclasses.asdict` made of it.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or they are not one a level.
        """
        figures = cls(
            levels=tuple(read_number(level) for level in values["levels"]),
            accuracies=tuple(read_number(a, low=0, high=1) for a in values["accuracies"]),
            macro_f1s=tuple(read_number(f, low=0, high=1) for f in values["macro_f1s"]),
        )
        counts = {len(figures.levels), len(figures.accuracies), len(figures.macro_f1s)}
        if counts != {len(STRENGTHS)}:
            raise ValueError(f"expected {len(STRENGTHS)} figures of a corruption, got {counts}")
        return figures


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """A model under all corruptions.

    Attributes:
        count: Faces measured on, each under every corruption at every strength.
        seed: What chance was drawn from.
        clean_accuracy: Share of the faces read right as they are, 0 to 1.
        clean_macro_f1: Mean F1 on the faces as they are.
        corruptions: Name, as in :mod:`mien.evaluation.robustness.corruptions`, → figures.
    """

    count: int
    seed: int
    clean_accuracy: float
    clean_macro_f1: float
    corruptions: Mapping[str, CorruptionFigures]

    @property
    def mean_accuracy(self) -> float:
        """The one figure: mean accuracy over all corruptions and strengths, 0 to 1."""
        return statistics.fmean(each.mean_accuracy for each in self.corruptions.values())

    @property
    def mean_macro_f1(self) -> float:
        """Mean macro-F1 over all corruptions and strengths, 0 to 1."""
        return statistics.fmean(each.mean_macro_f1 for each in self.corruptions.values())

    @property
    def relative_accuracy(self) -> float | None:
        """Mean accuracy as a share of the clean one; None where the model reads no face right.

        It tells how well a model keeps what it can do; a poor model that is poor everywhere has
        a high one, so it is read beside the mean accuracy.
        """
        return self.mean_accuracy / self.clean_accuracy if self.clean_accuracy else None

    @property
    def worst(self) -> str:
        """Name of the corruption with the lowest mean accuracy."""
        return min(self.corruptions, key=lambda name: self.corruptions[name].mean_accuracy)

    def text(self) -> str:
        """Return the figures as one line for people."""
        kept = self.relative_accuracy
        worst = self.corruptions[self.worst]
        return (
            f"accuracy under {len(self.corruptions)} corruptions at {len(STRENGTHS)} strengths: "
            f"mean {100 * self.mean_accuracy:.2f} %"
            + (f", {100 * kept:.1f} % of the clean" if kept is not None else ", clean")
            + f" {100 * self.clean_accuracy:.2f} %; worst under {corruption_title(self.worst)}, "
            f"mean {100 * worst.mean_accuracy:.2f} %"
        )

    def check_comparable(self, other: "Robustness") -> None:
        """Refuse another model's figures that are of other pictures.

        Raises:
            DataError: Seed, number of faces, or corruptions and their levels differ.
        """

        def protocol(robustness: Robustness) -> tuple[Any, ...]:
            levels = {name: each.levels for name, each in robustness.corruptions.items()}
            return robustness.seed, robustness.count, levels

        if protocol(self) != protocol(other):
            raise DataError(
                f"robustness was measured on other pictures: {self.count} faces with seed "
                f"{self.seed} and {other.count} with seed {other.seed}, or with other levels: "
                "measure the models again on the same faces"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types, those derived from others too."""
        return {
            "count": self.count,
            "seed": self.seed,
            "clean_accuracy": self.clean_accuracy,
            "clean_macro_f1": self.clean_macro_f1,
            "mean_accuracy": self.mean_accuracy,
            "mean_macro_f1": self.mean_macro_f1,
            "relative_accuracy": self.relative_accuracy,
            "corruptions": {
                name: {key: list(values) for key, values in asdict(each).items()}
                for name, each in self.corruptions.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Robustness":
        """Read what :meth:`to_dict` wrote; figures derived from others are derived again.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or there is no corruption.
        """
        corruptions = dict(values["corruptions"])
        if not corruptions:
            raise ValueError("robustness without a corruption")
        return cls(
            count=read_count(values["count"], low=1),
            seed=read_count(values["seed"]),
            clean_accuracy=read_number(values["clean_accuracy"], low=0, high=1),
            clean_macro_f1=read_number(values["clean_macro_f1"], low=0, high=1),
            corruptions={
                read_text(name): CorruptionFigures.from_dict(each)
                for name, each in corruptions.items()
            },
        )


def measure_robustness(
    predictor: Predictor,
    part: ExpressionDataset,
    *,
    seed: int = 0,
    watch: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Measure a model on faces as they are and under every corruption at every strength.

    It takes as long as reading the faces 61 times.

    Args:
        predictor: The model.
        part: The faces, e.g. one split; its classes are the model's.
        seed: What chance is drawn from, at least 0.
        watch: Called after every pass over the faces with passes done and passes in all.

    Raises:
        DataError: There are no faces, or their classes are not the model's.
        ValueError: The seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if not len(part):
        raise DataError("there are no faces to measure robustness on")
    if predictor.classes != part.classes:
        raise DataError(
            f"the model knows {', '.join(predictor.classes)}; the data {', '.join(part.classes)}"
        )
    tell = watch or (lambda _done, _total: None)
    passes = 1 + len(CORRUPTIONS) * len(STRENGTHS)
    clean = _measure(predictor, part)
    tell(1, passes)
    damaged = []
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            damage = partial(corrupt, name=name, strength=strength, seed=seed)
            damaged.append(_measure(predictor, part, damage))
            tell(1 + len(damaged), passes)
    return Robustness(
        count=len(part),
        seed=seed,
        clean_accuracy=clean.accuracy,
        clean_macro_f1=clean.macro_f1,
        corruptions={
            name: _sum_up(corruption, damaged[i * len(STRENGTHS) : (i + 1) * len(STRENGTHS)])
            for i, (name, corruption) in enumerate(CORRUPTIONS.items())
        },
    )


def corruption_title(name: str) -> str:
    """Return a corruption's name for people, also of one that this version does not know."""
    return CORRUPTIONS[name].title if name in CORRUPTIONS else name.replace("_", " ")


def _measure(
    predictor: Predictor,
    part: ExpressionDataset,
    damage: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None = None,
) -> ClassificationMetrics:
    """Measure a model on the faces, after ``damage`` where there is any."""
    logits = []
    for start in range(0, len(part), _CHUNK):
        faces = part.images[start : start + _CHUNK]
        logits.append(predictor.logits(damage(faces) if damage else faces))
    return classification_metrics(np.concatenate(logits), part.labels, part.classes)


def _sum_up(corruption: Corruption, metrics: Sequence[ClassificationMetrics]) -> CorruptionFigures:
    """Put together what was measured at each strength."""
    return CorruptionFigures(
        levels=tuple(float(level) for level in corruption.levels),
        accuracies=tuple(each.accuracy for each in metrics),
        macro_f1s=tuple(each.macro_f1 for each in metrics),
    )
