"""Tells of dense layers that died: little is left of the network, yet its loss still falls."""

import logging
from itertools import pairwise
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

logger = logging.getLogger(__name__)


class DeadUnits(Callback):
    """Warns once where most units behind a ReLU answer to no validation face.

    A unit that is zero for every face has no gradient and stays so. The first steps of Adam kill
    most of a layer that sees thousands of values of one sign; what is left still learns a little,
    which reads like a hard data set (Lu et al. 2020, https://arxiv.org/abs/1903.06733). Normalised
    layers are not watched: in training each of their units answers to some face of a batch, and
    the averages that validation reads with lag behind in a first epoch of few steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answered: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self._told = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Begin to watch."""
        self._answered.clear()
        network: Any = pl_module.network
        normalised = {
            layer
            for parent in network.modules()
            for before, layer in pairwise(parent.children())
            if isinstance(before, nn.BatchNorm1d)
        }
        self._hooks = [
            module.register_forward_hook(lambda *io, name=name: self._note(name, io[-1]))
            for name, module in network.named_modules()
            if isinstance(module, nn.ReLU) and module not in normalised
        ]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Count, and tell where it is most of them."""
        for hook in self._hooks:
            hook.remove()
        units = sum(len(answered) for answered in self._answered.values())
        dead = units - sum(int(each.sum()) for each in self._answered.values())
        if 2 * dead > units and not self._told and trainer.is_global_zero:
            self._told = True
            logger.warning(
                "%d of %d units of dense layers are dead: they answer to no validation face and "
                "learn no more; model.dense_norm=true keeps them alive, a much lower optimizer.lr "
                "more of them",
                dead,
                units,
            )

    def _note(self, name: str, output: Tensor) -> None:
        if output.ndim != 2:  # maps of a convolution have four
            return
        answered = (output > 0).any(dim=0)
        before = self._answered.get(name)
        self._answered[name] = answered if before is None else before | answered
