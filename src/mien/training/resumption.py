"""Trainings that are part of a larger work: finished ones are kept, broken ones gone on with."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, MienError
from mien.metadata import CLASSICAL_FILE, model_file
from mien.training.callbacks import Progress
from mien.training.checkpoint import LAST
from mien.training.recipe import Recipe
from mien.training.recipe_file import is_same_recipe, load_recipe
from mien.training.run import train
from mien.training.splits import describe_data, learning_splits

#: What the larger works read of a summary.
_READ: Final = frozenset({"best_accuracy", "minutes"})


def finish_run(
    recipe: Recipe,
    dataset: ExpressionDataset,
    folder: Path,
    *,
    device: str = "auto",
    watch: Callable[[str, Progress], None] | None = None,
) -> dict[str, Any]:
    """Return what ``run.json`` says of a training, which is begun or resumed where needed.

    Args:
        recipe: What to train and how.
        dataset: Holds the recipe's training and validation splits.
        folder: The run's; made if it is not there.
        device: As for :func:`mien.training.train`.
        watch: Called with the folder's name after every step and every epoch.

    Raises:
        CheckpointError: ``folder`` has a run of another recipe or other data.
        DataError: The recipe's splits cannot be made from the data.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
        ValueError: There is no such device.
    """
    if not _is_finished(folder, recipe, dataset):
        told = None if watch is None else partial(watch, folder.name)
        resume = has_begun(folder)
        train(recipe, dataset, folder, resume=resume, device=device, watch=told)
    return _summary(folder)


def has_begun(folder: Path) -> bool:
    """Return whether a folder holds something that a training can go on from."""
    return any((folder / name).is_file() for name in (LAST, CLASSICAL_FILE))


def _is_finished(folder: Path, recipe: Recipe, dataset: ExpressionDataset) -> bool:
    """Return whether the folder holds this very training, whole."""
    if not ((folder / "run.json").is_file() and model_file(folder).is_file()):
        return False
    try:
        trained = load_recipe(folder / "recipe.toml")
        summary = _summary(folder)
    except MienError:
        return False
    is_same = is_same_recipe(trained.to_dict(), recipe.to_dict())
    if not is_same or summary.get("interrupted") is not False:
        return False
    return bool(summary.get("data") == describe_data(recipe, *learning_splits(recipe, dataset)))


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not the summary that mien wrote: {error}") from error
    if not isinstance(summary, dict) or not summary.keys() >= _READ:
        raise CheckpointError(f"{path}: not the summary that mien wrote: train into a new folder")
    return summary
