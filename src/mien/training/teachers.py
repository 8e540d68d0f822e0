"""Trained networks that another one learns from: knowledge distillation."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.errors import RecipeError
from mien.training.checkpoint import Checkpoint, load_checkpoint
from mien.training.recipe import Recipe


class Teachers:
    """Networks whose mean probabilities another one is taught, for the very batch it is shown.

    They are no part of the network that learns from them: they stay as they are, and out of its
    checkpoints.

    Args:
        found: What they are loaded from; none teach nothing.
        mean: Mean that the batches are standardised with.
        std: Standard deviation likewise.

    Raises:
        CheckpointError: One cannot be used.
    """

    def __init__(self, found: Sequence[Checkpoint], *, mean: float, std: float) -> None:
        self.found: Final = tuple(found)
        # Each has its own scale: z_teacher = z · std / std_teacher + (mean - mean_teacher) / ...
        self._rescale = [(std / each.std, (mean - each.mean) / each.std) for each in found]
        self._networks: list[nn.Module] = [
            each.build_network().requires_grad_(False) for each in found
        ]

    def __len__(self) -> int:
        return len(self.found)

    @torch.no_grad()
    def teach(self, faces: Tensor, *, temperature: float) -> Tensor:
        """Return ``(N, C)`` float32 mean probabilities of ``(N, 1, H, W)`` standardised faces."""
        taught = []
        for network, (scale, shift) in zip(self._networks, self._rescale, strict=True):
            logits = network.to(faces.device)(faces * scale + shift)
            taught.append(torch.softmax(logits.float() / temperature, dim=1))
        return torch.stack(taught).mean(dim=0)


def load_teachers(recipe: Recipe, classes: Sequence[str]) -> list[Checkpoint]:
    """Load the runs or checkpoints that a recipe is taught by.

    Raises:
        CheckpointError: One is missing, damaged or unsafe.
        RecipeError: One has other classes, or another scaling of pixels.
    """
    found = [load_checkpoint(name) for name in recipe.distillation.teachers]
    for each in found:
        if each.classes != tuple(classes):
            raise RecipeError(
                f"distillation.teachers: {each.path} reads {', '.join(each.classes)}, "
                f"expected {', '.join(classes)}"
            )
    return found
