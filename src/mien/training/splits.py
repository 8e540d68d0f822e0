"""What a recipe learns from and chooses on, made from a data set."""

from dataclasses import replace
from typing import Any

import numpy as np

from mien.data.balance import balance
from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.selection import (
    regroup_classes,
    stratified_indices,
    stratified_share,
    without_copies,
)
from mien.errors import DataError
from mien.training.recipe import Recipe


def prepare_splits(recipe: Recipe, dataset: ExpressionDataset) -> ExpressionDataset:
    """Return the data set as the recipe sees it: its classes, and a validation split.

    Whoever measures a run on the data that it was trained on goes through here as well, so that
    the faces held out are the same.

    Raises:
        DataError: A class is unknown.
    """
    config = recipe.data
    if config.classes:
        dataset = regroup_classes(dataset, config.classes)
    if config.hold_out and config.validation not in dataset.splits:
        where = np.flatnonzero(dataset.split_codes == SPLITS.index(config.train))
        kept = stratified_indices(dataset.labels[where], 1 - config.hold_out, seed=recipe.seed)
        codes = dataset.split_codes.copy()
        codes[np.delete(where, kept)] = SPLITS.index(config.validation)
        dataset = replace(dataset, split_codes=codes)
    return dataset


def learning_splits(
    recipe: Recipe, dataset: ExpressionDataset
) -> tuple[ExpressionDataset, ExpressionDataset]:
    """Return the training and the validation faces.

    Cleaning, the share and balancing are of the training faces only, in this order.

    Raises:
        DataError: A split has no images, all its pixels are equal, a class is unknown, or the
            recipe asks for FER+ votes and there are none.
    """
    config = recipe.data
    dataset = prepare_splits(recipe, dataset)
    training, validation = dataset.split(config.train), dataset.split(config.validation)
    for name, part in ((config.train, training), (config.validation, validation)):
        if not len(part):
            there = ", ".join(dataset.splits) or "nothing"
            raise DataError(
                f"the data has no {name} images, only {there}: sort pictures of your own into "
                f"train/ and val/ folders, name other splits under [data] in the recipe, or hold "
                f"some out with --set data.hold_out=0.2"
            )
    if training.images.min() == training.images.max():
        raise DataError("all training pixels are equal, there is nothing to learn")
    if config.votes and training.votes is None:
        raise DataError("data.votes: the data has no FER+ votes: name fer2013new.csv with --votes")
    if config.clean:
        training = without_copies(training)
    if config.fraction < 1:
        training = stratified_share(training, config.fraction, seed=recipe.seed)
    if config.balance:
        training = balance(training, config.balance, seed=recipe.seed, split=config.train)
    return training, validation


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
