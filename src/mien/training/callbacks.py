"""What a run does beside learning: it is watched, and its checkpoints are kept."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.callbacks.callback import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mien.cache import atomic_write
from mien.metadata import BEST
from mien.training.history import History
from mien.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: The current epoch, from 1.
        epochs: Most epochs there will be.
        step: Steps done in this epoch.
        steps: Steps in an epoch.
        metrics: The epoch's figures once it is over; None before.
        prepared: Share of the features of a frozen network that are computed, 0 to 1, before the
            first step; None once it trains.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    metrics: dict[str, float] | None = None
    prepared: float | None = None


class Watcher(Callback):
    """Keeps the history and tells whoever watches."""

    def __init__(
        self, recipe: Recipe, history: History, watch: Callable[[Progress], None] | None
    ) -> None:
        self._epochs = recipe.epochs
        self._history = history
        self._watch = watch

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Let the first epoch's time begin before features are computed."""
        self._epoch_began = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Forget what was logged after the checkpoint that is resumed from."""
        self._history.truncate(trainer.current_epoch)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Tell of a step."""
        self._tell(trainer, batch_idx + 1, None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Keep an epoch's figures and tell of them."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        metrics["seconds"] = time.monotonic() - self._epoch_began
        self._epoch_began = time.monotonic()
        self._history.append(trainer.current_epoch + 1, metrics)
        self._tell(trainer, int(trainer.num_training_batches), metrics)

    def _tell(self, trainer: pl.Trainer, step: int, metrics: dict[str, float] | None) -> None:
        if self._watch is not None:
            epoch, steps = trainer.current_epoch + 1, int(trainer.num_training_batches)
            self._watch(
                Progress(epoch=epoch, epochs=self._epochs, step=step, steps=steps, metrics=metrics)
            )


def keep_checkpoint(folder: Path, name: str) -> ModelCheckpoint:
    """Return the callback that keeps one checkpoint; an epoch is kept whole or not at all."""
    return _Keeper(
        folder,
        filename=Path(name).stem,
        monitor="val_accuracy" if name == BEST else None,
        mode="max",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


class _Keeper(ModelCheckpoint):
    """A :class:`ModelCheckpoint` that knows its best again after the run's folder has moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[name] = here(moved.get(name, ""))
        moved["best_k_models"] = {here(p): v for p, v in moved.get("best_k_models", {}).items()}
        super().load_state_dict(moved)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the old one, then puts it in its place.

    Lightning's own goes by way of the system's temporary folder, which may be another disk: a
    stop while it is copied would cost the only checkpoint.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Write a checkpoint, whole or not at all."""
        with atomic_write(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
