"""Batches made on the device: the whole uint8 dataset stays there, a batch is an indexing away."""

import math
from collections.abc import Iterator
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from mien.data.dataset import ExpressionDataset
from mien.preprocess import standardise_factors
from mien.training.augment import augment, mix
from mien.training.processes import Share
from mien.training.recipe import DataConfig, Recipe
from mien.training.votes import vote_targets

#: Of one process that trains alone.
_WHOLE: Final = Share()


class Faces:
    """One split's pixels and targets on a device.

    Args:
        dataset: The split.
        device: Where to.
        voting: The share that FER+ votes have in the targets; None where labels alone count.

    Attributes:
        images: ``(N, 48, 48)`` uint8.
        labels: ``(N,)`` int64.
        targets: The labels, or ``(N, C)`` float32 where votes have a share.
        classes: Number of classes C.
    """

    def __init__(
        self, dataset: ExpressionDataset, device: torch.device, *, voting: DataConfig | None = None
    ) -> None:
        self.images = torch.from_numpy(dataset.images).to(device)
        self.labels = torch.from_numpy(dataset.labels).to(device)
        self.targets = self.labels
        self.classes = len(dataset.classes)
        if voting is not None and voting.votes:
            self.targets = vote_targets(dataset, voting).to(device)

    def __len__(self) -> int:
        return len(self.images)


class TrainingBatches:
    """One epoch of shuffled, augmented, standardised batches.

    The order and every variation depend on the seed and the epoch alone, so a resumed run sees
    exactly what an unbroken one would. The last, shorter batch is left out: batch normalisation
    over a handful of faces is noise, and the next epoch's order is another.

    Args:
        faces: What is learned from.
        recipe: Batch size, sampling, augmentation and seed.
        epoch: The epoch, from 0.
        mean: Mean that faces are standardised with.
        std: Standard deviation likewise.
        share: The part of each batch that this process learns from.
    """

    def __init__(
        self,
        faces: Faces,
        recipe: Recipe,
        *,
        epoch: int,
        mean: float,
        std: float,
        share: Share = _WHOLE,
    ) -> None:
        self._faces = faces
        self._recipe = recipe
        self._epoch = epoch
        self._share = share
        self._augment = recipe.refine if epoch in recipe.refined_epochs else recipe.augment
        self._scale, self._shift = standardise_factors(mean=mean, std=std)

    def __len__(self) -> int:
        return _count_batches(len(self._faces), self._recipe)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels = self._faces.labels
        seed = epoch_seed(self._recipe.seed, self._epoch)
        generator = torch.Generator(labels.device).manual_seed(seed)
        batches = _batch_indices(labels, self._recipe, generator)
        if self._share.rank:
            generator = torch.Generator(labels.device).manual_seed(self._share.seed(seed))
        for where in map(self._share.take, batches):
            faces = self._prepare(self._faces.images[where], generator)
            yield self._mix(faces, self._faces.targets[where], generator)

    def _mix(
        self, faces: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix faces where the recipe asks for it; the targets are ``(N, C)`` then."""
        if not (self._augment.mixup or self._augment.cutmix):
            return faces, targets
        if targets.ndim == 1:
            targets = F.one_hot(targets, self._faces.classes).float()
        return mix(faces, targets, self._augment, generator)

    def _prepare(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``(N, 1, S, S)`` float, standardised, from ``(N, 48, 48)`` uint8."""
        faces = augment(images[:, None].float() / 255, self._augment, generator)
        early = self._recipe.progressive
        if self._epoch < early.epochs:
            faces = F.interpolate(faces, size=early.size, mode="bilinear", antialias=True)
        return faces * (self._scale * 255) + self._shift


class EvaluationBatches:
    """Standardised batches in the dataset's order, nothing drawn, nothing left out."""

    def __init__(self, faces: Faces, *, batch_size: int, mean: float, std: float) -> None:
        self._faces = faces
        self._batch_size = batch_size
        self._scale, self._shift = standardise_factors(mean=mean, std=std)

    def __len__(self) -> int:
        return math.ceil(len(self._faces) / self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self._faces), self._batch_size):
            images = self._faces.images[start : start + self._batch_size]
            labels = self._faces.labels[start : start + self._batch_size]
            yield images[:, None].float() * self._scale + self._shift, labels


class FeatureBatches:
    """One epoch of batches of features that were computed once.

    Args:
        features: ``(N, F)`` float32.
        targets: ``(N,)`` or ``(N, C)``.
        labels: ``(N,)``, which balanced sampling goes by.
        recipe: Batch size, sampling and seed.
        epoch: The epoch, for the order.
        share: The part of each batch that this process learns from.
    """

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        labels: Tensor,
        recipe: Recipe,
        *,
        epoch: int,
        share: Share = _WHOLE,
    ) -> None:
        self._features = features
        self._targets = targets
        self._labels = labels
        self._recipe = recipe
        self._epoch = epoch
        self._share = share

    def __len__(self) -> int:
        return _count_batches(len(self._labels), self._recipe)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        seed = epoch_seed(self._recipe.seed, self._epoch)
        generator = torch.Generator(self._labels.device).manual_seed(seed)
        for where in map(self._share.take, _batch_indices(self._labels, self._recipe, generator)):
            yield self._features[where], self._targets[where]


def _count_batches(faces: int, recipe: Recipe) -> int:
    return max(1, faces // recipe.batch_size)


def _batch_indices(labels: Tensor, recipe: Recipe, generator: torch.Generator) -> list[Tensor]:
    """Return which faces are in each batch of an epoch."""
    if recipe.data.sampling == "balanced":
        chances = 1 / torch.bincount(labels).float()[labels]
        order = torch.multinomial(chances, len(labels), replacement=True, generator=generator)
    else:
        order = torch.randperm(len(labels), generator=generator, device=labels.device)
    return [
        order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        for step in range(_count_batches(len(labels), recipe))
    ]


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch; the stride keeps neighbouring seeds' epochs apart."""
    return seed * 1_000_003 + epoch
