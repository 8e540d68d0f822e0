"""Training by several processes: which share of the work is this one's.

On one machine, the processes are started by the first; on several, each machine's first is started
by hand (or by torchrun or a cluster's manager), with ``MASTER_ADDR``, ``MASTER_PORT`` and
``NODE_RANK`` set. Gradients are averaged over all. Each process varies and normalises its own
faces: with augmentation, dropout or batch normalisation, the result is as good as that of one
process but not the same.
"""

import sys
from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only

from mien.training.recipe import Recipe

#: Keeps the seeds of different processes' draws apart.
_STRIDE = 7_368_787


@dataclass(frozen=True)
class Processes:
    """How many processes train.

    Attributes:
        devices: Processes on each machine, one for each of its GPUs; on a CPU any number.
        nodes: Machines.
    """

    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        for item in ("devices", "nodes"):
            if getattr(self, item) < 1:
                raise ValueError(f"{item} must be 1 or more, got {getattr(self, item)}")

    @property
    def count(self) -> int:
        """All processes."""
        return self.devices * self.nodes

    def strategy(self) -> str | DDPStrategy:
        """Return how Lightning lets them train together."""
        if self.count == 1:
            return "auto"
        # On GPUs Lightning would take NCCL, which Windows has not.
        return DDPStrategy(process_group_backend="gloo") if sys.platform == "win32" else "ddp"

    def check(self, recipe: Recipe, device: torch.device) -> None:
        """See that a recipe can be trained by so many.

        Raises:
            ValueError: There are fewer devices, the batches cannot be shared out evenly, it is a
                classical baseline, or Python is used interactively.
        """
        if self.count == 1:
            return
        if hasattr(sys, "ps1"):  # the others start as this one did, by its script
            raise ValueError(
                "several processes cannot be started from a notebook or a prompt: use "
                "'mien train --devices', or a script of your own"
            )
        if recipe.is_classical:
            raise ValueError(f"{recipe.model_name} is fitted by one process: leave out devices")
        there = torch.accelerator.device_count() if device.type != "cpu" else self.devices
        if self.devices > there:
            raise ValueError(f"{self.devices} devices wanted, {there} here: ask for {there}")
        if recipe.batch_size % self.count:
            raise ValueError(
                f"batch_size: {recipe.batch_size} faces cannot be shared by {self.count} processes "
                f"evenly; take a multiple of {self.count}"
            )


@dataclass(frozen=True)
class Share:
    """One process's share of each batch.

    Attributes:
        rank: Which process, from 0.
        of: Of how many.
    """

    rank: int = 0
    of: int = 1

    def take(self, where: torch.Tensor) -> torch.Tensor:
        """Return this process's part of ``(N,)`` places; all parts are of one length."""
        return where[self.rank :: self.of]

    def seed(self, seed: int) -> int:
        """Return a seed for what this process draws for itself; the first one's is as given."""
        return seed + _STRIDE * self.rank


def is_main_process() -> bool:
    """Return whether this is the process that writes files and tells of the training."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0
