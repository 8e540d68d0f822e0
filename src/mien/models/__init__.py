"""The models: torch networks and classical baselines, each found by name in a registry."""

from mien.models.classical import CLASSICAL, ClassicalConfig, ClassicalModel
from mien.models.registry import (
    MODELS,
    ModelConfig,
    build_model,
    count_multiply_adds,
    count_parameters,
)

__all__ = [
    "CLASSICAL",
    "MODELS",
    "ClassicalConfig",
    "ClassicalModel",
    "ModelConfig",
    "build_model",
    "count_multiply_adds",
    "count_parameters",
]
