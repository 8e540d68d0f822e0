import numpy as np
import pytest

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.fer2013 import FER2013_COUNTS
from mien.data.protocol import refuse_breaches, seen_breach, swapped_splits
from mien.errors import ProtocolError


def fer2013_sized(names: dict[str, str]) -> ExpressionDataset:
    """Black faces, as many of each class as FER2013 has; published splits under other names."""
    labels, codes = [], []
    for published, name in names.items():
        labels.append(np.repeat(np.arange(7), FER2013_COUNTS[published]))
        codes.append(np.full(len(labels[-1]), SPLITS.index(name), np.uint8))
    count = sum(map(len, labels))
    return ExpressionDataset(
        images=np.zeros((count, 48, 48), np.uint8),
        labels=np.concatenate(labels),
        split_codes=np.concatenate(codes),
        names=np.array([f"row {i}" for i in range(count)]),
    )


def test_swapped_splits_are_seen_by_their_published_counts(faces: ExpressionDataset) -> None:
    right = fer2013_sized({"PublicTest": "PublicTest", "PrivateTest": "PrivateTest"})
    swapped = fer2013_sized({"PublicTest": "PrivateTest", "PrivateTest": "PublicTest"})
    renamed = fer2013_sized({"PrivateTest": "PublicTest"})

    assert swapped_splits(right) == []
    assert swapped_splits(faces) == []
    first, second = swapped_splits(swapped)
    assert first.startswith("the faces called PublicTest are FER2013's PrivateTest")
    assert second.startswith("the faces called PrivateTest are FER2013's PublicTest")
    assert len(swapped_splits(renamed)) == 1


def test_a_few_copies_are_no_breach_and_many_are() -> None:
    seen = np.zeros(3589, np.bool_)
    seen[:280] = True
    assert seen_breach(seen, "PublicTest") == []
    seen[:1000] = True
    (breach,) = seen_breach(seen, "PublicTest")
    assert breach.startswith("1,000 of the 3,589 PublicTest faces were learned from")
    assert seen_breach(seen[:0], "PublicTest") == []


def test_a_breach_is_refused_unless_it_is_wanted() -> None:
    assert refuse_breaches([], override=False) == ()
    with pytest.raises(ProtocolError, match=r"refused: this; that \(--override-protocol"):
        refuse_breaches(["this", "that"], override=False)
    assert refuse_breaches(["this"], override=True) == ("this",)
