from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.errors import DataError


def test_splits_counts_and_repr(dataset: ExpressionDataset) -> None:
    assert dataset.splits == SPLITS
    assert [len(dataset.split(name)) for name in SPLITS] == [32, 4, 4]
    assert sum(dataset.counts().values()) == 40
    for split, counts in dataset.split_counts().items():
        assert counts == dataset.split(split).counts()
    assert repr(dataset) == (
        "ExpressionDataset(40 faces: Training 32, PublicTest 4, PrivateTest 4, FER+ votes)"
    )
    assert dataset.take([3, 1]).names.tolist() == ["row 4", "row 2"]
    with pytest.raises(ValueError, match="unknown split 'test'"):
        dataset.split("test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((40, 24, 24), np.uint8)}, r"must be uint8 \(N, 48, 48\)"),
        ({"images": np.zeros((40, 48, 48), np.float32)}, "got float32"),
        ({"labels": np.zeros(39, np.int64)}, "40 images but 39 labels"),
        ({"labels": np.full(40, 7)}, "labels run from 7 to 7, expected 0 to 6"),
        ({"split_codes": np.full(40, 3, np.uint8)}, "split code 3, expected 0 to 2"),
        ({"votes": np.zeros((40, 8), np.uint8)}, r"votes must be uint8 \(N, 10\)"),
        ({"votes": np.zeros((40, 10))}, r"votes must be uint8 \(N, 10\), got float64"),
        ({"votes": np.uint8(3)}, r"votes must be an array, uint8 \(N, 10\), got uint8"),
        ({"labels": np.zeros(40)}, r"labels must be int64 \(N,\), got float64 \(40,\)"),
        ({"labels": np.zeros((40, 1), np.int64)}, r"labels must be int64 \(N,\)"),
        ({"labels": np.int64(1)}, "labels must be an array"),
        ({"split_codes": np.zeros(40, np.int64)}, r"split_codes must be uint8 \(N,\)"),
        ({"split_codes": np.zeros((40, 1), np.uint8)}, r"got uint8 \(40, 1\)"),
        ({"names": np.arange(40)}, r"names must be str \(N,\), got int64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    dataset: ExpressionDataset, changes: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        replace(dataset, **changes)  # type: ignore[arg-type]


def test_an_empty_data_set(dataset: ExpressionDataset) -> None:
    empty = dataset.take([])
    assert len(empty) == 0
    assert empty.splits == ()
    assert set(empty.counts().values()) == {0}


@pytest.mark.parametrize("classes", [("happy", "happy"), ("happy", "")])
def test_class_names_must_differ(faces: ExpressionDataset, classes: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="must differ"):
        replace(faces.take([]), classes=classes)
