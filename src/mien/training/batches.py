"""Batches made on the device: the whole uint8 dataset stays there, a batch is an indexing away."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from mien.data.dataset import ExpressionDataset
from mien.preprocess import standardise_factors
from mien.training.augment import augment
from mien.training.recipe import AugmentConfig, Recipe


class Faces:
    """One split's pixels and labels on a device.

    Attributes:
        images: ``(N, 48, 48)`` uint8.
        labels: ``(N,)`` int64.
    """

    def __init__(self, dataset: ExpressionDataset, device: torch.device) -> None:
        self.images = torch.from_numpy(dataset.images).to(device)
        self.labels = torch.from_numpy(dataset.labels).to(device)

    def __len__(self) -> int:
        return len(self.images)


class TrainingBatches:
    """One epoch of shuffled, augmented, standardised batches.

    The order and every variation depend on the seed and the epoch alone, so a resumed run sees
    exactly what an unbroken one would. The last, shorter batch is left out: batch normalisation
    over a handful of faces is noise, and the next epoch's order is another.
    """

    def __init__(
        self, faces: Faces, recipe: Recipe, *, epoch: int, mean: float, std: float
    ) -> None:
        self._faces = faces
        self._recipe = recipe
        self._epoch = epoch
        refining = epoch >= recipe.epochs - recipe.refine_epochs
        self._augment = AugmentConfig(flip=recipe.augment.flip) if refining else recipe.augment
        self._scale, self._shift = standardise_factors(mean=mean, std=std)

    def __len__(self) -> int:
        return max(1, len(self._faces) // self._recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device = self._faces.images.device
        generator = torch.Generator(device).manual_seed(epoch_seed(self._recipe.seed, self._epoch))
        order = torch.randperm(len(self._faces), generator=generator, device=device)
        for step in range(len(self)):
            where = order[step * self._recipe.batch_size : (step + 1) * self._recipe.batch_size]
            faces = self._prepare(self._faces.images[where], generator)
            yield faces, self._faces.labels[where]

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


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch; the stride keeps neighbouring seeds' epochs apart."""
    return seed * 1_000_003 + epoch
