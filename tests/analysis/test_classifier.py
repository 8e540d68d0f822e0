from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.classifier import ExpressionClassifier, softmax
from mien.errors import ModelError
from mien.expressions import EXPRESSIONS
from mien.metadata import ModelMetadata

WriteModel = Callable[..., Path]


def test_reads_its_classes_and_gives_probabilities(tiny_model: Path) -> None:
    classifier = ExpressionClassifier(tiny_model)
    faces = np.random.default_rng(0).integers(0, 255, (5, 48, 48)).astype(np.uint8)
    probabilities = classifier.classify(faces)
    assert classifier.classes == EXPRESSIONS
    assert probabilities.shape == (5, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_batches_are_as_one_by_one(tiny_model: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 255, (11, 48, 48)).astype(np.uint8)
    together = ExpressionClassifier(tiny_model, batch_size=4).classify(faces)
    single = ExpressionClassifier(tiny_model, batch_size=1).classify(faces)
    np.testing.assert_allclose(together, single, atol=1e-6)


def test_other_sizes_are_scaled(tiny_model: Path) -> None:
    classifier = ExpressionClassifier(tiny_model)
    small = np.full((1, 48, 48), 90, np.uint8)
    large = np.full((1, 100, 120), 90, np.uint8)
    np.testing.assert_allclose(classifier.classify(large), classifier.classify(small), atol=1e-6)


def test_flip_is_the_mean_of_a_face_and_its_mirror_image(tiny_model: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 255, (5, 60, 48)).astype(np.uint8)
    single, flip = ExpressionClassifier(tiny_model), ExpressionClassifier(tiny_model, tta="flip")

    both = flip.classify(faces)

    mean = (single.classify(faces) + single.classify(faces[:, :, ::-1])) / 2
    np.testing.assert_allclose(both, mean, atol=1e-6)
    np.testing.assert_allclose(both, flip.classify(faces[:, :, ::-1]), atol=1e-6)
    assert np.abs(both - single.classify(faces)).max() > 1e-4, "else it could do nothing"
    np.testing.assert_array_equal(flip.logits(faces), single.logits(faces))


@pytest.mark.parametrize("tta", [None, "flip"])
def test_no_faces_have_no_probabilities(tiny_model: Path, tta: Literal["flip"] | None) -> None:
    nobody = np.empty((0, 48, 48), np.uint8)

    assert ExpressionClassifier(tiny_model, tta=tta).classify(nobody).shape == (0, 7)


def test_other_test_time_augmentations_are_refused(tiny_model: Path) -> None:
    wrong: Any = "rotate"
    with pytest.raises(ValueError, match="tta must be None or 'flip', got 'rotate'"):
        ExpressionClassifier(tiny_model, tta=wrong)


@pytest.mark.parametrize("tta", [None, "flip"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((48, 48), np.uint8), r"got uint8 \(48, 48\)"),
        (np.zeros((2, 48, 48)), r"got float64 \(2, 48, 48\)"),
    ],
)
def test_what_is_no_array_of_faces_is_refused(
    tiny_model: Path, wrong: npt.NDArray[Any], told: str, tta: Literal["flip"] | None
) -> None:
    classifier = ExpressionClassifier(tiny_model, tta=tta)

    with pytest.raises(ValueError, match=told):
        classifier.classify(wrong)


def test_a_list_of_faces_is_refused(tiny_model: Path) -> None:
    crops: Any = [np.zeros((48, 48), np.uint8)]

    with pytest.raises(TypeError, match=r"expected a uint8 array \(N, H, W\), got list"):
        ExpressionClassifier(tiny_model).classify(crops)


def test_no_faces_no_rows(tiny_model: Path) -> None:
    assert ExpressionClassifier(tiny_model).classify(np.empty((0, 48, 48), np.uint8)).shape == (
        0,
        7,
    )


@pytest.mark.parametrize("bad", [np.zeros((48, 48), np.uint8), np.zeros((1, 48, 48))])
def test_other_arrays_are_refused(tiny_model: Path, bad: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        ExpressionClassifier(tiny_model).classify(bad)


@pytest.mark.parametrize("size", [0, 257])
def test_batch_size_is_bounded(tiny_model: Path, size: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        ExpressionClassifier(tiny_model, batch_size=size)


def test_a_missing_model_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="mien export"):
        ExpressionClassifier(tmp_path / "none.onnx")


def test_a_damaged_model_is_told_in_one_line(tmp_path: Path, tiny_model: Path) -> None:
    half = tmp_path / "half.onnx"
    half.write_bytes(tiny_model.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"half\.onnx") as caught:
        ExpressionClassifier(half)
    assert "\n" not in str(caught.value)


def test_a_model_without_metadata_is_refused(tmp_path: Path, write_model: WriteModel) -> None:
    with pytest.raises(ModelError, match="no mien metadata"):
        ExpressionClassifier(write_model(tmp_path / "plain.onnx", strings={}))


def test_a_model_whose_shape_is_not_its_metadata_is_refused(
    tmp_path: Path, write_model: WriteModel
) -> None:
    with pytest.raises(ModelError, match=r"\(N, 7\) out"):
        ExpressionClassifier(write_model(tmp_path / "eight.onnx", outputs=8))


def test_softmax_of_large_logits_does_not_overflow() -> None:
    assert softmax(np.array([[1000, 1000]], np.float32)).tolist() == [[0.5, 0.5]]


def test_logits_are_divided_by_the_models_temperature(
    tiny_model: Path, tmp_path: Path, write_model: WriteModel, model_facts: ModelMetadata
) -> None:
    strings = replace(model_facts, temperature=2.0).to_strings()
    faces = np.random.default_rng(0).integers(0, 255, (9, 48, 48)).astype(np.uint8)
    model = write_model(tmp_path / "two.onnx", strings=strings)
    plain = ExpressionClassifier(tiny_model).classify(faces)

    scaled = ExpressionClassifier(model).classify(faces)

    roots = np.sqrt(plain)
    np.testing.assert_allclose(scaled, roots / roots.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(scaled.argmax(axis=1), plain.argmax(axis=1))
    assert (scaled.max(axis=1) < plain.max(axis=1)).all()
