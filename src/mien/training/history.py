"""The history of a run: one row an epoch in ``metrics.csv``, drawn as ``curves.png``."""

import csv
import logging
from pathlib import Path
from typing import Final

from mien.cache import atomic_write
from mien.errors import CheckpointError
from mien.training.tables import write_table

logger = logging.getLogger(__name__)

METRICS: Final = "metrics.csv"
CURVES: Final = "curves.png"

COLUMNS: Final = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "lr",
    "seconds",
)


class History:
    """Rows of :data:`COLUMNS`, kept on disk as they come.

    Args:
        folder: The run's folder.
        keep: Go on from the rows already there.
    """

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self._folder = folder
        path = folder / METRICS
        self.rows: list[dict[str, float]] = []
        if keep and path.is_file():
            self.rows = _read(path)

    def truncate(self, epochs: int) -> None:
        """Forget epochs that were logged but never checkpointed."""
        self.rows = self.rows[:epochs]

    def append(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add an epoch's row and write the file anew."""
        self.rows.append({"epoch": epoch, **{name: metrics[name] for name in COLUMNS[1:]}})
        self.write()

    def write(self) -> None:
        """Write all rows anew, or warn where somebody has the file open on Windows.

        A table that is looked at shall not end a training: a later call makes up for it.
        """
        if not self.rows:
            return
        # Whole floats, so that a resumed run compares epochs as the first sitting did.
        rows = [{**row, "epoch": int(row["epoch"])} for row in self.rows]
        try:
            write_table(self._folder / METRICS, rows)
        except PermissionError as error:
            logger.warning("the metrics are not written, close what shows them: %s", error)

    def best(self) -> dict[str, float] | None:
        """Return the row of the best validation accuracy, the first of equals."""
        return max(self.rows, key=lambda row: row["val_accuracy"], default=None)

    def draw(self) -> None:
        """Write the curves of loss, accuracy and learning rate as a picture."""
        if not self.rows:
            return
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

        epochs = [row["epoch"] for row in self.rows]
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        loss, accuracy, rate = figure.subplots(1, 3)
        for stage, style in (("train", "--"), ("val", "-")):
            loss.plot(epochs, [row[f"{stage}_loss"] for row in self.rows], style, label=stage)
            percent = [100 * row[f"{stage}_accuracy"] for row in self.rows]
            accuracy.plot(epochs, percent, style, label=stage)
        rate.plot(epochs, [row["lr"] for row in self.rows], color="tab:green")
        best = self.best()
        assert best is not None
        accuracy.axvline(best["epoch"], color="0.7", linewidth=1)
        titles = ("loss (nats)", "accuracy (%)", "learning rate")
        for axes, title in zip((loss, accuracy, rate), titles, strict=True):
            axes.set(title=title, xlabel="epoch")
            axes.grid(alpha=0.3)
        loss.legend()
        accuracy.legend()
        with atomic_write(self._folder / CURVES) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def _read(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CheckpointError(f"{path}: not the metrics that mien wrote: {error!r}") from error
