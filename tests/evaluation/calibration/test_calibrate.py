import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from mien.analysis.classifier import ExpressionClassifier
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError, ModelError, ProtocolError
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.evaluation.calibration.model_calibration import (
    CALIBRATION_FILE,
    ModelCalibration,
    read_calibration,
)
from mien.evaluation.predictor import EnsemblePredictor, MirrorPredictor, open_predictor
from mien.expressions import UNCERTAIN
from mien.metadata import BEST, ModelMetadata
from mien.training.classical import train_classical
from mien.training.recipe_file import recipe_from_dict

WriteModel = Callable[..., Path]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_a_run_answers_with_its_temperature(run: Path, faces: ExpressionDataset) -> None:
    images = faces.images[:20]
    plain = open_predictor(run)
    calibration = calibrate(run, faces, uncertain_below=0.5)

    path = write_calibration(calibration, run)

    assert path == run / CALIBRATION_FILE
    scaled = open_predictor(run)
    assert (plain.temperature, scaled.temperature) == (1, calibration.temperature)
    assert calibration.temperature != pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(
        scaled.logits(images), plain.logits(images) / calibration.temperature, rtol=1e-5
    )
    assert open_predictor(run / BEST).temperature == calibration.temperature
    assert MirrorPredictor(scaled).temperature == calibration.temperature
    assert EnsemblePredictor([plain, scaled]).temperature is None


def test_calibrating_again_is_not_on_top(run: Path, faces: ExpressionDataset) -> None:
    first = calibrate(run, faces, uncertain_below=0.5)
    write_calibration(first, run)

    again = calibrate(run, faces)

    assert again.temperature == pytest.approx(first.temperature, rel=1e-5)
    assert again.uncertain_below == 0.5, "kept as it was"
    assert again.fit.before.ece == pytest.approx(first.fit.before.ece, rel=1e-4)
    assert calibrate(run, faces, uncertain_below=0).uncertain.uncertain == 0


def test_it_holds_for_one_very_checkpoint(run: Path, faces: ExpressionDataset) -> None:
    write_calibration(calibrate(run, faces), run)
    assert read_calibration(run / BEST) is not None

    torch.save({**torch.load(run / BEST, weights_only=True), "extra": 1}, run / BEST)

    assert read_calibration(run / BEST) is None
    assert open_predictor(run).temperature == 1


def test_another_checkpoint_keeps_its_own(run: Path, faces: ExpressionDataset) -> None:
    other = run / "last.ckpt"
    torch.save({**torch.load(other, weights_only=True), "extra": 1}, other)
    kept = write_calibration(calibrate(run, faces, uncertain_below=0.5), run)
    before = kept.read_bytes()

    path = write_calibration(calibrate(other, faces), other)

    assert path == run / "last.ckpt.calibration.json"
    assert kept.read_bytes() == before
    for file, below in ((run / BEST, 0.5), (other, 0)):
        found = read_calibration(file)
        assert found is not None
        assert found.uncertain_below == below
    path.replace(run / CALIBRATION_FILE)
    assert read_calibration(other) is not None, "where an older version kept it"


def test_what_changed_meanwhile_is_not_calibrated(run: Path, faces: ExpressionDataset) -> None:
    calibration = calibrate(run, faces)
    torch.save({**torch.load(run / BEST, weights_only=True), "extra": 1}, run / BEST)

    with pytest.raises(ModelError, match="calibrate again"):
        write_calibration(calibration, run)
    assert not (run / CALIBRATION_FILE).exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 9999, '{"split": "Training"}', '{"split": "\\n"}']
)
def test_a_damaged_calibration_is_told_in_one_line(run: Path, text: str) -> None:
    (run / CALIBRATION_FILE).write_text(text)

    with pytest.raises(CheckpointError, match=r"calibration\.json: .*delete it") as caught:
        open_predictor(run)
    assert "\n" not in str(caught.value)


def test_a_calibration_survives_the_journey(run: Path, faces: ExpressionDataset) -> None:
    calibration = calibrate(run, faces, uncertain_below=0.6)

    assert ModelCalibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    overridden = replace(calibration, breaches=("on the test split",))
    written = overridden.to_dict()
    assert ModelCalibration.from_dict(written) == overridden
    del written["breaches"]
    assert ModelCalibration.from_dict(written) == calibration, "an older version's"


def test_an_onnx_file_gets_it_into_its_metadata_and_keeps_its_graph(
    tmp_path: Path, write_model: WriteModel, faces: ExpressionDataset
) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    proto = onnx.load(model)
    proto.metadata_props.add(key="somebody", value="else's")
    onnx.save(proto, model)
    before = model.read_bytes()
    calibration = calibrate(model, faces, uncertain_below=0.3)

    path = write_calibration(calibration, model, tmp_path / "copy.onnx")

    assert model.read_bytes() == before
    graph = proto.graph.SerializeToString()
    assert graph in before
    assert graph in path.read_bytes()
    strings = {item.key: item.value for item in onnx.load(path).metadata_props}
    assert strings["somebody"] == "else's"
    facts = ModelMetadata.from_strings(strings)
    assert (facts.temperature, facts.uncertain_below) == (calibration.temperature, 0.3)
    assert facts.data["calibration"]["split"] == "PublicTest"
    old, new = ExpressionClassifier(model), ExpressionClassifier(path)
    assert replace(facts, temperature=1, uncertain_below=0, data={}) == old.metadata
    powers = old.classify(faces.images) ** (1 / calibration.temperature)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(new.classify(faces.images), expected, atol=1e-6)


