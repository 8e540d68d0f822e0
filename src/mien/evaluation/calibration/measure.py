"""Calibration: whether a model's probabilities mean what they say.

A model is calibrated when, of the faces that it reads with a probability of 0.8, eight in ten are
read right. All figures are from logits, in NumPy.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.intervals import DEVIATIONS_95
from mien.evaluation.json_values import read_count, read_number
from mien.evaluation.metrics import cross_entropy

#: Bins of every calibration error. Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599
BINS: Final = 15

#: Points of the curve of risk and coverage, a twentieth of the faces from one to the next.
_COVERAGE_POINTS: Final = 20

#: Enough for a standard deviation within 5 %.
_RESAMPLES: Final = 200
#: Faces drawn at once when resampling; bounds the memory that a large split takes.
_DRAWN_AT_ONCE: Final = 2_000_000
#: A logit so far below the largest has no probability left, whatever the temperature.
_FARTHEST: Final = -1e6

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class ConfidenceBin:
    """The faces whose confidence, the probability of the most probable class, is in one range.

    Attributes:
        low: Confidence that it starts above.
        high: Confidence that it ends with.
        count: Its faces, at least 1.
        confidence: Their mean confidence.
        accuracy: Share of them read right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ConfidenceBin":
        """Read a bin of a JSON file."""
        shares = ("low", "high", "confidence", "accuracy")
        return cls(
            count=read_count(values["count"], low=1),
            **{name: read_number(values[name], low=0, high=1) for name in shares},
        )


@dataclass(frozen=True, kw_only=True)
class CoveragePoint:
    """The faces read with at least some confidence.

    Attributes:
        threshold: That confidence.
        coverage: Share of all faces that have it.
        accuracy: Share of those read right.
    """

    threshold: float
    coverage: float
    accuracy: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CoveragePoint":
        """Read a point of a JSON file."""
        names = ("threshold", "coverage", "accuracy")
        return cls(**{name: read_number(values[name], low=0, high=1) for name in names})


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well a model's probabilities mean what they say, on one split.

    Attributes:
        ece: Expected calibration error, 0 to 1: how far confidence and accuracy lie apart in 15
            bins of equal width, averaged over the faces. Source: Guo et al. 2017,
            https://arxiv.org/abs/1706.04599
        ece_interval: Its 95 % interval, by resampling the faces.
        adaptive_ece: The same with bins of equally many faces. Source: Nixon et al. 2019,
            https://arxiv.org/abs/1904.01685
        classwise_ece: The error of each class's probability, whichever class is the most probable,
            averaged over the classes. Source: Kull et al. 2019, https://arxiv.org/abs/1910.12656
        brier: Squared distance of the probabilities from the label's, summed over the classes, 0
            to 2. Source: Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
        cross_entropy: Mean cross-entropy in nats.
        bins: The bins of equal width that have faces, of rising confidence.
        risk_coverage: What share of the faces is left, and how many of these are read right, as
            more and more confidence is asked for; coverage falls from 1. Source: El-Yaniv and
            Wiener 2010, https://www.jmlr.org/papers/v11/el-yaniv10a.html
    """

    ece: float
    ece_interval: tuple[float, float]
    adaptive_ece: float
    classwise_ece: float
    brier: float
    cross_entropy: float
    bins: tuple[ConfidenceBin, ...]
    risk_coverage: tuple[CoveragePoint, ...]

    @property
    def count(self) -> int:
        """Faces measured."""
        return sum(each.count for each in self.bins)

    @property
    def accuracy(self) -> float:
        """Share of the faces read right."""
        return sum(each.count * each.accuracy for each in self.bins) / self.count

    @property
    def confidence(self) -> float:
        """Mean confidence; above :attr:`accuracy` where the model is surer than it is right."""
        return sum(each.count * each.confidence for each in self.bins) / self.count

    @property
    def ece_by_chance(self) -> float:
        """About what :attr:`ece` would be, on average, were the model perfectly calibrated.

        A bin's accuracy would vary as a normal variable does, whose mean absolute deviation is
        √(2/π) of its standard deviation.
        """
        spreads = (
            math.sqrt(2 / math.pi * each.confidence * (1 - each.confidence) * each.count)
            for each in self.bins
        )
        return sum(spreads) / self.count

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return {
            "ece": self.ece,
            "ece_interval": list(self.ece_interval),
            "adaptive_ece": self.adaptive_ece,
            "classwise_ece": self.classwise_ece,
            "brier": self.brier,
            "cross_entropy": self.cross_entropy,
            "bins": [asdict(each) for each in self.bins],
            "risk_coverage": [asdict(point) for point in self.risk_coverage],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or there are no bins or points.
        """
        low, high = (read_number(value, low=0, high=1) for value in values["ece_interval"])
        bins = tuple(ConfidenceBin.from_dict(each) for each in values["bins"])
        points = tuple(CoveragePoint.from_dict(each) for each in values["risk_coverage"])
        if not bins or not points:
            raise ValueError("a calibration without bins or without a risk–coverage curve")
        errors = ("ece", "adaptive_ece", "classwise_ece")
        return cls(
            **{name: read_number(values[name], low=0, high=1) for name in errors},
            ece_interval=(low, high),
            brier=read_number(values["brier"], low=0, high=2),
            cross_entropy=read_number(values["cross_entropy"], low=0),
            bins=bins,
            risk_coverage=points,
        )


