"""FER2013: reading it, and checking it against what was published."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mien.data.dataset import ExpressionDataset
from mien.data.sources import load_dataset
from mien.errors import DataError

logger = logging.getLogger(__name__)

#: Where to get it by hand.
FER2013_URL: Final = "https://www.kaggle.com/datasets/msambare/fer2013"

#: Published number of images of each class, in the order of :data:`mien.expressions.EXPRESSIONS`.
FER2013_COUNTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
        "PublicTest": (467, 56, 496, 895, 653, 415, 607),
        "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
    }
)


def load_fer2013(path: str | os.PathLike[str] | None = None) -> ExpressionDataset:
    """Load FER2013 and warn of any difference from the published counts."""
    if path is None:
        path = os.environ.get("MIEN_FER2013")
        if not path:
            raise DataError(
                "no path given and $MIEN_FER2013 is not set: name fer2013.csv, its .gz, "
                f"or the folder or zip from {FER2013_URL}"
            )
    dataset = load_dataset(Path(path))
    for difference in verify_fer2013(dataset):
        logger.warning("%s: %s", path, difference)
    return dataset


def verify_fer2013(dataset: ExpressionDataset) -> list[str]:
    """Compare split sizes and class counts with the published ones.

    Returns:
        One line for each difference; none when all agree.
    """
    differences = []
    for split, expected in FER2013_COUNTS.items():
        part = dataset.split(split)
        if not len(part):
            differences.append(f"no {split} images, {sum(expected):,} were published")
            continue
        unlike = [
            f"{name} {found:,} instead of {published:,}"
            for (name, found), published in zip(part.counts().items(), expected, strict=True)
            if found != published
        ]
        if unlike:
            differences.append(
                f"{split} has {len(part):,} images, {sum(expected):,} were published: "
                f"{', '.join(unlike)}"
            )
    return differences