def test_a_quantized_file_stays_quantized(
    quantized: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    calibration = calibrate(quantized, faces)

    path = write_calibration(calibration, quantized, tmp_path / "copy.onnx")

    assert onnx.load(quantized).graph.SerializeToString() in path.read_bytes()
    before, after = (ExpressionClassifier(file).metadata for file in (quantized, path))
    figures = dict(before.metrics["PublicTest"])
    assert figures.pop("loss") > 0, "which the temperature changes"
    assert after.metrics == {"PublicTest": figures}
    assert after.temperature == calibration.temperature != before.temperature
    assert after.data["quantization"] == before.data["quantization"]


def test_an_onnx_file_may_be_changed_in_place(
    tmp_path: Path, write_model: WriteModel, faces: ExpressionDataset
) -> None:
    model = write_model(tmp_path / "tiny.onnx")

    for _ in range(2):  # the second time is not on top
        calibration = calibrate(model, faces)
        write_calibration(calibration, model, model)

    predictor = open_predictor(model)
    assert predictor.temperature == pytest.approx(calibration.temperature)
    assert sorted(tmp_path.iterdir()) == [model]


def test_an_onnx_file_that_is_always_right_keeps_its_temperature(
    tmp_path: Path, write_model: WriteModel, faces: ExpressionDataset
) -> None:
    """Divided by so little, the least probabilities are 0 in float32, but logits are not lost."""
    model = write_model(tmp_path / "tiny.onnx")
    proto = onnx.load(model)
    for constant in proto.graph.initializer:
        constant.CopyFrom(
            numpy_helper.from_array(3 * numpy_helper.to_array(constant), constant.name)
        )
    onnx.save(proto, model)
    read = open_predictor(model).logits(faces.images).argmax(axis=1)
    right = replace(faces, labels=read.astype(np.int64))
    first = calibrate(model, right)
    write_calibration(first, model, model)

    again = calibrate(model, right)

    assert first.temperature < 0.1
    assert again.temperature == pytest.approx(first.temperature)
    assert again.fit.before.cross_entropy == pytest.approx(first.fit.before.cross_entropy)


def test_no_answer_changes(tmp_path: Path, write_model: WriteModel, run: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 48, 48)).astype(np.uint8)
    model = write_model(tmp_path / "tiny.onnx")
    labels = np.arange(300) % 7
    faces = ExpressionDataset(
        images=images,
        labels=labels,
        split_codes=np.ones(300, np.uint8),
        names=np.array([f"row {i}" for i in range(300)]),
    )
    for each, output in ((model, tmp_path / "copy.onnx"), (run, None)):
        before = open_predictor(each).logits(images).argmax(axis=1)
        path = write_calibration(calibrate(each, faces), each, output)
        after = open_predictor(each if output is None else path)
        assert after.temperature != 1
        np.testing.assert_array_equal(after.logits(images).argmax(axis=1), before)


def test_a_baseline_is_calibrated_as_well(tmp_path: Path, faces: ExpressionDataset) -> None:
    options = {"name": "pca_knn", "components": 5, "neighbours": 3}
    recipe = recipe_from_dict({"name": "small", "model": options})
    train_classical(recipe, faces, tmp_path / "run")

    calibration = calibrate(tmp_path / "run", faces)
    write_calibration(calibration, tmp_path / "run")

    assert open_predictor(tmp_path / "run").temperature == calibration.temperature


def test_what_a_model_has_learned_is_refused(run: Path, faces: ExpressionDataset) -> None:
    with pytest.raises(ProtocolError, match="Training faces were learned from"):
        calibrate(run, faces, "Training")
    with pytest.raises(ProtocolError, match="PrivateTest is the test split"):
        calibrate(run, faces, "PrivateTest")
    calibrate(run, faces, "PrivateTest", override_protocol=True)


def test_unusable_data_is_told(run: Path, faces: ExpressionDataset) -> None:
    with pytest.raises(DataError, match="0 PublicTest images"):
        calibrate(run, faces.split("Training"), "PublicTest")
    others = replace(faces, classes=tuple("abcdefg"))
    with pytest.raises(DataError, match="the model knows angry"):
        calibrate(run, others)


def test_a_model_that_diverged_is_told(run: Path, faces: ExpressionDataset) -> None:
    content = torch.load(run / BEST, weights_only=True)
    weights = {
        key: torch.full_like(value, torch.nan) if value.is_floating_point() else value
        for key, value in content["state_dict"].items()
    }
    torch.save({**content, "state_dict": weights}, run / BEST)

    with pytest.raises(DataError, match="not numbers"):
        calibrate(run, faces)


def test_a_class_of_that_name_keeps_it(
    tmp_path: Path, write_model: WriteModel, faces: ExpressionDataset, model_facts: ModelMetadata
) -> None:
    classes = (*faces.classes[:6], UNCERTAIN)
    strings = replace(model_facts, classes=classes).to_strings()
    model = write_model(tmp_path / "own.onnx", strings=strings)
    own = replace(faces, classes=classes)

    with pytest.raises(ModelError, match="a class 'uncertain' of its own"):
        calibrate(model, own, uncertain_below=0.3)
    assert calibrate(model, own).uncertain_below == 0
