import json

import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation.calibration.temperature import (
    TEMPERATURE_RANGE,
    TemperatureFit,
    calibrate_logits,
    fit_temperature,
)
from mien.evaluation.metrics import cross_entropy

Logits = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def calibrated(count: int) -> tuple[Logits, Labels]:
    """Logits of seven classes, and labels as frequent as the probabilities that they mean.

    Every ten faces have the same logits, so that chance has less of a say.
    """
    rng = np.random.default_rng(1)
    logits = np.repeat(2 * rng.normal(size=(count // 10, 7)), 10, axis=0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = np.add.outer(rng.random(count // 10), np.arange(10)).reshape(-1, 1) / 10
    return logits, (probabilities.cumsum(axis=1) > drawn).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, labels = calibrated(10_000)

    found = fit_temperature(temperature * logits, labels)

    assert found == pytest.approx(temperature, rel=0.01)


def test_it_is_exact_where_labels_are_as_frequent_as_their_probabilities() -> None:
    logits = np.tile(np.log([0.7, 0.2, 0.1]), (10, 1))
    labels = np.repeat([0, 1, 2], [7, 2, 1])

    assert fit_temperature(1.7 * logits, labels) == pytest.approx(1.7, rel=1e-7)
    # A constant more on all of a face's logits means nothing.
    assert fit_temperature(1.7 * logits + 1e4, labels) == pytest.approx(1.7, rel=1e-6)


def test_no_temperature_near_it_has_less_loss() -> None:
    logits, labels = calibrated(500)
    best = fit_temperature(logits, labels)

    for other in (0.97 * best, 1.03 * best):
        assert cross_entropy(logits / best, labels) < cross_entropy(logits / other, labels)


def test_faces_without_finite_logits_are_left_out() -> None:
    logits, labels = calibrated(300)
    damaged = logits.copy()
    damaged[0], damaged[1, 3], damaged[2, 4] = np.nan, np.inf, -np.inf

    assert fit_temperature(damaged, labels) == fit_temperature(logits[3:], labels[3:])
    with pytest.raises(ValueError, match="no face has finite logits"):
        fit_temperature(np.full((4, 7), np.nan), labels[:4])


def test_where_none_is_best_it_is_the_bound() -> None:
    lowest, highest = TEMPERATURE_RANGE
    always_right = np.eye(7)[np.arange(7)]

    assert fit_temperature(always_right, np.arange(7)) == lowest
    assert fit_temperature(-always_right, np.arange(7)) == highest
    assert fit_temperature(np.array([[1e308, -1e308]] * 2), np.array([0, 1])) == highest
    assert fit_temperature(np.zeros((3, 7)), np.zeros(3, np.int64)) == 1


def test_a_fit_tells_what_it_changes() -> None:
    logits, labels = calibrated(2000)

    fit = calibrate_logits(3 * logits, labels)

    assert fit.temperature == pytest.approx(3, rel=0.05)
    assert fit.after.ece < 0.05
    assert fit.before.ece > 0.2
    assert fit.after.cross_entropy < fit.before.cross_entropy
    assert fit.after.accuracy == fit.before.accuracy
    assert fit.cross_fitted_ece == pytest.approx(fit.after.ece, abs=0.02)
    assert calibrate_logits(3 * logits, labels) == fit
    assert calibrate_logits(3 * logits, labels, seed=1).cross_fitted_ece != fit.cross_fitted_ece


def test_the_cross_fitted_error_is_not_of_faces_fitted_on() -> None:
    # Ten faces are few: a temperature of their own flatters them.
    fits = [
        calibrate_logits(logits, labels)
        for logits, labels in (
            (np.random.default_rng(seed).normal(size=(10, 3)), np.arange(10) % 3)
            for seed in range(20)
        )
    ]

    assert np.mean([fit.cross_fitted_ece - fit.after.ece for fit in fits]) > 0.01


def test_one_face_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        calibrate_logits(np.zeros((1, 7)), np.zeros(1, np.int64))


def test_a_fit_survives_the_journey() -> None:
    fit = calibrate_logits(*calibrated(200))
    values = json.loads(json.dumps(fit.to_dict(), allow_nan=False))

    assert TemperatureFit.from_dict(values) == fit
    with pytest.raises(ValueError, match="expected a number"):
        TemperatureFit.from_dict({**values, "temperature": 0})
    with pytest.raises(KeyError):
        TemperatureFit.from_dict({"temperature": 1})
