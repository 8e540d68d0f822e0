"""The protocol: learn from Training, choose on PublicTest, report PrivateTest once."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.fer2013 import FER2013_COUNTS
from mien.data.seen_faces import SeenFaces
from mien.errors import ProtocolError
from mien.expressions import EXPRESSIONS

#: More of a split than this learned from, and its figure measures memory. Of FER2013's PublicTest
#: 7.8 % are copies of Training faces.
MOST_SEEN: Final = 0.25


def refuse_breaches(breaches: Sequence[str], *, override: bool) -> tuple[str, ...]:
    """Return what is done against the protocol, where that is wanted.

    Args:
        breaches: What is wrong, a clause each.
        override: Whether to go on all the same.

    Raises:
        ProtocolError: Something is wrong, and not wanted.
    """
    if breaches and not override:
        raise ProtocolError(
            f"refused: {'; '.join(breaches)} (--override-protocol, where a command has "
            "it, goes on, and reports say so)"
        )
    return tuple(breaches)


def swapped_splits(dataset: ExpressionDataset) -> list[str]:
    """Return which splits are another of FER2013's by the published numbers of their classes."""
    if dataset.classes != EXPRESSIONS:
        return []
    found = {split: tuple(counts.values()) for split, counts in dataset.split_counts().items()}
    return [
        f"the faces called {split} are FER2013's {published}, by their numbers in each class"
        for split in SPLITS
        for published, counts in FER2013_COUNTS.items()
        if published != split and found[split] == counts
    ]


def test_split_breach(*splits: str) -> list[str]:
    """Return what is wrong where the test split is among those learned from or chosen on."""
    test = SPLITS[-1]
    if test not in splits:
        return []
    return [
        f"{test} is the test split: what is chosen on it, or learned from it, cannot be measured "
        f"on it; choose on {SPLITS[1]}"
    ]


def learned_faces(
    seen: SeenFaces | None, data: Mapping[str, Any], dataset: ExpressionDataset
) -> SeenFaces | None:
    """Return the faces that a model learned from; None where it does not tell.

    A model of an older version does not know them; if it was trained on this very data, they are
    those of its training split.

    Args:
        seen: Those that it knows.
        data: What it was trained on, as its file says.
        dataset: The data set at hand, as its recipe prepares it.
    """
    trained_on = data.get("train")
    if seen is None and data.get("fingerprint") == dataset.fingerprint and trained_on in SPLITS:
        return SeenFaces.of(dataset.split(trained_on).images)
    return seen


def seen_breach(seen: npt.NDArray[np.bool_], split: str) -> list[str]:
    """Return what is wrong with measuring on faces that were learned from.

    Args:
        seen: ``(N,)`` which of a split's faces were learned from.
        split: Its name.
    """
    if not len(seen) or seen.mean() <= MOST_SEEN:
        return []
    return [
        f"{int(seen.sum()):,} of the {len(seen):,} {split} faces were learned from, so their "
        f"figure tells what the model remembers"
    ]
