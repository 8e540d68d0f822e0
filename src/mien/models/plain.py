"""A plain convolutional network: blocks of 3×3 convolutions and pooling, then dense layers.

The shape of most networks that reports on FER2013 describe; what sets them apart is options.
Source: Simonyan and Zisserman 2015 (VGG), https://arxiv.org/abs/1409.1556 .
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from mien.errors import RecipeError
from mien.models.attention import build_attention
from mien.models.layers import dense_layers, initialise
from mien.preprocess import FACE_SIZE


@dataclass(frozen=True, kw_only=True)
class PlainNetConfig:
    """Options of :class:`PlainNet`.

    Attributes:
        widths: Channels of each block; every block ends in 2×2 max-pooling.
        convolutions: Convolutions in each block.
        norm: Batch normalisation after each convolution.
        attention: ``squeeze`` (squeeze-and-excitation) or ``cbam`` before each pooling.
        block_dropout: Dropout after each block.
        spatial_dropout: Drop whole channels there, not single values (Tompson et al. 2015,
            https://arxiv.org/abs/1411.4280).
        pooling: What the dense layers see: the last maps whole (``flatten``, which fixes the
            input to 48×48) or each channel's mean (``average``).
        dense: Units of each dense layer before the last.
        dense_norm: Batch normalisation after each of these. Without it, thousands of flattened
            values that are all positive move a unit so far in one step of Adam at 1e-3 that most
            never answer again.
        dropout: Dropout after each of these.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    convolutions: tuple[int, ...] = (2, 2, 2)
    norm: bool = True
    attention: Literal["none", "squeeze", "cbam"] = "none"
    block_dropout: float = 0.0
    spatial_dropout: bool = False
    pooling: Literal["flatten", "average"] = "flatten"
    dense: tuple[int, ...] = (256,)
    dense_norm: bool = True
    dropout: float = 0.5

    def __post_init__(self) -> None:
        most = FACE_SIZE.bit_length() - 1
        if not 1 <= len(self.widths) <= most or min(self.widths) < 1:
            raise RecipeError(
                f"model.widths: expected 1 to {most} numbers of channels, got {self.widths}"
            )
        if len(self.convolutions) != len(self.widths) or min(self.convolutions) < 1:
            raise RecipeError(
                f"model.convolutions: expected {len(self.widths)} numbers of 1 or more, one a "
                f"block, got {self.convolutions}"
            )
        if any(units < 1 for units in self.dense):
            raise RecipeError(f"model.dense: expected units of 1 or more, got {self.dense}")
        for name in ("block_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"model.{name}: expected 0 up to 1, got {getattr(self, name)}")

    @property
    def smallest_size(self) -> int:
        """Side in pixels of the smallest faces that the network reads."""
        return FACE_SIZE if self.pooling == "flatten" else 1 << len(self.widths)

    def build(self, num_classes: int) -> nn.Module:
        """Return a fresh :class:`PlainNet`."""
        return PlainNet(self, num_classes)


class PlainNet(nn.Module):
    """Blocks of convolutions, each pooled to half the resolution, then dense layers.

    Input ``(N, 1, 48, 48)`` float (any size from 2^blocks with average pooling); output
    ``(N, num_classes)`` logits.
    """

    #: Children after the features.
    HEAD: ClassVar = ("dense", "head")

    def __init__(self, config: PlainNetConfig, num_classes: int) -> None:
        super().__init__()
        blocks = []
        channels = 1
        for width, convolutions in zip(config.widths, config.convolutions, strict=True):
            blocks.append(_block(config, channels, width, convolutions))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        if config.pooling == "average":
            self.pool: nn.Module = nn.AdaptiveAvgPool2d(1)
            units = channels
        else:
            self.pool = nn.Identity()
            units = channels * (FACE_SIZE >> len(config.widths)) ** 2
        self.dense, units = dense_layers(
            units, config.dense, config.dropout, norm=config.dense_norm
        )
        self.head = nn.Linear(units, num_classes)
        self.apply(initialise)

    def forward(self, faces: Tensor) -> Tensor:
        """Return ``(N, num_classes)`` logits for ``(N, 1, 48, 48)`` faces."""
        return self.classify(self.features(faces))

    def features(self, faces: Tensor) -> Tensor:
        """Return ``(N, F)`` features, what the dense layers see."""
        return self.pool(self.blocks(faces)).flatten(start_dim=1)  # type: ignore[no-any-return]

    def classify(self, features: Tensor) -> Tensor:
        """Return ``(N, num_classes)`` logits for ``(N, F)`` features."""
        return self.head(self.dense(features))  # type: ignore[no-any-return]


def _block(config: PlainNetConfig, channels: int, width: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convolutions):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not config.norm))
        if config.norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
        channels = width
    if config.attention != "none":
        layers.append(build_attention(config.attention, width))
    layers.append(nn.MaxPool2d(2))
    if config.block_dropout:
        dropout = nn.Dropout2d if config.spatial_dropout else nn.Dropout
        layers.append(dropout(config.block_dropout))
    return nn.Sequential(*layers)
