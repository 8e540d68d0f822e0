"""What a training may choose on: see :mod:`mien.data.protocol`."""

from mien.data.dataset import ExpressionDataset
from mien.data.protocol import seen_breach, swapped_splits, test_split_breach
from mien.data.seen_faces import SeenFaces
from mien.training.recipe import Recipe


def training_breaches(
    recipe: Recipe, dataset: ExpressionDataset, seen: SeenFaces, validation: ExpressionDataset
) -> list[str]:
    """Return what a training would do against the protocol, a clause each.

    Args:
        recipe: What is trained.
        dataset: The data set, as it was read.
        seen: The faces that are learned from.
        validation: The faces that the epoch is chosen on.
    """
    return [
        *swapped_splits(dataset),
        *test_split_breach(recipe.data.train, recipe.data.validation),
        *seen_breach(seen.contains(validation.images), recipe.data.validation),
    ]
