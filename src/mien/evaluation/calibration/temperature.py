"""Temperature scaling: one number that makes probabilities mean what they say.

All logits are divided by it, so the most probable class stays the most probable one.

Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.calibration.measure import (
    Calibration,
    check_logits,
    check_shapes,
    expected_calibration_error,
    measure_calibration,
    shift_logits,
)
from mien.evaluation.json_values import read_number

#: Temperatures looked at. A model that is always right has no best one below, nor one that is no
#: better than chance above.
TEMPERATURE_RANGE: Final = (0.05, 20.0)

#: Halvings of the range of temperatures; these leave a share of a hundred-millionth.
_HALVINGS: Final = 30

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """One temperature for a model's logits, and what dividing by it changes.

    Attributes:
        temperature: The temperature of the least cross-entropy.
        before: The model as its network answers.
        after: With the temperature, on the very faces that it was fitted on.
        cross_fitted_ece: Calibration error with temperatures fitted on one half of the faces and
            measured on the other: what to expect of faces that none was fitted on.
    """

    temperature: float
    before: Calibration
    after: Calibration
    cross_fitted_ece: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain JSON types."""
        return {
            "temperature": self.temperature,
            "cross_fitted_ece": self.cross_fitted_ece,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TemperatureFit":
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range.
        """
        low, high = TEMPERATURE_RANGE
        return cls(
            temperature=read_number(values["temperature"], low=low, high=high),
            cross_fitted_ece=read_number(values["cross_fitted_ece"], low=0, high=1),
            before=Calibration.from_dict(values["before"]),
            after=Calibration.from_dict(values["after"]),
        )


def calibrate_logits(
    logits: npt.NDArray[np.floating[Any]], labels: _Integers, *, seed: int = 0
) -> TemperatureFit:
    """Fit a temperature and measure what it changes.

    Args:
        logits: ``(N, C)``, N at least 2, finite, as the network gives them.
        labels: ``(N,)`` class indices.
        seed: Divides the faces into halves, and draws those of the intervals.

    Raises:
        ValueError: The shapes do not fit, there are too few faces, or a logit is not finite.
    """
    check_logits(logits, labels)
    if len(labels) < 2:
        raise ValueError("one face cannot be halved: at least 2 are needed")
    temperature = fit_temperature(logits, labels)
    halves = _halves(labels, seed=seed)
    scaled = np.empty(logits.shape)
    for half in (halves, ~halves):
        scaled[half] = logits[half] / fit_temperature(logits[~half], labels[~half])
    return TemperatureFit(
        temperature=temperature,
        before=measure_calibration(logits, labels, seed=seed),
        after=measure_calibration(logits / temperature, labels, seed=seed),
        cross_fitted_ece=expected_calibration_error(scaled, labels),
    )


def fit_temperature(logits: npt.NDArray[np.floating[Any]], labels: _Integers) -> float:
    """Return the temperature that logits are divided by for the least cross-entropy.

    Cross-entropy is convex in the temperature's inverse, so its slope is followed to where it
    changes its sign. Faces with a logit that is not finite are left out. Where no temperature is
    best, as for a model that is always right, it is the nearest of :data:`TEMPERATURE_RANGE`; where
    it makes no difference, 1.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` class indices.

    Raises:
        ValueError: The shapes do not fit, or no face has finite logits.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    check_shapes(logits, labels)
    finite = np.isfinite(logits).all(axis=1)
    if not finite.any():
        raise ValueError("no face has finite logits")
    shifted = shift_logits(logits[finite])
    if not shifted.any():
        return 1.0
    of_label = float(shifted[np.arange(len(shifted)), labels[finite]].mean())
    lowest, highest = TEMPERATURE_RANGE
    if _slope(shifted, of_label, temperature=lowest) <= 0:
        return lowest
    if _slope(shifted, of_label, temperature=highest) >= 0:
        return highest
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(lowest * highest))
        if _slope(shifted, of_label, temperature=middle) > 0:
            lowest = middle
        else:
            highest = middle
    return float(np.sqrt(lowest * highest))


def _slope(shifted: _Floats, of_label: float, *, temperature: float) -> float:
    """Return cross-entropy's derivative by the inverse temperature; it rises with the inverse."""
    exponentials = np.exp(shifted / temperature)
    means = (exponentials * shifted).sum(axis=1) / exponentials.sum(axis=1)
    return float(means.mean()) - of_label


def _halves(labels: _Integers, *, seed: int) -> npt.NDArray[np.bool_]:
    """Return which faces are of the first half, of each class half, chosen by chance."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    first = np.empty(len(labels), np.bool_)
    first[order] = np.arange(len(labels)) % 2 == 0
    return first
