"""Whether two models differ by more than chance: McNemar's exact test, the paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.intervals import (
    RESAMPLES,
    Interval,
    draw_counts,
    macro_f1,
    percentile_interval,
)

#: A difference less probable than this, were there none, is taken for real.
SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a second model differs from a first on the same faces.

    Attributes:
        only_first: Faces that only the first reads right.
        only_second: Faces that only the second reads right.
        accuracy: Second less first, -1 to 1.
        accuracy_interval: Its 95 % interval by the paired bootstrap.
        macro_f1: Second less first, -1 to 1.
        macro_f1_interval: Its 95 % interval by the paired bootstrap.
        p_value: Of McNemar's exact test: how often two equally good models differ so much or more.
        adjusted_p: The p-value once it is known that several differences were looked at, by Holm.
        comparisons: How many those are.
    """

    only_first: int
    only_second: int
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    p_value: float
    adjusted_p: float
    comparisons: int = 1

    @property
    def is_noise(self) -> bool:
        """Whether chance alone may explain the difference in accuracy."""
        return self.adjusted_p >= SIGNIFICANCE

    def verdict(self) -> str:
        """Return in one sentence whether the difference can be relied on."""
        low, high = (100 * end for end in self.accuracy_interval)
        points = f"{100 * self.accuracy:+.2f} points of accuracy ({low:+.2f} to {high:+.2f})"
        p_value = f"p = {self.adjusted_p:.2g}" if self.adjusted_p >= 1e-4 else "p < 0.0001"
        among = f", Holm over {self.comparisons}" if self.comparisons > 1 else ""
        if self.is_noise:
            return f"{points}: within noise (McNemar {p_value}{among})"
        return f"{points}: more than noise (McNemar {p_value}{among})"

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain JSON types."""
        return {
            "only_first": self.only_first,
            "only_second": self.only_second,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "macro_f1": self.macro_f1,
            "macro_f1_interval": list(self.macro_f1_interval),
            "p_value": self.p_value,
            "adjusted_p": self.adjusted_p,
            "comparisons": self.comparisons,
            "noise": self.is_noise,
        }


def compare_readings(
    labels: npt.NDArray[np.integer[Any]],
    first: npt.NDArray[np.integer[Any]],
    others: Sequence[npt.NDArray[np.integer[Any]]],
    *,
    classes: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Return how each of several models differs from a first one.

    Args:
        labels: ``(N,)`` class indices.
        first: ``(N,)`` what the first model read.
        others: What each other one read.
        classes: How many there are.
        resamples: Of the paired bootstrap.
        seed: Of its draws.
    """
    alone = [_difference(labels, first, other, classes, resamples, seed) for other in others]
    adjusted = holm([difference.p_value for difference in alone])
    return tuple(
        replace(difference, adjusted_p=p_value, comparisons=len(alone))
        for difference, p_value in zip(alone, adjusted, strict=True)
    )


def mcnemar(first_right: npt.NDArray[np.bool_], second_right: npt.NDArray[np.bool_]) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Of the faces that only one model reads right, equally good ones read half each.

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996; for classifiers Dietterich 1998,
    https://doi.org/10.1162/089976698300017197

    Args:
        first_right: ``(N,)`` whether the first model reads a face right.
        second_right: ``(N,)`` whether the second does.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = ways = 1  # of choosing none; each number of ways from the one before, which is quick
    for chosen in range(1, fewer + 1):
        ways = ways * (total - chosen + 1) // chosen
        tail += ways
    return min(1.0, tail / 2 ** (total - 1)) if total else 1.0


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values of tests made together, by Holm's step-down correction.

    Source: Holm 1979, https://www.jstor.org/stable/4615733

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def _difference(
    labels: npt.NDArray[np.integer[Any]],
    first: npt.NDArray[np.integer[Any]],
    second: npt.NDArray[np.integer[Any]],
    classes: int,
    resamples: int,
    seed: int,
) -> Difference:
    first_right, second_right = first == labels, second == labels
    p_value = mcnemar(first_right, second_right)
    # One table of label, first and second holds all that a paired resample can change.
    cells = np.ravel_multi_index((labels, first, second), (classes,) * 3)
    counts = np.bincount(cells, minlength=classes**3).reshape((classes,) * 3)
    accuracies, f1s = _differences(counts[None])
    drawn_accuracies, drawn_f1s = _differences(draw_counts(counts, resamples=resamples, seed=seed))
    return Difference(
        only_first=int((first_right & ~second_right).sum()),
        only_second=int((second_right & ~first_right).sum()),
        accuracy=float(accuracies[0]),
        accuracy_interval=percentile_interval(drawn_accuracies),
        macro_f1=float(f1s[0]),
        macro_f1_interval=percentile_interval(drawn_f1s),
        p_value=p_value,
        adjusted_p=p_value,
    )


def _differences(
    counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return second less first, in accuracy and macro-F1, of ``(R, C, C, C)`` tables."""
    first, second = counts.sum(axis=3), counts.sum(axis=2)
    totals = counts.sum(axis=(1, 2, 3))
    right = [table.diagonal(axis1=1, axis2=2).sum(axis=1) for table in (first, second)]
    return (right[1] - right[0]) / totals, macro_f1(second) - macro_f1(first)