@dataclass(frozen=True, kw_only=True)
class UncertainFaces:
    """Faces whose most probable expression is below a probability, and so is not told.

    Attributes:
        below: The probability.
        count: All faces, uncertain or not.
        uncertain: Those below.
        uncertain_wrong: Those below whose most probable class is not the label.
        wrong: All those whose most probable class is not the label.
    """

    below: float
    count: int
    uncertain: int
    uncertain_wrong: int
    wrong: int

    @property
    def share(self) -> float:
        """Share of the faces that are uncertain."""
        return self.uncertain / self.count

    @property
    def error(self) -> float | None:
        """Share of the uncertain ones that would be read wrong; None where there are none."""
        return self.uncertain_wrong / self.uncertain if self.uncertain else None

    @property
    def told_error(self) -> float | None:
        """Share of the others that are read wrong; None where there are none."""
        told = self.count - self.uncertain
        return (self.wrong - self.uncertain_wrong) / told if told else None


def measure_calibration(
    logits: npt.NDArray[np.floating[Any]], labels: _Integers, *, seed: int = 0
) -> Calibration:
    """Measure the calibration of logits against labels.

    Args:
        logits: ``(N, C)``, N at least 1, finite.
        labels: ``(N,)`` class indices.
        seed: Draws the faces that the interval is from.

    Raises:
        ValueError: The shapes do not fit, there is nothing to measure, or a logit is not finite.
    """
    check_logits(logits, labels)
    probabilities = _softmax(logits)
    confidence, right = _readings(probabilities, labels)
    bins = _bin_of(confidence)
    ece = _error(confidence - right, bins)
    return Calibration(
        ece=ece,
        ece_interval=_interval(ece, confidence - right, bins, seed=seed),
        adaptive_ece=_adaptive_error(confidence, right),
        classwise_ece=_classwise_error(probabilities, labels),
        brier=_brier(probabilities, labels),
        cross_entropy=cross_entropy(logits, labels),
        bins=_confidence_bins(confidence, right, bins),
        risk_coverage=_risk_coverage(confidence, right),
    )


def expected_calibration_error(logits: npt.NDArray[np.floating[Any]], labels: _Integers) -> float:
    """Return the expected calibration error alone; see :class:`Calibration`.

    Args:
        logits: ``(N, C)``, N at least 1, finite.
        labels: ``(N,)`` class indices.

    Raises:
        ValueError: The shapes do not fit, there is nothing to measure, or a logit is not finite.
    """
    check_logits(logits, labels)
    confidence, right = _readings(_softmax(logits), labels)
    return _error(confidence - right, _bin_of(confidence))


def count_uncertain(
    logits: npt.NDArray[np.floating[Any]], labels: _Integers, *, below: float
) -> UncertainFaces:
    """Count the faces whose most probable class is less probable than a limit.

    Args:
        logits: ``(N, C)``, N at least 1, finite.
        labels: ``(N,)`` class indices.
        below: The limit, 0 to 1.

    Raises:
        ValueError: The shapes do not fit, there is nothing to count, or a logit is not finite.
    """
    check_logits(logits, labels)
    confidence, right = _readings(_softmax(logits), labels)
    uncertain = confidence < below
    return UncertainFaces(
        below=below,
        count=len(labels),
        uncertain=int(uncertain.sum()),
        uncertain_wrong=int((uncertain & ~right).sum()),
        wrong=int((~right).sum()),
    )


def check_shapes(logits: npt.NDArray[np.floating[Any]], labels: _Integers) -> None:
    """Raise :class:`ValueError` where there are no ``(N, C)`` logits for ``(N,)`` labels."""
    if logits.ndim != 2 or not logits.size or labels.shape != (len(logits),):
        raise ValueError(f"{logits.shape} logits for labels of the shape {labels.shape}")


