"""What a recipe learns from and chooses on, made from a data set."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.data.balance import VARIED, balance
from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.duplicates import group_copies, group_together
from mien.data.selection import (
    regroup_classes,
    stratified_indices,
    stratified_share,
    worthwhile_indices,
)
from mien.errors import DataError
from mien.training.recipe import Recipe


def prepare_splits(recipe: Recipe, dataset: ExpressionDataset) -> ExpressionDataset:
    """Return the data set as the recipe sees it: its classes, cleaned, and a validation split.

    Whoever measures a run on the data that it was trained on goes through here as well, so that
    the faces held out are the same.

    Raises:
        DataError: A class is unknown.
    """
    config = recipe.data
    if config.classes:
        dataset = regroup_classes(dataset, config.classes)
    if config.clean:
        training = np.flatnonzero(dataset.split_codes == SPLITS.index(config.train))
        dropped = np.delete(training, worthwhile_indices(dataset.take(training)))
        dataset = dataset.take(np.delete(np.arange(len(dataset)), dropped))
    if config.hold_out and config.validation not in dataset.splits:
        dataset = _hold_out(recipe, dataset)
    return dataset


def _hold_out(recipe: Recipe, dataset: ExpressionDataset) -> ExpressionDataset:
    """Move a share of the training faces to validation, copies along with their originals."""
    config = recipe.data
    where = np.flatnonzero(dataset.split_codes == SPLITS.index(config.train))
    training = dataset.take(where)
    groups = group_faces(training)
    _, first = np.unique(groups, return_index=True)
    kept = stratified_indices(training.labels[first], 1 - config.hold_out, seed=recipe.seed)
    codes = dataset.split_codes.copy()
    held_out = np.delete(first, kept)
    codes[where[np.isin(groups, groups[held_out])]] = SPLITS.index(config.validation)
    return replace(dataset, split_codes=codes)


def group_faces(dataset: ExpressionDataset) -> npt.NDArray[np.int64]:
    """Return ``(N,)`` groups of faces that must never be learned from and measured on at once.

    One face stands for all its copies, exact ones and those that
    :func:`mien.data.balance.balance` varied.
    """
    originals = np.array([name.partition(VARIED)[0] for name in dataset.names])
    return group_together(group_copies(dataset.images), originals)


def learning_splits(
    recipe: Recipe, dataset: ExpressionDataset
) -> tuple[ExpressionDataset, ExpressionDataset]:
    """Return the training and the validation faces.

    The share and the balancing are of the training faces only, in this order.

    Raises:
        DataError: A split has no images, all its pixels are equal, a class is unknown, or the
            recipe asks for FER+ votes and there are none.
    """
    config = recipe.data
    dataset = prepare_splits(recipe, dataset)
    training, validation = dataset.split(config.train), dataset.split(config.validation)
    for name, part in ((config.train, training), (config.validation, validation)):
        if not len(part):
            raise DataError(_nothing_there(name, recipe, dataset))
    if training.images.min() == training.images.max():
        raise DataError("all training pixels are equal, there is nothing to learn")
    if config.votes:
        require_votes(dataset)
    if config.fraction < 1:
        training = stratified_share(training, config.fraction, seed=recipe.seed)
    if config.balance:
        training = balance(training, config.balance, seed=recipe.seed, split=config.train)
    return training, validation


def require_votes(dataset: ExpressionDataset) -> None:
    """Refuse a data set without FER+ votes.

    Raises:
        DataError: It has none.
    """
    if dataset.votes is None:
        raise DataError("data.votes: the data has no FER+ votes: name fer2013new.csv with --votes")


def _nothing_there(split: str, recipe: Recipe, dataset: ExpressionDataset) -> str:
    config = recipe.data
    there = ", ".join(dataset.splits) or "nothing"
    if split == config.train and config.clean:
        return f"the data has no {split} images left after cleaning (data.clean)"
    if split == config.validation and config.hold_out:
        return f"too few {split} images would be held out: {config.hold_out:g} of each class"
    return (
        f"the data has no {split} images, only {there}: sort pictures of your own into train/ and "
        f"val/ folders, name other splits under [data] in the recipe, or hold some out with "
        f"--set data.hold_out=0.2"
    )


def describe_data(
    recipe: Recipe, training: ExpressionDataset, validation: ExpressionDataset
) -> dict[str, Any]:
    """Return the record of what a recipe learns from and chooses on."""
    return {
        "fingerprint": training.fingerprint,
        "train": recipe.data.train,
        "validation": recipe.data.validation,
        "counts": {
            recipe.data.train: training.counts(),
            recipe.data.validation: validation.counts(),
        },
    }


def pixel_scale(recipe: Recipe, training: ExpressionDataset) -> tuple[float, float]:
    """Return the mean and standard deviation that faces are standardised with, 0 to 1."""
    if recipe.data.scaling == "unit":
        return 0.0, 1.0
    return float(training.images.mean() / 255), float(training.images.std() / 255)
