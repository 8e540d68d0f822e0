"""The registry: model name → the frozen dataclass of its options, which builds it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from torch import nn

from mien.expressions import unknown_name
from mien.models.backbone import BackboneConfig
from mien.models.plain import PlainNetConfig
from mien.models.residual import ResidualNetConfig


class ModelConfig(Protocol):
    """The options of one kind of network; a frozen dataclass whose fields a recipe sets."""

    def build(self, num_classes: int) -> nn.Module:
        """Return a fresh network: ``(N, 1, H, W)`` float → ``(N, num_classes)`` logits.

        Its ``forward`` is ``classify(features(faces))``, with ``(N, F)`` features between, and its
        ``HEAD`` names the children that ``classify`` uses, so that the others can be frozen.
        """
        ...


MODELS: Final[Mapping[str, type[ModelConfig]]] = MappingProxyType(
    {
        "plain": PlainNetConfig,
        "residual": ResidualNetConfig,
        "timm": BackboneConfig,
    }
)


def dropout_options(config: object) -> tuple[str, ...]:
    """Return the options by which a kind of network drops something while it learns.

    Where there are no dense layers, there is nothing after them to drop.
    """
    without = {"dropout"} if getattr(config, "dense", None) == () else set()
    named = ("dropout", "block_dropout")
    return tuple(name for name in named if hasattr(config, name) and name not in without)


def build_model(name: str, *, num_classes: int = 7, config: ModelConfig | None = None) -> nn.Module:
    """Build a network by its registered name, with its default options unless ``config`` is given.

    Raises:
        ValueError: No network of that name is registered.
    """
    if name not in MODELS:
        raise ValueError(unknown_name("model", name, tuple(MODELS)))
    return (config or MODELS[name]()).build(num_classes)
