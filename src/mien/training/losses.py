"""Losses over logits, for labels and for soft targets alike."""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from mien.errors import RecipeError
from mien.expressions import unknown_name
from mien.training.recipe import Recipe

#: Smallest number that is divided by or raised to a power.
_TINY: Final = 1e-7


class ExpressionLoss:
    """The recipe's loss: cross-entropy or focal, smoothed, weighted by class.

    Args:
        recipe: Names the loss.
        class_weights: ``(C,)`` as from :func:`balanced_weights`, or None for all alike.
        class_margins: ``(C,)`` that :meth:`lower` takes from the logits, or None for nothing.
    """

    def __init__(
        self,
        recipe: Recipe,
        class_weights: Tensor | None = None,
        class_margins: Tensor | None = None,
    ) -> None:
        self._smoothing = recipe.label_smoothing
        self._gamma = recipe.loss.gamma if recipe.loss.name == "focal" else 0.0
        self._weights = class_weights
        self._margins = class_margins

    def lower(self, logits: Tensor) -> Tensor:
        """Return ``(N, C)`` logits less the classes' margins: what every loss is measured on."""
        return logits if self._margins is None else logits - self._margins.to(logits.device)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the batch's mean loss in nats.

        Args:
            logits: ``(N, C)``.
            targets: ``(N,)`` class indices or ``(N, C)`` probabilities.
        """
        classes = logits.shape[1]
        if targets.ndim == 1:
            targets = F.one_hot(targets, classes)
        weights = torch.ones(classes) if self._weights is None else self._weights
        weights = weights.to(logits.device)
        met = (targets * weights).sum(dim=1).mean()
        smoothed = targets * (1 - self._smoothing) + self._smoothing / classes
        log_probabilities = F.log_softmax(logits.float(), dim=1)
        terms = -smoothed * log_probabilities * weights
        if self._gamma:
            # Kept off 0, where the slope of a root is infinite.
            missed = (1 - log_probabilities.exp()).clamp(min=_TINY)
            terms = terms * missed**self._gamma
        # Divided by the weights met, as F.cross_entropy does for labels.
        return terms.sum(dim=1).mean() / met.clamp(min=_TINY)


def build_loss(recipe: Recipe, labels: Tensor, classes: Sequence[str]) -> ExpressionLoss:
    """Return the recipe's loss for training faces of these ``(N,)`` labels.

    Raises:
        RecipeError: A margin is of a class that is not there.
    """
    balanced = recipe.loss.class_weights == "balanced"
    weights = balanced_weights(labels, len(classes)) if balanced else None
    given = recipe.loss.margins
    if unknown := [name for name in given if name not in classes]:
        raise RecipeError(f"loss.class_margins: {unknown_name('class', unknown[0], classes)}")
    margins = torch.tensor([given.get(name, 0.0) for name in classes]) if given else None
    return ExpressionLoss(recipe, weights, margins)


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Return ``(classes,)`` weights N / (C · n), 0 for a class without faces.

    Args:
        labels: ``(N,)`` class indices.
        classes: Number of classes C.
    """
    counts = torch.bincount(labels, minlength=classes).float()
    present = counts > 0
    weights = len(labels) / (present.sum() * counts.clamp(min=1))
    return torch.where(present, weights, 0.0)


def distillation_loss(logits: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """Return the mean cross-entropy to teachers' probabilities, in nats.

    It is scaled by the square of the temperature, so that its slope is of the same size at any.

    Args:
        logits: ``(N, C)``.
        taught: ``(N, C)`` probabilities at the temperature.
        temperature: What the logits are divided by.
    """
    log_probabilities = F.log_softmax(logits.float() / temperature, dim=1)
    return -(taught * log_probabilities).sum(dim=1).mean() * temperature**2
