"""The learning-rate range test: the rate grows from batch to batch, and the loss tells its bounds.

Source: Smith 2017, https://arxiv.org/abs/1506.01186 .
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset, check_dataset
from mien.errors import RecipeError
from mien.training.batches import Faces, TrainingBatches
from mien.training.initial import build_network, hold_frozen, load_start
from mien.training.losses import ExpressionLoss, build_loss
from mien.training.module import build_optimizer
from mien.training.recipe import Recipe, check_recipe
from mien.training.run import find_device, own_draws, uses_bf16
from mien.training.splits import learning_splits
from mien.training.teachers import Teachers, load_teachers

#: The test ends when the running loss is this many times its lowest, as in fastai and Lightning.
_DIVERGED = 4.0

#: Weight of the past in the running loss that divergence is judged by.
_MOMENTUM = 0.9

#: Standard deviation of the smoothing, as a share of the test's steps.
_SMOOTHING = 0.03


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningRateRange:
    """What the range test saw.

    Attributes:
        rates: ``(S,)`` float64, the learning rate of each step, rising.
        losses: ``(S,)`` float64, the training loss of each step's batch, in nats.
        diverged: Whether the test ended before the highest rate, on a loss out of bounds.
    """

    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    diverged: bool

    @property
    def smoothed(self) -> npt.NDArray[np.float64]:
        """``(S,)`` losses averaged over near steps, before and after, so that nothing lags."""
        steps = np.arange(len(self.losses))
        width = max(1.0, _SMOOTHING * len(steps))
        weights = np.exp(-(((steps[:, None] - steps) / width) ** 2) / 2)
        return np.asarray(weights @ self.losses / weights.sum(axis=1))

    @property
    def steepest(self) -> float | None:
        """The rate at which the loss fell fastest by the rate's logarithm; None if it never did."""
        lowest = int(self.smoothed.argmin())
        if lowest < 1:
            return None
        slopes = np.gradient(self.smoothed, np.log10(self.rates))[: lowest + 1]
        return float(self.rates[slopes.argmin()])

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of the rate at which the loss was lowest; None if it never fell."""
        lowest = int(self.smoothed.argmin())
        return float(self.rates[lowest]) / 10 if lowest else None

    def draw(self, path: Path) -> None:
        """Write loss against rate as a picture; the file's suffix chooses its format."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="0.8", linewidth=1, label="each batch")
        axes.plot(self.rates, self.smoothed, color="tab:blue", label="smoothed")
        marks = (
            (self.steepest, "tab:red", "steepest descent"),
            (self.tenth_of_lowest, "tab:green", "a tenth of the lowest"),
        )
        for rate, colour, name in marks:
            if rate is not None:
                axes.axvline(rate, color=colour, linestyle="--", label=f"{name}: {rate:.2g}")
        # The last batches of a loss that diverged would press the rest flat.
        lowest, highest = self.smoothed.min(), max(self.losses[0], self.smoothed[0])
        margin = max(0.05, (highest - lowest) * 0.4)
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss (nats)")
        axes.set_ylim(lowest - margin, highest + margin)
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=110)


@own_draws()
def lr_range_test(
    recipe: Recipe,
    dataset: ExpressionDataset,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    device: str = "auto",
) -> LearningRateRange:
    """Train a fresh network for some batches while the learning rate grows exponentially.

    Args:
        recipe: What to train and how; its own rate and schedule are left aside.
        dataset: Holds the recipe's training split.
        lowest: The first batch's rate.
        highest: The last batch's rate.
        steps: Batches; over one epoch's, the next epochs' follow.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        CheckpointError: What the recipe starts from or is taught by is missing or cannot be used.
        DataError: A split of the recipe has no images, or all its pixels are equal.
        ModelError: An ONNX file that it names is missing, or not one of mien.
        RecipeError: The first batch's loss is no number, or a teacher has other classes.
        TypeError: ``recipe`` or ``dataset`` is a name or a file, not what was read of it.
        ValueError: The rates do not rise from above 0, there are fewer than ten steps, or there
            is no such device.
    """
    check_recipe(recipe)
    check_dataset(dataset)
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"the rates must rise from above 0, got {lowest:g} to {highest:g}")
    if steps < 10:
        raise ValueError(f"{steps} steps tell nothing: take 10 or more")
    where = find_device(device)
    training, _ = learning_splits(recipe, dataset)
    start = load_start(recipe, training)
    taught_by = load_teachers(recipe, training.classes)
    teachers = Teachers(taught_by, mean=start.mean, std=start.std)
    network = build_network(recipe, training, start).to(where)
    faces = Faces(training, where, voting=recipe.data)
    epochs = (
        TrainingBatches(faces, recipe, epoch=epoch, mean=start.mean, std=start.std)
        for epoch in itertools.count()
    )
    rates = np.geomspace(lowest, highest, steps)
    batches = zip(rates, itertools.chain.from_iterable(epochs), strict=False)
    losses: list[float] = []
    loss_of = build_loss(recipe, faces.labels, training.classes)
    for loss in _train(network, recipe, batches, loss_of, teachers):
        losses.append(loss)
        if _has_diverged(losses):
            break
    kept = np.array([loss for loss in losses if math.isfinite(loss)])
    if not len(kept):
        raise RecipeError("the loss of the very first batch is no number: check the recipe")
    return LearningRateRange(rates=rates[: len(kept)], losses=kept, diverged=_has_diverged(losses))


def _train(
    network: nn.Module,
    recipe: Recipe,
    batches: Iterable[tuple[float, tuple[Tensor, Tensor]]],
    loss_of: ExpressionLoss,
    teachers: Teachers,
) -> Iterator[float]:
    """Train on each batch at its rate and yield its loss, measured before the step."""
    optimizer = build_optimizer(network, recipe.optimizer)
    hold_frozen(network, recipe)
    device = next(network.parameters()).device
    use_bf16 = uses_bf16(recipe, device)
    for rate, (faces, targets) in batches:
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16):
            logits = network(faces.contiguous(memory_format=torch.channels_last))
            loss = teachers.measure(loss_of, logits, targets, faces, recipe.distillation)
        yield loss.item()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def _has_diverged(losses: list[float]) -> bool:
    """Return whether the running loss, last, is far above its lowest or no number at all."""
    if not math.isfinite(losses[-1]):
        return True
    running, total, seen = 0.0, 0.0, []
    for loss in losses:
        running = _MOMENTUM * running + (1 - _MOMENTUM) * loss
        total = _MOMENTUM * total + (1 - _MOMENTUM)
        seen.append(running / total)
    return seen[-1] > _DIVERGED * min(seen)
