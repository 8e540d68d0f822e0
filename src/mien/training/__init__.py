"""Training: typed recipes, batches made on the device, Lightning, runs on disk."""

from mien.training.callbacks import Progress
from mien.training.recipe import Recipe, load_recipe
from mien.training.run import RunResult, find_device, train

__all__ = ["Progress", "Recipe", "RunResult", "find_device", "load_recipe", "train"]
