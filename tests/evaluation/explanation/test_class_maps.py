import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.classifier import softmax
from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation.explanation import (
    DifferentiableModel,
    explain_split,
    grad_cam,
    open_differentiable,
)


def lit_split(images: npt.NDArray[np.uint8], labels: list[int]) -> ExpressionDataset:
    count = len(images)
    return ExpressionDataset(
        images=images,
        labels=np.array(labels, np.int64),
        split_codes=np.ones(count, np.uint8),
        names=np.array([f"face {i}" for i in range(count)]),
        classes=("bright", "dark"),
    )


def test_only_right_readings_are_averaged(
    quarter_model: DifferentiableModel, lit_faces: npt.NDArray[np.uint8]
) -> None:
    # All are read as bright; two of them are said to be dark.
    part = lit_split(lit_faces, [0] * 10 + [1] * 2)

    found = explain_split(quarter_model, part, sample=5)

    assert (found.counts, found.support) == ((10, 0), (10, 2))
    expected = grad_cam(quarter_model, lit_faces[:10], np.zeros(10, int)).mean(axis=0)
    np.testing.assert_allclose(found.maps[0], expected, atol=1e-6)
    np.testing.assert_allclose(found.mean_faces[0], lit_faces[:10].mean(axis=0), atol=0.51)
    assert not found.maps[1].any()
    assert found.deletion.count == 5
    assert found.deletion.matters is True


def test_a_trained_network_is_explained_on_a_split(trained: Path, faces: ExpressionDataset) -> None:
    part = faces.split("PublicTest")
    model = open_differentiable(trained)

    found = explain_split(model, part, seed=3)

    assert found.maps.shape == found.mean_faces.shape == (7, 48, 48)
    assert found.maps.dtype == np.float32
    assert found.mean_faces.dtype == np.uint8
    right = model.logits(part.images).argmax(axis=1) == part.labels
    assert sum(found.counts) == right.sum()
    assert sum(found.support) == found.deletion.count == len(part)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["counts"] == list(found.counts)
    assert values["deletion"]["seed"] == 3


def test_other_classes_and_no_faces_are_refused(
    quarter_model: DifferentiableModel, lit_faces: npt.NDArray[np.uint8]
) -> None:
    part = lit_split(lit_faces, [0] * 12)

    with pytest.raises(DataError, match="the data dark, bright"):
        explain_split(quarter_model, replace(part, classes=("dark", "bright")))
    with pytest.raises(DataError, match="no images"):
        explain_split(quarter_model, part.take([]))


def test_probabilities_are_those_of_the_model_as_it_is_used(
    quarter_model: DifferentiableModel, lit_faces: npt.NDArray[np.uint8]
) -> None:
    class Calibrated:
        classes = quarter_model.classes

        def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return quarter_model.logits(images) / np.float32(5)

    part = lit_split(lit_faces, [0] * 12)

    bare, used = (
        explain_split(quarter_model, part, reader=reader) for reader in (None, Calibrated())
    )

    np.testing.assert_array_equal(used.maps, bare.maps)
    expected = softmax(Calibrated().logits(lit_faces))[:, 0].mean()
    assert used.deletion.highlighted[0] == pytest.approx(float(expected), abs=1e-4)
    assert used.deletion.highlighted[0] < bare.deletion.highlighted[0] - 0.01
