"""Attention over feature maps: which channels count, and where."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Weighs each channel by a gate computed from all channels' means.

    Source: Hu et al. 2018, https://arxiv.org/abs/1709.01507
    """

    def __init__(self, channels: int, *, reduction: int = 8) -> None:
        super().__init__()
        middle = max(1, channels // reduction)
        # Convolutions of one pixel, not dense layers: ONNX Runtime reshapes nothing for their int8
        # form, which makes the whole residual network 7 % faster for one face.
        self.reduce = nn.Conv2d(channels, middle, 1)
        self.expand = nn.Conv2d(middle, channels, 1)
        self.register_load_state_dict_pre_hook(_as_convolutions)  # type: ignore[no-untyped-call]

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps scaled, same shape."""
        gate = self.expand(F.relu(self.reduce(maps.mean(dim=(2, 3), keepdim=True))))
        return maps * torch.sigmoid(gate)


def _as_convolutions(
    _module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Take the weights of dense layers, which older files have."""
    for name in ("reduce.weight", "expand.weight"):
        found = weights.get(prefix + name)
        if found is not None and found.ndim == 2:
            weights[prefix + name] = found[:, :, None, None]


class ConvolutionalAttention(nn.Module):
    """CBAM: a gate a channel from its mean and maximum, then a gate a position likewise.

    Source: Woo et al. 2018, https://arxiv.org/abs/1807.06521
    """

    def __init__(self, channels: int, *, reduction: int = 8) -> None:
        super().__init__()
        middle = max(1, channels // reduction)
        self.reduce = nn.Linear(channels, middle)
        self.expand = nn.Linear(middle, channels)
        self.where = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps scaled, same shape."""
        mean, peak = maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))
        gate = self.expand(F.relu(self.reduce(mean))) + self.expand(F.relu(self.reduce(peak)))
        maps = maps * torch.sigmoid(gate)[:, :, None, None]
        seen = torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1)
        return maps * torch.sigmoid(self.where(seen))


def build_attention(name: str, channels: int) -> nn.Module:
    """Return the attention of that name: ``none``, ``squeeze`` or ``cbam``."""
    if name == "none":
        return nn.Identity()
    return {"squeeze": SqueezeExcitation, "cbam": ConvolutionalAttention}[name](channels)
