"""Pieces that several networks are made of."""

from collections.abc import Sequence

from torch import nn


def dense_layers(
    units: int, sizes: Sequence[int], dropout: float, *, norm: bool
) -> tuple[nn.Sequential, int]:
    """Return dense layers, each with ReLU and dropout after it, and the units they end with.

    Args:
        units: Units of what they see.
        sizes: Units of each layer; none gives an empty sequence.
        dropout: After each layer.
        norm: Batch normalisation before each ReLU.
    """
    layers: list[nn.Module] = []
    for size in sizes:
        layers.append(nn.Linear(units, size, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(size))
        layers += [nn.ReLU(inplace=True), nn.Dropout(dropout)]
        units = size
    return nn.Sequential(*layers), units


def initialise(module: nn.Module) -> None:
    """Give a convolution's weights the scale that ReLU asks for (He et al. 2015).

    Source: https://arxiv.org/abs/1502.01852
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
