"""What a run's epochs tell: the gap between training and validation, and overfitting by a rule."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: A model that reads its training faces this much better than others knows them by heart. A
#: convention: runs here that still improved at their end stayed below it.
OVERFIT_GAP_POINTS: Final = 10.0

#: Validation loss above its lowest by this share has turned, rather than trembled.
OVERFIT_LOSS_RISE: Final = 0.1

#: The end of a run is the median of so many last epochs, since single ones tremble.
_LAST_EPOCHS: Final = 3


@dataclass(frozen=True, kw_only=True)
class TrainingDynamics:
    """How training and validation went apart.

    Attributes:
        epochs: Epochs finished.
        best_epoch: The epoch of the best validation accuracy, from 1; its weights are the model.
        train_accuracy: Training accuracy in that epoch, 0 to 1.
        val_accuracy: Validation accuracy in that epoch, 0 to 1.
        lowest_loss_epoch: The epoch of the lowest validation loss, from 1.
        loss_rise: How far validation loss ended above its lowest, as a share of the lowest; the
            end is the median of the last three epochs.
    """

    epochs: int
    best_epoch: int
    train_accuracy: float
    val_accuracy: float
    lowest_loss_epoch: int
    loss_rise: float

    @property
    def gap_points(self) -> float:
        """Training less validation accuracy at the best epoch, in percentage points."""
        return 100 * (self.train_accuracy - self.val_accuracy)

    @property
    def overfits(self) -> bool:
        """Whether the gap, or the rise of the validation loss, is past its threshold."""
        return self.gap_points >= OVERFIT_GAP_POINTS or self.loss_rise >= OVERFIT_LOSS_RISE

    @property
    def still_improving(self) -> bool:
        """Whether the best epoch was the last, so that more might have been better."""
        return self.best_epoch == self.epochs > 1

    def verdict(self) -> str:
        """Return one or two plain sentences."""
        seen = (
            f"at epoch {self.best_epoch}, the best, it reads {100 * self.train_accuracy:.1f} % of "
            f"the training faces and {100 * self.val_accuracy:.1f} % of the validation faces, "
            f"a gap of {self.gap_points:.1f} points"
        )
        if self.loss_rise >= 0.005:
            loss = (
                f"validation loss ended {100 * self.loss_rise:.0f} % above its lowest, "
                f"of epoch {self.lowest_loss_epoch}"
            )
        else:
            loss = "validation loss ended where it was lowest"
        opening = "The model overfits" if self.overfits else "No overfitting to speak of"
        if self.still_improving and not self.overfits:
            loss += ". The best epoch is the last, so longer training may gain more"
        return f"{opening}: {seen}; {loss}."


def training_dynamics(rows: Sequence[Mapping[str, float]]) -> TrainingDynamics:
    """Judge a run by its epochs.

    Args:
        rows: One an epoch with ``epoch``, ``train_accuracy``, ``val_accuracy`` and ``val_loss``,
            in order, at least one.

    Raises:
        ValueError: There are no epochs.
    """
    if not rows:
        raise ValueError("no epochs to judge")
    best = max(rows, key=lambda row: row["val_accuracy"])
    lowest = min(rows, key=lambda row: row["val_loss"])
    end = statistics.median(row["val_loss"] for row in rows[-_LAST_EPOCHS:])
    return TrainingDynamics(
        epochs=len(rows),
        best_epoch=int(best["epoch"]),
        train_accuracy=best["train_accuracy"],
        val_accuracy=best["val_accuracy"],
        lowest_loss_epoch=int(lowest["epoch"]),
        loss_rise=end / lowest["val_loss"] - 1 if lowest["val_loss"] > 0 else 0.0,
    )
