"""The registry: model name → the frozen dataclass of its options, which builds it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import torch
from torch import nn

from mien.expressions import nearest_name
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


def build_model(name: str, *, num_classes: int = 7, config: ModelConfig | None = None) -> nn.Module:
    """Build a network by its registered name, with its default options unless ``config`` is given.

    Raises:
        ValueError: No network of that name is registered.
    """
    if name not in MODELS:
        near = nearest_name(name, tuple(MODELS))
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"unknown model {name!r}: expected one of {', '.join(MODELS)}{hint}")
    return (config or MODELS[name]()).build(num_classes)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_multiply_adds(model: nn.Module, size: int) -> int:
    """Return the multiply-adds of convolutions and dense layers for one grey face.

    Args:
        model: A network taking ``(N, 1, size, size)``.
        size: Side of the input in pixels.
    """
    total = 0

    def count(module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        positions = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        total += weight.numel() * positions

    hooks = [
        module.register_forward_hook(count)
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, 1, size, size, device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return total
