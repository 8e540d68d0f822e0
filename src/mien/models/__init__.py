"""The models: torch networks and classical baselines, each found by name in a registry."""

from mien.models.classical import CLASSICAL, ClassicalConfig, ClassicalModel
from mien.models.registry import MODELS, ModelConfig, build_model, dropout_options
from mien.models.summary import (
    LayerSummary,
    NetworkSummary,
    count_multiply_adds,
    count_parameters,
    summarise,
)

__all__ = [
    "CLASSICAL",
    "MODELS",
    "ClassicalConfig",
    "ClassicalModel",
    "LayerSummary",
    "ModelConfig",
    "NetworkSummary",
    "build_model",
    "count_multiply_adds",
    "count_parameters",
    "dropout_options",
    "summarise",
]