def check_logits(logits: npt.NDArray[np.floating[Any]], labels: _Integers) -> None:
    """Raise :class:`ValueError` where there are none that are finite, for as many labels."""
    check_shapes(logits, labels)
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")


def shift_logits(logits: npt.NDArray[np.floating[Any]]) -> _Floats:
    """Return logits with 0 for the largest of each row, so that no exponential overflows."""
    wide = logits.astype(np.float64)
    # Halved first: two finite numbers may lie farther apart than the largest one.
    halves = wide / 2 - wide.max(axis=1, keepdims=True) / 2
    shifted: _Floats = 2 * np.maximum(halves, _FARTHEST / 2)
    return shifted


def _softmax(logits: npt.NDArray[np.floating[Any]]) -> _Floats:
    exponentials = np.exp(shift_logits(logits))
    probabilities: _Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _readings(probabilities: _Floats, labels: _Integers) -> tuple[_Floats, npt.NDArray[np.bool_]]:
    """Return each face's confidence, and whether it is read right."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _bin_of(values: _Floats) -> npt.NDArray[np.int64]:
    """Return the bin of each value from 0 to 1; a bin starts above its lower edge."""
    return np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _error(gaps: _Floats, bins: npt.NDArray[np.int64]) -> float:
    """Return the calibration error of each face's confidence less 1 where right, 0 where wrong."""
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(gaps))


def _interval(
    ece: float, gaps: _Floats, bins: npt.NDArray[np.int64], *, seed: int
) -> tuple[float, float]:
    """Return an error's 95 % interval: normal, as wide as the error varies between resamples.

    Not the resamples' percentiles: chance alone parts confidence from accuracy, so the error of
    few faces is too large, and resampling would enlarge it a second time.
    """
    rng = np.random.default_rng(seed)
    count = len(gaps)
    errors: list[_Floats] = []
    rows = max(1, min(_RESAMPLES, _DRAWN_AT_ONCE // count))
    for start in range(0, _RESAMPLES, rows):
        size = min(rows, _RESAMPLES - start)
        drawn = rng.integers(0, count, (size, count))
        cells = (bins[drawn] + BINS * np.arange(size)[:, None]).ravel()
        sums = np.bincount(cells, weights=gaps[drawn].ravel(), minlength=size * BINS)
        errors.append(np.abs(sums.reshape(size, BINS)).sum(axis=1) / count)
    half = DEVIATIONS_95 * float(np.concatenate(errors).std())
    return max(0.0, ece - half), min(1.0, ece + half)


def _adaptive_error(confidence: _Floats, right: npt.NDArray[np.bool_]) -> float:
    order = np.argsort(confidence, kind="stable")
    bins = np.empty(len(order), np.int64)
    bins[order] = np.arange(len(order)) * BINS // len(order)
    return _error(confidence - right, bins)


def _classwise_error(probabilities: _Floats, labels: _Integers) -> float:
    errors = [
        _error(of_class - (labels == index), _bin_of(of_class))
        for index, of_class in enumerate(probabilities.T)
    ]
    return float(np.mean(errors))


def _brier(probabilities: _Floats, labels: _Integers) -> float:
    wanted = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())


def _confidence_bins(
    confidence: _Floats, right: npt.NDArray[np.bool_], bins: npt.NDArray[np.int64]
) -> tuple[ConfidenceBin, ...]:
    return tuple(
        ConfidenceBin(
            low=index / BINS,
            high=(index + 1) / BINS,
            count=int((bins == index).sum()),
            confidence=float(confidence[bins == index].mean()),
            accuracy=float(right[bins == index].mean()),
        )
        for index in np.unique(bins).tolist()
    )


def _risk_coverage(confidence: _Floats, right: npt.NDArray[np.bool_]) -> tuple[CoveragePoint, ...]:
    """Return the curve from all faces to the surest; faces as sure as each other stay together."""
    order = np.argsort(-confidence, kind="stable")
    sorted_down, rights = confidence[order], right[order].cumsum()
    count = len(order)
    wanted = np.ceil(count * np.arange(_COVERAGE_POINTS, 0, -1) / _COVERAGE_POINTS).astype(int)
    # The last face of at least that confidence, by counting from the unsure end.
    kept = count - np.searchsorted(sorted_down[::-1], sorted_down[wanted - 1], side="left")
    return tuple(
        CoveragePoint(
            threshold=float(sorted_down[last - 1]),
            coverage=last / count,
            accuracy=float(rights[last - 1] / last),
        )
        for last in sorted(set(kept.tolist()), reverse=True)
    )
