"""FER2013 as it was published: what to check a copy of it against."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mien.data.dataset import ExpressionDataset
from mien.data.image_tree import is_kaggle_name
from mien.expressions import EXPRESSIONS

#: Where to get it by hand.
FER2013_URL: Final = "https://www.kaggle.com/datasets/msambare/fer2013"

#: Published number of images of each class, in the order of :data:`mien.expressions.EXPRESSIONS`.
#: Source: https://arxiv.org/abs/1307.0414 and the files themselves.
FER2013_COUNTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
        "PublicTest": (467, 56, 496, 895, 653, 415, 607),
        "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
    }
)


def verify_fer2013(dataset: ExpressionDataset) -> list[str]:
    """Compare split sizes and class counts with the published ones.

    Returns:
        One line for each split that differs, or one on other classes; none when all agree.
    """
    if dataset.classes != EXPRESSIONS:
        return [f"the classes are {', '.join(dataset.classes)}, not {', '.join(EXPRESSIONS)}"]
    differences = []
    for split, found in dataset.split_counts().items():
        published = FER2013_COUNTS[split]
        if not any(found.values()):
            differences.append(f"no {split} images, {sum(published):,} were published")
            continue
        unlike = [
            f"{name} {count:,} instead of {expected:,}"
            for (name, count), expected in zip(found.items(), published, strict=True)
            if count != expected
        ]
        if unlike:
            differences.append(
                f"{split} has {sum(found.values()):,} images, {sum(published):,} were published: "
                f"{', '.join(unlike)}"
            )
    return differences


def is_fer2013_csv(dataset: ExpressionDataset) -> bool:
    """Whether a data set was read from a CSV, in its order."""
    return bool(len(dataset)) and dataset.names[0] == "row 1"


def is_fer2013(dataset: ExpressionDataset) -> bool:
    """Whether a data set is FER2013 or some of it, by what its images are called."""
    return is_fer2013_csv(dataset) or (bool(len(dataset)) and is_kaggle_name(dataset.names[0]))
