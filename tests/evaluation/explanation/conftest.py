"""A network that only looks at the left upper quarter of a face."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from mien.evaluation.explanation import DifferentiableModel


class QuarterNet(nn.Module):
    """Says ``bright`` the surer, the brighter the left upper quarter is; nothing else counts."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 1, 6, stride=6, bias=False)
        nn.init.constant_(self.maps.weight, 1 / 36)
        self.norm = nn.ReLU()
        self.head = nn.Linear(64, 2, bias=False)
        quarter = torch.zeros(8, 8)
        quarter[:4, :4] = 10 / 16
        self.head.weight.data = torch.stack([quarter.flatten(), -quarter.flatten()])

    def forward(self, faces: Tensor) -> Tensor:
        maps: Tensor = self.norm(self.maps(faces))
        logits: Tensor = self.head(maps.flatten(1)) - torch.tensor([2.0, -2.0])
        return logits


@pytest.fixture(scope="session")
def quarter_model() -> DifferentiableModel:
    return DifferentiableModel(
        network=QuarterNet().eval(), classes=("bright", "dark"), mean=0.0, std=1.0
    )


@pytest.fixture(scope="session")
def lit_faces() -> npt.NDArray[np.uint8]:
    """Noise, lit in the left upper quarter: ``(12, 48, 48)``."""
    images = np.random.default_rng(5).integers(0, 60, (12, 48, 48))
    images[:, :24, :24] += 160
    return images.astype(np.uint8)
