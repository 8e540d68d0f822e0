"""A compact residual network for small grey faces.

Source: He et al. 2016, https://arxiv.org/abs/1512.03385 .
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from mien.errors import RecipeError
from mien.models.attention import build_attention
from mien.models.layers import initialise


@dataclass(frozen=True, kw_only=True)
class ResidualNetConfig:
    """Options of :class:`ResidualNet`.

    Attributes:
        widths: Channels of each stage; every stage but the first halves the resolution.
        blocks: Residual blocks in every stage, or a number for each.
        attention: ``squeeze`` (squeeze-and-excitation), ``cbam`` or ``none`` at a block's end.
        squeeze_from: First stage whose blocks have it. From stage 2 on the maps are 6×6 and
            smaller and squeeze-and-excitation costs no measurable time (2 cores, batch 128: 308
            against 312 images/s); in every stage it costs up to a tenth.
        dropout: Dropout before the last layer.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: int | tuple[int, ...] = 2
    attention: Literal["none", "squeeze", "cbam"] = "squeeze"
    squeeze_from: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise RecipeError(f"model.widths: expected channels of 1 or more, got {self.widths}")
        if len(self.stage_blocks) != len(self.widths) or min(self.stage_blocks) < 1:
            raise RecipeError(
                f"model.blocks: expected 1 or more, or {len(self.widths)} such numbers, one a "
                f"stage, got {self.blocks}"
            )
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"model.dropout: expected 0 up to 1, got {self.dropout}")

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Residual blocks of each stage."""
        if isinstance(self.blocks, int):
            return (self.blocks,) * len(self.widths)
        return self.blocks

    @property
    def smallest_size(self) -> int:
        """Side in pixels of the smallest faces that the network reads."""
        return 1 << len(self.widths)

    def build(self, num_classes: int) -> nn.Module:
        """Return a fresh :class:`ResidualNet`."""
        return ResidualNet(self, num_classes)


class ResidualNet(nn.Module):
    """Stride-2 stem, stages of residual blocks, global average pooling, one dense layer.

    Input ``(N, 1, H, W)`` float, any H and W from 16; output ``(N, num_classes)`` logits.

    Blocks do not start as the identity (a last normalisation of weight zero): on FER2013 that
    was measured to stay at the rate of the commonest class three epochs long.
    """

    #: Children after the features.
    HEAD: ClassVar = ("dropout", "head")

    def __init__(self, config: ResidualNetConfig, num_classes: int) -> None:
        super().__init__()
        channels = config.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        stages = []
        for stage, (width, blocks) in enumerate(
            zip(config.widths, config.stage_blocks, strict=True)
        ):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 0 else 1
                attention = config.attention if stage >= config.squeeze_from else "none"
                stages.append(ResidualBlock(channels, width, stride=stride, attention=attention))
                channels = width
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(channels, num_classes)
        self.apply(initialise)

    def forward(self, faces: Tensor) -> Tensor:
        """Return ``(N, num_classes)`` logits for ``(N, 1, H, W)`` standardised faces."""
        return self.classify(self.features(faces))

    def features(self, faces: Tensor) -> Tensor:
        """Return ``(N, F)`` features, each channel's mean."""
        return self.stages(F.relu(self.stem(faces))).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def classify(self, features: Tensor) -> Tensor:
        """Return ``(N, num_classes)`` logits for ``(N, F)`` features."""
        return self.head(self.dropout(features))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut; a 1×1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels: int, *, stride: int, attention: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.squeeze = build_attention(attention, channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(N, channels, H / stride, W / stride)``."""
        branch = F.relu(self.norm1(self.conv1(maps)))
        branch = self.squeeze(self.norm2(self.conv2(branch)))
        return F.relu(branch + self.shortcut(maps))
