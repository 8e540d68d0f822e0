"""Training: typed recipes, batches made on the device, Lightning, runs on disk.

Importing this does not load torch; each name below is fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.training.callbacks import Progress
    from mien.training.recipe import Recipe
    from mien.training.recipe_file import load_recipe
    from mien.training.run import RunResult, find_device, train

__all__ = ["Progress", "Recipe", "RunResult", "find_device", "load_recipe", "train"]

_HOMES = {
    "Progress": "mien.training.callbacks",
    "Recipe": "mien.training.recipe",
    "RunResult": "mien.training.run",
    "find_device": "mien.training.run",
    "load_recipe": "mien.training.recipe_file",
    "train": "mien.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
