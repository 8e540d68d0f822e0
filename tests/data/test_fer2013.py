from dataclasses import replace

import numpy as np

from mien.data.dataset import ExpressionDataset
from mien.data.fer2013 import FER2013_COUNTS, is_fer2013, is_fer2013_csv, verify_fer2013


def published() -> ExpressionDataset:
    counts = np.array(list(FER2013_COUNTS.values()))
    labels = np.concatenate([np.repeat(np.arange(7), row) for row in counts])
    split_codes = np.repeat(np.arange(3, dtype=np.uint8), counts.sum(axis=1))
    # A view of one blank face: 35,887 of them without the memory.
    images = np.broadcast_to(np.zeros((48, 48), np.uint8), (len(labels), 48, 48))
    names = np.array([f"row {row}" for row in range(1, len(labels) + 1)])
    return ExpressionDataset(images=images, labels=labels, split_codes=split_codes, names=names)


def test_the_published_sizes_add_up() -> None:
    sizes = {split: sum(counts) for split, counts in FER2013_COUNTS.items()}
    assert sizes == {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}


def test_the_published_data_set_has_no_difference() -> None:
    assert verify_fer2013(published()) == []


def test_a_missing_split_and_a_wrong_class_are_told() -> None:
    whole = published()
    labels = whole.labels.copy()
    labels[0] = 1
    kept = np.flatnonzero(whole.split_codes != 2)
    assert verify_fer2013(replace(whole, labels=labels).take(kept)) == [
        "Training has 28,709 images, 28,709 were published: angry 3,994 instead of 3,995, "
        "disgust 437 instead of 436",
        "no PrivateTest images, 3,589 were published",
    ]


def test_other_classes_are_told_in_one_line() -> None:
    whole = published()
    happy = whole.take(np.flatnonzero(whole.labels == 3)[:5])
    other = replace(happy, labels=happy.labels * 0, classes=("happy",))
    assert verify_fer2013(other) == [
        "the classes are happy, not angry, disgust, fear, happy, sad, surprise, neutral"
    ]


def test_what_is_fer2013_by_its_names() -> None:
    whole = published().take([0])
    assert is_fer2013(whole)
    assert is_fer2013_csv(whole)
    kaggle = replace(whole, names=np.array(["test/sad/PublicTest_123.jpg"]))
    assert is_fer2013(kaggle)
    assert not is_fer2013_csv(kaggle)
    assert not is_fer2013(replace(whole, names=np.array(["sad/me.jpg"])))
    assert not is_fer2013(whole.take([]))
