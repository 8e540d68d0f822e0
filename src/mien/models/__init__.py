"""The networks: torch modules, found by name in one registry."""

from mien.models.registry import (
    MODELS,
    ModelConfig,
    build_model,
    count_multiply_adds,
    count_parameters,
)

__all__ = ["MODELS", "ModelConfig", "build_model", "count_multiply_adds", "count_parameters"]
