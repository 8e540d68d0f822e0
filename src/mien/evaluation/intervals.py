"""How far a figure may be off: 95 % intervals, from the confusion matrix alone."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

#: Standard deviations on either side of the middle that hold 95 % of a normal distribution.
DEVIATIONS_95: Final = 1.96

#: With so many resamples an interval's end moves by a few hundredths of a point between seeds.
RESAMPLES: Final = 2000

Interval = tuple[float, float]


def wilson_interval(right: float, count: int) -> Interval:
    """Return the 95 % interval of a share, 0 to 1: what the choice of the images leaves open.

    Wilson's score interval, which unlike the normal approximation is not empty where every
    image, or none, is read right.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953

    Args:
        right: Share that was read right, 0 to 1.
        count: Images; without any the share may be anything.
    """
    if not count:
        return 0.0, 1.0
    squared = DEVIATIONS_95**2
    middle = (right + squared / (2 * count)) / (1 + squared / count)
    spread = right * (1 - right) / count + squared / (4 * count**2)
    half = DEVIATIONS_95 * math.sqrt(spread) / (1 + squared / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap_macro_f1(
    confusion: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return macro-F1's 95 % interval by the percentile bootstrap.

    Images drawn anew with replacement fall into the cells of the confusion matrix by the
    multinomial law of its shares, so whole samples are drawn at once.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap"

    Args:
        confusion: ``(C, C)`` counts: row = label, column = prediction.
        resamples: Samples drawn.
        seed: Of the draws.
    """
    counts = np.asarray(confusion, np.int64)
    drawn = draw_counts(counts, resamples=resamples, seed=seed)
    return percentile_interval(macro_f1(drawn))


def draw_counts(
    counts: npt.NDArray[np.int64], *, resamples: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return ``(resamples, *counts.shape)`` tables of as many images drawn with replacement."""
    total = int(counts.sum())
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(total, counts.ravel() / total, size=resamples)
    return drawn.reshape(resamples, *counts.shape)


def macro_f1(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return ``(...)`` macro-F1 of ``(..., C, C)`` tables: the mean over classes with images."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    given, support = confusion.sum(axis=-2), confusion.sum(axis=-1)
    f1 = np.divide(2 * right, given + support, out=np.zeros(right.shape), where=given + support > 0)
    there = support > 0
    means: npt.NDArray[np.float64] = (f1 * there).sum(axis=-1) / there.sum(axis=-1)
    return means


def percentile_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Return what holds the middle 95 % of ``(N,)`` values."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
