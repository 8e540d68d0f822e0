"""The model in the package: its file, its facts, and the figure it claims."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import mien
from mien.analysis.classifier import ExpressionClassifier
from mien.data.seen_faces import SeenFaces
from mien.data.synthetic import synthetic_faces
from mien.dequantization import is_quantized
from mien.evaluation import evaluate
from mien.metadata import DEFAULT_MODEL
from mien.preprocess import FACE_SIZE, FER2013_CROP
from mien.training.recipe_file import load_recipe, recipe_from_dict


@pytest.fixture(scope="module")
def model() -> ExpressionClassifier:
    return ExpressionClassifier()


def test_it_is_small_enough_to_ship(model: ExpressionClassifier) -> None:
    assert Path(model.path).stat().st_size <= 6e6


def test_it_is_the_int8_form_under_its_own_name(model: ExpressionClassifier) -> None:
    made = model.metadata.data["quantization"]

    assert is_quantized(onnx.load(DEFAULT_MODEL))
    assert model.metadata.name == DEFAULT_MODEL.stem
    assert (made["split"], made["parity"]["split"]) == ("Training", "PublicTest")
    assert made["fingerprint"] == model.metadata.data["fingerprint"]
    assert model.metadata.metrics["PublicTest"]["accuracy"] == made["parity"]["after"]["accuracy"]
    assert made["parity"]["difference"]["p_value"] > 0.05, "what it lost is noise"


def test_its_facts_are_those_of_the_packaged_recipe(model: ExpressionClassifier) -> None:
    facts = model.metadata
    assert model.classes == mien.EXPRESSIONS
    assert (facts.input_size, facts.crop) == (FACE_SIZE, FER2013_CROP)
    assert recipe_from_dict(facts.recipe) == load_recipe("mien-s"), "changed since"


def test_it_finds_more_than_half_of_each_expression(model: ExpressionClassifier) -> None:
    classes = model.metadata.metrics["PublicTest"]["per_class"]

    assert list(classes) == list(mien.EXPRESSIONS)
    assert min(each["recall"] for each in classes.values()) > 0.5


def test_fine_tuning_begins_with_its_network() -> None:
    assert load_recipe("fine-tune").model == load_recipe("mien-s").model


def test_it_was_trained_and_chosen_by_the_protocol(model: ExpressionClassifier) -> None:
    data = model.metadata.data

    assert (data["train"], data["validation"]) == ("Training", "PublicTest")
    assert sum(data["counts"]["Training"].values()) == 28709
    assert sum(data["counts"]["PublicTest"].values()) == 3589


def test_it_is_calibrated_and_says_on_what(model: ExpressionClassifier) -> None:
    facts = model.metadata
    fitted_on = facts.data["calibration"]

    assert facts.temperature == pytest.approx(0.900, abs=0.001)
    assert facts.uncertain_below == 0.4
    assert (fitted_on["split"], fitted_on["count"]) == ("PublicTest", 3589)
    assert fitted_on["fingerprint"] == facts.data["fingerprint"]
    # The temperature is the likeliest, which need not be that of the least calibration error.
    assert max(fitted_on["ece"], fitted_on["cross_fitted_ece"]) < 0.035


def test_it_knows_the_faces_that_it_learned_from(model: ExpressionClassifier) -> None:
    seen = SeenFaces.from_text(model.metadata.seen)

    assert seen.count == 27472, "Training's 28,709 less 1,237 copies"
    assert not seen.contains(synthetic_faces(200).images).any()


def test_a_face_gives_the_same_answer_alone_and_in_a_batch(model: ExpressionClassifier) -> None:
    faces = synthetic_faces(64).images

    together = model.classify(faces)

    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    alone = np.concatenate([model.classify(face[None]) for face in faces])
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.real_data
@pytest.mark.skipif("MIEN_FER2013" not in os.environ, reason="needs $MIEN_FER2013")
def test_the_figure_it_claims_is_measured_again(model: ExpressionClassifier) -> None:
    claimed = model.metadata.metrics["PublicTest"]

    measured = evaluate(model.path, mien.load_fer2013(), "PublicTest").metrics

    assert measured.accuracy == pytest.approx(claimed["accuracy"], abs=0.001)
    assert measured.accuracy >= 0.69
