"""The networks: torch modules, found by name in one registry, and summarised layer by layer."""

from mien.models.registry import MODELS, ModelConfig, build_model
from mien.models.summary import (
    LayerSummary,
    NetworkSummary,
    count_multiply_adds,
    count_parameters,
    summarise,
)

__all__ = [
    "MODELS",
    "LayerSummary",
    "ModelConfig",
    "NetworkSummary",
    "build_model",
    "count_multiply_adds",
    "count_parameters",
    "summarise",
]
