import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError
from mien.evaluation.out_of_sample import (
    ARRAYS,
    FACTS,
    faces_sha256,
    read_cross_validation,
    write_cross_validation,
)


def test_a_cross_validation_is_read_as_written(validated: Path, tmp_path: Path) -> None:
    found = read_cross_validation(validated)

    write_cross_validation(tmp_path, found)
    again = read_cross_validation(tmp_path)

    assert again.to_dict() == found.to_dict()
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    np.testing.assert_array_equal(again.fold_of, found.fold_of)
    assert found.recipe["name"] == "quick"
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("data"),
        lambda facts: facts.update(classes=["a", "b"]),
        lambda facts: facts.update(accuracies=[0.5, 0.5]),
        lambda facts: facts.update(accuracies=[0.5, 0.5, 1.5]),
        lambda facts: facts.update(counts="abc"),
        lambda facts: facts.update(folds=1),
        lambda facts: facts.update(recipe=3),
    ],
)
def test_damaged_facts_are_told(
    validated: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    folder = shutil.copytree(validated, tmp_path / "copy")
    facts = json.loads((folder / FACTS).read_text())
    change(facts)
    (folder / FACTS).write_text(json.dumps(facts))

    with pytest.raises(CheckpointError, match=r"not a cross-validation of mien: [^\n]+$"):
        read_cross_validation(folder)


@pytest.mark.parametrize(
    "arrays",
    [
        {"probabilities": np.zeros((280, 7), np.float32)},
        {"probabilities": np.zeros((280, 7)), "fold_of": np.zeros(280, np.int64)},
        {"probabilities": np.full((280, 7), np.nan, "f4"), "fold_of": np.zeros(280, np.int64)},
        {"probabilities": np.full((280, 7), 1 / 7, "f4"), "fold_of": np.full(280, 3)},
        {"probabilities": np.zeros((280, 7), np.float32), "fold_of": np.zeros(280, np.int64)},
        {"probabilities": np.zeros((280, 7), np.float32), "fold_of": np.zeros(281, np.int64)},
    ],
)
def test_damaged_arrays_are_told(
    validated: Path, tmp_path: Path, arrays: dict[str, npt.NDArray[Any]]
) -> None:
    folder = shutil.copytree(validated, tmp_path / "copy")
    np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]

    with pytest.raises(CheckpointError, match=r"not a cross-validation of mien: [^\n]+$"):
        read_cross_validation(folder)


def test_what_is_no_cross_validation_is_told(validated: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="make one with 'mien cross-validate"):
        read_cross_validation(tmp_path)
    folder = shutil.copytree(validated, tmp_path / "copy")
    for text in ("{", "[]", "3"):
        (folder / FACTS).write_text(text)
        with pytest.raises(CheckpointError, match="not a cross-validation of mien"):
            read_cross_validation(folder)
    shutil.copy(validated / FACTS, folder)
    (folder / ARRAYS).write_bytes((validated / ARRAYS).read_bytes()[:500])
    with pytest.raises(CheckpointError, match="not a cross-validation of mien"):
        read_cross_validation(folder)


def test_the_digest_is_of_faces_and_labels_alone(faces: ExpressionDataset) -> None:
    same = replace(faces, fingerprint="other", names=faces.names[::-1], votes=None)
    labels = faces.labels.copy()
    labels[3] = (labels[3] + 1) % 7

    assert faces_sha256(same) == faces_sha256(faces)
    for other in (
        replace(faces, labels=labels),
        replace(faces, classes=faces.classes[::-1]),
        replace(faces, images=faces.images[::-1]),
        faces.take(range(279)),
    ):
        assert faces_sha256(other) != faces_sha256(faces)
