import itertools
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation.calibration.measure import (
    BINS,
    Calibration,
    count_uncertain,
    expected_calibration_error,
    measure_calibration,
)

Logits = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def calibrated(count: int, *, seed: int = 1) -> tuple[Logits, Labels]:
    """Logits of seven classes, and labels drawn with the very probabilities that they mean."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, 7))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


def logits_of(*confidences: float) -> Logits:
    """Logits of two classes, of which the first has these probabilities."""
    first = np.array(confidences)
    logits: Logits = np.log(np.stack([first, 1 - first], axis=1))
    return logits


def test_figures_are_those_worked_out_by_hand() -> None:
    # Two faces in the bin of 0.8, both right; two in the bin of 0.95, one right.
    logits, labels = logits_of(0.79, 0.78, 0.94, 0.96), np.array([0, 0, 0, 1])

    measured = measure_calibration(logits, labels)

    assert measured.ece == pytest.approx((abs(0.785 - 1) + abs(0.95 - 0.5)) / 2)
    assert expected_calibration_error(logits, labels) == measured.ece
    assert [each.count for each in measured.bins] == [2, 2]
    assert [each.confidence for each in measured.bins] == pytest.approx([0.785, 0.95])
    assert [each.accuracy for each in measured.bins] == [1, 0.5]
    assert (measured.bins[0].low, measured.bins[0].high) == (11 / BINS, 12 / BINS)
    # Fewer faces than bins: each is a bin of its own.
    assert measured.adaptive_ece == pytest.approx((0.21 + 0.22 + 0.06 + 0.96) / 4)
    # Of two classes, the second's probabilities are off by as much, but lie in other bins.
    assert measured.classwise_ece == pytest.approx(measured.ece)
    assert measured.brier == pytest.approx(2 * (0.21**2 + 0.22**2 + 0.06**2 + 0.96**2) / 4)
    assert measured.cross_entropy == pytest.approx(-np.log([0.79, 0.78, 0.94, 0.04]).mean())
    assert (measured.count, measured.accuracy) == (4, 0.75)
    assert measured.confidence == pytest.approx((0.79 + 0.78 + 0.94 + 0.96) / 4)


def test_what_is_calibrated_has_little_error_and_what_is_not_has_more() -> None:
    logits, labels = calibrated(20_000)

    honest, boastful = measure_calibration(logits, labels), measure_calibration(3 * logits, labels)

    assert max(honest.ece, honest.adaptive_ece, honest.classwise_ece) < 0.015
    assert min(boastful.ece, boastful.adaptive_ece) > 0.2
    assert boastful.classwise_ece > 0.05
    assert honest.brier < boastful.brier
    assert honest.accuracy == pytest.approx(boastful.accuracy), "no answer changes"
    assert boastful.confidence - boastful.accuracy == pytest.approx(boastful.ece, abs=0.01)


def test_the_interval_narrows_with_more_faces_and_is_the_same_each_time() -> None:
    few, many = (measure_calibration(*calibrated(count)) for count in (300, 9000))

    for each in (few, many):
        low, high = each.ece_interval
        assert 0 <= low <= each.ece <= high <= 1
    assert np.ptp(many.ece_interval) < np.ptp(few.ece_interval) / 3
    assert measure_calibration(*calibrated(300)) == few
    assert measure_calibration(*calibrated(300), seed=5).ece_interval != few.ece_interval


def test_the_interval_is_as_wide_as_the_error_varies_between_splits() -> None:
    errors = []
    for seed in range(60):
        logits, labels = calibrated(400, seed=seed)
        errors.append(expected_calibration_error(2 * logits, labels))
    logits, labels = calibrated(400, seed=99)

    low, high = measure_calibration(2 * logits, labels).ece_interval

    assert high - low == pytest.approx(2 * 1.96 * np.std(errors), rel=0.35)


def test_asking_for_more_confidence_leaves_fewer_faces_read_better() -> None:
    curve = measure_calibration(*calibrated(5000)).risk_coverage

    assert (curve[0].coverage, len(curve)) == (1, 20)
    for earlier, later in itertools.pairwise(curve):
        assert later.coverage < earlier.coverage
        assert later.threshold > earlier.threshold
    assert curve[-1].accuracy > curve[10].accuracy > curve[0].accuracy


def test_faces_as_sure_as_each_other_are_kept_together() -> None:
    logits = logits_of(0.9, 0.9, 0.9, 0.6)

    curve = measure_calibration(logits, np.array([0, 1, 0, 1])).risk_coverage

    assert [(point.coverage, point.accuracy) for point in curve] == [(1, 0.5), (0.75, 2 / 3)]
    assert [point.threshold for point in curve] == pytest.approx([0.6, 0.9])


def test_uncertain_faces_are_counted() -> None:
    logits, labels = logits_of(0.9, 0.7, 0.6, 0.55), np.array([0, 1, 1, 0])

    found = count_uncertain(logits, labels, below=0.65)

    assert (found.uncertain, found.uncertain_wrong, found.wrong) == (2, 1, 2)
    assert (found.share, found.error, found.told_error) == (0.5, 0.5, 0.5)
    assert count_uncertain(logits, labels, below=0).error is None
    assert count_uncertain(logits, labels, below=1).told_error is None


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.empty((0, 7)), np.empty(0, np.int64)),
        (np.zeros((3, 7)), np.zeros(2, np.int64)),
        (np.zeros(3), np.zeros(3, np.int64)),
        (np.full((2, 7), np.nan), np.zeros(2, np.int64)),
        (np.array([[np.inf, 0]]), np.zeros(1, np.int64)),
    ],
)
def test_what_cannot_be_measured_is_refused(logits: Logits, labels: Labels) -> None:
    with pytest.raises(ValueError, match="logit"):
        measure_calibration(logits, labels)


def test_figures_survive_the_journey() -> None:
    measured = measure_calibration(*calibrated(300))
    values = json.loads(json.dumps(measured.to_dict(), allow_nan=False))

    assert Calibration.from_dict(values) == measured
    assert values == measured.to_dict()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ece", 1.5), ("ece", "0.1"), ("ece_interval", [0.1]), ("ece_interval", None)),
        *(("brier", 3), ("cross_entropy", float("nan")), ("bins", []), ("risk_coverage", [])),
        ("bins", [{"low": 0, "high": 1, "count": 0, "confidence": 1, "accuracy": 1}]),
        ("risk_coverage", [{"threshold": 0, "coverage": 2, "accuracy": 1}]),
    ],
)
def test_damaged_figures_are_refused(name: str, value: Any) -> None:
    values = {**measure_calibration(*calibrated(50)).to_dict(), name: value}

    with pytest.raises((TypeError, ValueError)):
        Calibration.from_dict(values)


def test_one_face_is_measured_too() -> None:
    measured = measure_calibration(logits_of(0.8), np.array([0]))

    assert (measured.ece, measured.brier) == pytest.approx((0.2, 0.08))
    assert measured.ece_interval == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("count", [250, 4_000])
def test_what_chance_makes_the_error_of_a_calibrated_model(count: int) -> None:
    drawn = [measure_calibration(*calibrated(count, seed=seed)) for seed in range(30)]

    errors, expected = (
        [getattr(each, name) for each in drawn] for name in ("ece", "ece_by_chance")
    )
    assert np.mean(expected) == pytest.approx(np.mean(errors), rel=0.15)
