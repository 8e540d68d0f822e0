"""What a run's epochs tell: the gap between training and validation, and overfitting by a rule."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluation.json_values import finite_or_none

#: A model that reads its training faces this much better than others knows them by heart. A
#: convention: runs here that still improved at their end stayed below it.
OVERFIT_GAP_POINTS: Final = 10.0

#: Validation loss above its lowest by this share has turned, rather than trembled.
OVERFIT_LOSS_RISE: Final = 0.1

#: The end of a run is the median of so many last epochs at most, since single ones tremble.
_LAST_EPOCHS: Final = 3


@dataclass(frozen=True, kw_only=True)
class TrainingDynamics:
    """How training and validation went apart.

    Attributes:
        epochs: Epochs finished.
        best_epoch: The epoch of the best validation accuracy, from 1; its weights are the model.
        train_accuracy: Training accuracy in that epoch, 0 to 1; None where it is not a number.
            Where it is known, that of the finished model on plain training faces.
        val_accuracy: Validation accuracy in that epoch, likewise.
        lowest_loss_epoch: The epoch of the lowest validation loss, from 1; None where it never was
            a number.
        loss_rise: How far validation loss ended above its lowest, as a share of the lowest; the
            end is the median of the last three epochs after the lowest, and 0 where there are
            none. None where the loss diverged.
        diverged_epoch: The first epoch whose training or validation loss is not a finite number;
            None where all are.
    """

    epochs: int
    best_epoch: int
    train_accuracy: float | None
    val_accuracy: float | None
    lowest_loss_epoch: int | None
    loss_rise: float | None
    diverged_epoch: int | None = None

    @property
    def gap_points(self) -> float | None:
        """Training less validation accuracy at the best epoch, in percentage points."""
        if self.train_accuracy is None or self.val_accuracy is None:
            return None
        return 100 * (self.train_accuracy - self.val_accuracy)

    @property
    def overfits(self) -> bool:
        """Whether the gap, or the rise of the validation loss, is past its threshold."""
        gap, rise = self.gap_points, self.loss_rise
        return (gap is not None and gap >= OVERFIT_GAP_POINTS) or (
            rise is not None and rise >= OVERFIT_LOSS_RISE
        )

    @property
    def still_improving(self) -> bool:
        """Whether the best epoch was the last, so that more might have been better."""
        return self.best_epoch == self.epochs > 1

    def verdict(self) -> str:
        """Return one or two plain sentences."""
        parts = [part for part in (self._accuracies(), self._losses()) if part]
        opening = "The model overfits" if self.overfits else "No overfitting to speak of"
        if self.diverged_epoch is not None:
            opening = (
                f"The loss diverged: in epoch {self.diverged_epoch} it is no finite number, so "
                f"train again with a lower learning rate"
            )
            if self.overfits:
                opening += ". The model overfits as well"
        elif self.still_improving and not self.overfits:
            parts[-1] += ". The best epoch is the last, so longer training may gain more"
        return f"{': '.join([opening, '; '.join(parts)]) if parts else opening}."

    def _accuracies(self) -> str:
        if self.train_accuracy is None or self.val_accuracy is None:
            return ""
        return (
            f"at epoch {self.best_epoch}, the best, it reads {100 * self.train_accuracy:.1f} % of "
            f"the training faces and {100 * self.val_accuracy:.1f} % of the validation faces, "
            f"a gap of {self.gap_points:.1f} points"
        )

    def _losses(self) -> str:
        if self.loss_rise is None:
            return ""
        if self.loss_rise < 0.005:
            return "validation loss ended where it was lowest"
        return (
            f"validation loss ended {100 * self.loss_rise:.0f} % above its lowest, "
            f"of epoch {self.lowest_loss_epoch}"
        )


def training_dynamics(
    rows: Sequence[Mapping[str, float]], *, plain_accuracy: float | None = None
) -> TrainingDynamics:
    """Judge a run by its epochs.

    Args:
        rows: One an epoch with ``epoch``, ``train_accuracy``, ``val_accuracy`` and ``val_loss``,
            and ``train_loss`` where it is known, in order, at least one.
        plain_accuracy: What the weights of the best epoch reach on training faces read as the
            validation faces are, 0 to 1; by default that epoch's own training accuracy counts,
            which dropout and augmentation lower.

    Raises:
        ValueError: There are no epochs.
    """
    if not rows:
        raise ValueError("no epochs to judge")
    best = max(rows, key=lambda row: _or(row["val_accuracy"], -math.inf))
    lowest = min(range(len(rows)), key=lambda i: _or(rows[i]["val_loss"], math.inf))
    diverged = [
        int(row["epoch"])
        for row in rows
        if not math.isfinite(row["val_loss"] + row.get("train_loss", 0.0))
    ]
    return TrainingDynamics(
        epochs=len(rows),
        best_epoch=int(best["epoch"]),
        train_accuracy=finite_or_none(
            best["train_accuracy"] if plain_accuracy is None else plain_accuracy
        ),
        val_accuracy=finite_or_none(best["val_accuracy"]),
        lowest_loss_epoch=(
            int(rows[lowest]["epoch"]) if math.isfinite(rows[lowest]["val_loss"]) else None
        ),
        loss_rise=None if diverged else _rise([row["val_loss"] for row in rows[lowest:]]),
        diverged_epoch=diverged[0] if diverged else None,
    )


def _rise(losses: Sequence[float]) -> float:
    """Return how far losses rose above the first, the lowest, as a share of it."""
    lowest, *after = losses
    if not after or lowest <= 0:
        return 0.0
    # Of two, the lower: a single bad epoch is no rise.
    return statistics.median_low(after[-_LAST_EPOCHS:]) / lowest - 1


def _or(value: float, otherwise: float) -> float:
    """Return a finite value, or another in place of any that is not."""
    return value if math.isfinite(value) else otherwise
