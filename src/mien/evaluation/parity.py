"""Parity: what a second form of a model answers differently from the first, on the same faces."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.evaluation.calibration.measure import expected_calibration_error
from mien.evaluation.metrics import classification_metrics
from mien.evaluation.significance import Difference, compare_readings


@dataclass(frozen=True, kw_only=True)
class FormFigures:
    """What one form of a model gets right.

    Attributes:
        accuracy: Share of the faces that are read right, 0 to 1.
        macro_f1: Mean F1 over the classes that have any of them.
        ece: Expected calibration error, 0 to 1.
    """

    accuracy: float
    macro_f1: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How a model in another form differs from what it was made of.

    Attributes:
        count: Faces that both read.
        before: Figures of the model that it was made of.
        after: Figures of the new form.
        agreement: Share of the faces that both read as the same class, 0 to 1.
        mean_logit_change: Mean absolute change of a logit.
        largest_logit_change: Largest absolute change of a logit.
        difference: The new form less the old, and whether chance explains it.
    """

    count: int
    before: FormFigures
    after: FormFigures
    agreement: float
    mean_logit_change: float
    largest_logit_change: float
    difference: Difference

    @property
    def lost_points(self) -> float:
        """Percentage points of accuracy lost; negative where they are gained."""
        return -100 * self.difference.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return {**asdict(self), "difference": self.difference.to_dict()}


def measure_parity(
    before: npt.NDArray[np.floating[Any]],
    after: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> Parity:
    """Compare the answers of two forms of a model.

    Args:
        before: ``(N, C)`` logits of the model that the other was made of, N at least 1.
        after: ``(N, C)`` logits of the new form.
        labels: ``(N,)`` class indices.
        classes: The C names.

    Raises:
        ModelError: An answer is not a number.
        ValueError: The shapes do not fit, or there are no faces.
    """
    if before.shape != after.shape:
        raise ValueError(f"{before.shape} and {after.shape} logits: expected the same faces")
    for name, logits in (("first", before), ("second", after)):
        if not np.isfinite(logits).all():
            raise ModelError(f"answers of the {name} form of the model are not numbers")
    figures = [_figures(logits, labels, tuple(classes)) for logits in (before, after)]
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    change = np.abs(after.astype(np.float64) - before)
    (difference,) = compare_readings(labels, old, [new], classes=len(classes))
    return Parity(
        count=len(labels),
        before=figures[0],
        after=figures[1],
        agreement=float((old == new).mean()),
        mean_logit_change=float(change.mean()),
        largest_logit_change=float(change.max()),
        difference=difference,
    )


def _figures(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> FormFigures:
    metrics = classification_metrics(logits, labels, classes)
    return FormFigures(
        accuracy=metrics.accuracy,
        macro_f1=metrics.macro_f1,
        ece=expected_calibration_error(logits, labels),
    )
