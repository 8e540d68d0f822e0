"""The Lightning module: loss, optimiser, schedule, and what each epoch measures."""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mien.data.dataset import ExpressionDataset
from mien.training.batches import (
    EvaluationBatches,
    Faces,
    FeatureBatches,
    TrainingBatches,
    epoch_seed,
)
from mien.training.callbacks import Progress
from mien.training.initial import hold_frozen
from mien.training.losses import ExpressionLoss
from mien.training.processes import Share
from mien.training.recipe import DataConfig, OptimizerConfig, Recipe, ScheduleConfig
from mien.training.teachers import Teachers

#: Faces a batch when nothing is learned; larger was not faster on two cores.
EVALUATION_BATCH = 256

#: Faces a batch when features are computed once; backbones enlarge each to 200 KB and more.
FEATURE_BATCH = 64


class TrainingData(pl.LightningDataModule):
    """Both splits, moved to the device once, batched anew each epoch."""

    def __init__(
        self,
        recipe: Recipe,
        training: ExpressionDataset,
        validation: ExpressionDataset,
        *,
        mean: float,
        std: float,
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        super().__init__()
        self._watch = watch
        self._recipe = recipe
        self._training = training
        self._validation = validation
        self._standard = {"mean": mean, "std": std}
        self._on_device: dict[str, Faces] = {}
        self._features: dict[str, Tensor] = {}

    def train_dataloader(self) -> TrainingBatches | FeatureBatches:
        """Return the current epoch's batches; the trainer asks for them every epoch."""
        assert self.trainer is not None
        faces = self._faces("training", self._training, voting=self._recipe.data)
        epoch = self.trainer.current_epoch
        share = Share(self.trainer.global_rank, self.trainer.world_size)
        if self._recipe.has_fixed_features:
            features = self._features_of("training", faces)
            return FeatureBatches(
                features, faces.targets, faces.labels, self._recipe, epoch=epoch, share=share
            )
        return TrainingBatches(faces, self._recipe, epoch=epoch, share=share, **self._standard)

    def val_dataloader(self) -> EvaluationBatches | DataLoader[tuple[Tensor, ...]]:
        """Return the validation batches; every process measures all of them."""
        faces = self._faces("validation", self._validation)
        if self._recipe.has_fixed_features:
            features = self._features_of("validation", faces)
            return DataLoader(TensorDataset(features, faces.labels), batch_size=EVALUATION_BATCH)
        return EvaluationBatches(faces, batch_size=EVALUATION_BATCH, **self._standard)

    def _faces(
        self, name: str, dataset: ExpressionDataset, *, voting: DataConfig | None = None
    ) -> Faces:
        if name not in self._on_device:
            assert self.trainer is not None
            device = self.trainer.strategy.root_device
            self._on_device[name] = Faces(dataset, device, voting=voting)
        return self._on_device[name]

    def _features_of(self, name: str, faces: Faces) -> Tensor:
        """Return ``(N, F)`` features, computed when first asked for."""
        if name not in self._features:
            assert self.trainer is not None
            network: Any = self.trainer.lightning_module.network
            was_training = network.training
            network.eval()
            batches = EvaluationBatches(faces, batch_size=FEATURE_BATCH, **self._standard)
            parts: list[Tensor] = []
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                for batch, _ in batches:
                    self._tell_prepared(len(parts) / len(batches))
                    parts.append(network.features(_to_channels_last(batch)).float())
            network.train(was_training)
            self._features[name] = torch.cat(parts)
        return self._features[name]

    def _tell_prepared(self, share: float) -> None:
        if self._watch is not None:
            assert self.trainer is not None
            epoch = self.trainer.current_epoch + 1
            epochs = self._recipe.epochs
            self._watch(Progress(epoch=epoch, epochs=epochs, step=0, steps=0, prepared=share))


class ExpressionModule(pl.LightningModule):
    """Trains one network by one recipe.

    Logs ``train_loss``, ``train_accuracy``, ``val_loss``, ``val_accuracy`` and ``lr`` per epoch;
    accuracies are fractions, losses are cross-entropies in nats (the training one smoothed).
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        loss: ExpressionLoss,
        teachers: Teachers,
        *,
        card_json: str,
    ) -> None:
        super().__init__()
        self.network = network
        self._recipe = recipe
        self._card_json = card_json
        self._loss = loss
        self._teachers = teachers
        self._epochs_done = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the network's logits for faces, or for features where these are fixed."""
        if self._recipe.has_fixed_features:
            return self.network.classify(inputs)  # type: ignore[operator, no-any-return]
        return self.network(_to_channels_last(inputs))  # type: ignore[no-any-return]

    def on_train_epoch_start(self) -> None:
        """Seed what the network draws itself (dropout), so that resuming changes nothing."""
        seed = epoch_seed(self._recipe.seed, self.current_epoch)
        torch.manual_seed(Share(self.trainer.global_rank).seed(seed))
        hold_frozen(self.network, self._recipe)
        self._epochs_done = self.current_epoch
        if self.current_epoch == self._recipe.optimizer.switch_epoch > 0:
            self.trainer.strategy.setup_optimizers(self.trainer)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Return the loss of one batch."""
        inputs, targets = batch
        logits = self(inputs)
        distillation = self._recipe.distillation
        loss = self._teachers.measure(self._loss, logits, targets, inputs, distillation)
        self._log("train", loss, logits, targets if targets.ndim == 1 else targets.argmax(dim=1))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Measure one batch."""
        inputs, labels = batch
        logits = self(inputs).float()
        self._log("val", F.cross_entropy(logits, labels), logits, labels)

    def _log(self, stage: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        hits = (logits.argmax(dim=1) == labels).float().mean()
        values = {f"{stage}_loss": loss.detach(), f"{stage}_accuracy": hits}
        # Over all processes, so that each takes the same decisions.
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser and its schedule, stepped every batch, or by the validation loss."""
        recipe = self._recipe
        switch = recipe.optimizer.switch_epoch
        switched = 0 < switch <= self._epochs_done
        optimizer = build_optimizer(self.network, recipe.optimizer, switched=switched)
        steps = int(self.trainer.estimated_stepping_batches) // recipe.epochs
        if recipe.schedule.name == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=recipe.schedule.factor, patience=recipe.schedule.plateau_epochs
            )
            # As an "epoch" scheduler it would be stepped after the checkpoint is kept, and a run
            # resumed from that would miss the step; every so many steps, it comes before.
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": plateau,
                    "monitor": "val_loss",
                    "interval": "step",
                    "frequency": steps,
                },
            }
        schedule, first, last = recipe.schedule, 0, recipe.epochs
        if switched:
            first = switch
            schedule = ScheduleConfig(name=schedule.name)
        elif switch:
            last = min(switch, recipe.epochs)
        restarts = [epoch for epoch in schedule.restart_epochs if epoch < last]
        ends = [steps * (epoch - first) for epoch in (*restarts, last)]
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(schedule, step=step, ends=ends)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Learn how far the run is before its optimiser is made."""
        self._epochs_done = int(checkpoint["epoch"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the JSON metadata that :mod:`mien.training.checkpoint` reads."""
        checkpoint["mien"] = self._card_json


def build_optimizer(
    network: nn.Module, config: OptimizerConfig, *, switched: bool = False
) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over the network's parameters.

    Args:
        network: Its trainable parameters are taken.
        config: The optimiser.
        switched: Whether ``sgd`` has taken over from the first one.
    """
    if switched:
        config = replace(config, name="sgd", lr=config.switch_lr)
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, config.lr, momentum=config.momentum, nesterov=nesterov)
    if config.name == "adam":
        return torch.optim.Adam(groups, config.lr)
    return torch.optim.AdamW(groups, config.lr)


def rate_factor(schedule: ScheduleConfig, *, step: int, ends: Sequence[int]) -> float:
    """Return the share of the full learning rate at a step.

    Args:
        schedule: How the rate goes.
        step: The step, from 0.
        ends: The step at which each decay ends; the last one is the run's number of steps.
    """
    decay = min(bisect.bisect_right(ends, step), len(ends) - 1)
    if decay > 0:
        gone = (step - ends[decay - 1]) / (ends[decay] - ends[decay - 1])
        return schedule.restart_factors[decay - 1] * _decay(schedule.name, gone)
    rising = round(schedule.warmup * ends[0])
    if step < rising:
        return 1 / 25 + (1 - 1 / 25) * step / rising
    return _decay(schedule.name, (step - rising) / max(1, ends[0] - rising))


def _decay(name: str, gone: float) -> float:
    """Return what is left of the rate when a share of the decay's steps is gone."""
    if name == "constant":
        return 1.0
    gone = min(1.0, gone)
    return (1 + math.cos(math.pi * gone)) / 2 if name == "cosine" else 1 - gone


def _to_channels_last(faces: Tensor) -> Tensor:
    # Convolutions on the CPU and on tensor cores want channels last; with one channel the layout
    # of the input is ambiguous and has to be said.
    return faces.contiguous(memory_format=torch.channels_last)
