from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mien.analysis.classifier import ExpressionClassifier
from mien.data.dataset import ExpressionDataset
from mien.data.seen_faces import SeenFaces
from mien.errors import DataError, ModelError, ProtocolError
from mien.evaluation.onnx_graph import count_operations
from mien.evaluation.predictor import open_predictor
from mien.metadata import ModelMetadata, file_sha256
from mien.preprocess import standardise
from mien.quantization import quantize


@pytest.fixture(scope="module")
def facts(model_facts: ModelMetadata, faces: ExpressionDataset) -> ModelMetadata:
    return replace(
        model_facts,
        temperature=1.5,
        uncertain_below=0.4,
        seen=SeenFaces.of(faces.split("Training").images).to_text(),
        data={"train": "Training"},
        metrics={"PublicTest": {"accuracy": 0.9}},
    )


@pytest.fixture(scope="module")
def fitted(
    write_model: Callable[..., Path],
    faces: ExpressionDataset,
    facts: ModelMetadata,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A linear model fitted to the Training faces by least squares."""
    path = write_model(tmp_path_factory.mktemp("fitted") / "linear.onnx")
    part = faces.split("Training")
    inputs = standardise(part.images, mean=facts.mean, std=facts.std).reshape(len(part), -1)
    weights = np.linalg.lstsq(inputs, 4 * np.eye(7)[part.labels], rcond=None)[0]
    _change(path, weights=weights, strings=facts.to_strings())
    return path


def _change(path: Path, strings: dict[str, str] | None = None, **arrays: Any) -> Path:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            values = np.asarray(arrays[tensor.name], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    if strings is not None:
        onnx.helper.set_model_props(model, strings)
    onnx.save(model, path)
    return path


def test_the_int8_form_answers_alike_at_any_batch(
    fitted: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    done = quantize(fitted, faces, tmp_path / "int8.onnx", faces=100)

    assert done.size_bytes == done.path.stat().st_size < 0.5 * fitted.stat().st_size
    assert done.parity.count == len(faces.split("PublicTest"))
    assert done.parity.agreement > 0.9
    assert 0 < done.parity.mean_logit_change < 0.25
    ours, theirs = open_predictor(done.path), open_predictor(fitted)
    for count in (1, 7, 70):
        images = faces.images[:count]
        assert np.abs(ours.logits(images) - theirs.logits(images)).max() < 1
    assert count_operations(done.path) == count_operations(fitted)


def test_its_metadata_tell_how_it_was_made(
    fitted: Path, faces: ExpressionDataset, facts: ModelMetadata, tmp_path: Path
) -> None:
    done = quantize(fitted, faces, tmp_path / "int8.onnx", faces=100, seed=5)

    found = ExpressionClassifier(done.path).metadata
    assert found == done.metadata
    made = found.data["quantization"]
    assert replace(found, data=facts.data, metrics=facts.metrics) == facts
    assert found.data["train"] == "Training"
    assert made["float32_sha256"] == file_sha256(fitted)
    assert (made["split"], made["seed"], made["breaches"]) == ("Training", 5, [])
    assert made["faces"] == pytest.approx(100, abs=7)
    assert made["parity"]["split"] == "PublicTest"
    assert made["parity"]["agreement"] == done.parity.agreement
    figures = found.metrics["PublicTest"]
    assert figures["accuracy"] == done.parity.after.accuracy, "its own, not float32's"
    assert figures["count"] == done.parity.count == sum(map(sum, figures["confusion"]))


def test_ranges_are_those_of_training_faces_only(
    fitted: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    def graph(dark: str | None, name: str) -> bytes:
        images = faces.images.copy()
        if dark is not None:
            images[faces.split_codes == ("Training", "PublicTest").index(dark)] //= 4
        changed = replace(faces, images=images)
        done = quantize(fitted, changed, tmp_path / name, most_lost=100)
        serialised: bytes = onnx.load(done.path).graph.SerializeToString(deterministic=True)
        return serialised

    as_they_are = graph(None, "a.onnx")
    assert graph("PublicTest", "b.onnx") == as_they_are
    assert graph("Training", "c.onnx") != as_they_are


def test_convolutions_have_a_scale_for_each_channel(exported: Path, quantized: Path) -> None:
    graph = onnx.load(quantized).graph
    stored = {t.name: t for t in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    for node in (node for node in graph.node if node.op_type == "Conv"):
        weights, scale, _ = (stored[name] for name in makers[node.input[1]].input)
        assert weights.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [weights.dims[0]]
        assert np.abs(onnx.numpy_helper.to_array(weights).astype(int)).max() <= 64
    assert quantized.name == "tiny-int8.onnx"
    assert count_operations(quantized)[1] == count_operations(exported)[1]


def test_what_loses_too_much_is_not_written(
    fitted: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    """A weight of 10,000 on a pixel that never changes leaves no step for the others."""
    images = faces.images.copy()
    images[:, 0, 0] = 128
    still = replace(faces, images=images)
    weights = onnx.numpy_helper.to_array(onnx.load(fitted).graph.initializer[0]).copy()
    weights[0] = 1e4
    model = _change(_copy(fitted, tmp_path), weights=weights)

    with pytest.raises(ModelError, match=r"int8 loses \d+\.\d\d points .* more than 0.5"):
        quantize(model, still, tmp_path / "int8.onnx")

    assert not (tmp_path / "int8.onnx").exists()
    assert quantize(model, still, tmp_path / "int8.onnx", most_lost=100).parity.lost_points > 20


def test_logits_are_not_in_steps(fitted: Path, faces: ExpressionDataset, tmp_path: Path) -> None:
    done = quantize(fitted, faces, tmp_path / "int8.onnx")

    logits = open_predictor(done.path).logits(faces.images)
    assert len(np.unique(logits)) > 0.9 * logits.size


def test_faces_that_the_model_has_learned_tell_no_loss(
    fitted: Path, faces: ExpressionDataset, facts: ModelMetadata, tmp_path: Path
) -> None:
    known = replace(facts, seen=SeenFaces.of(faces.images).to_text())
    model = _change(_copy(fitted, tmp_path), strings=known.to_strings())

    with pytest.raises(ProtocolError, match="PublicTest faces were learned from"):
        quantize(model, faces)

    done = quantize(model, faces, override_protocol=True)
    assert done.path == tmp_path / "linear-int8.onnx"
    (breach,) = done.metadata.data["quantization"]["breaches"]
    assert "were learned from" in breach


def test_what_cannot_be_quantized_is_told(
    fitted: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    done = quantize(fitted, faces, tmp_path / "int8.onnx")

    with pytest.raises(ModelError, match="quantized already"):
        quantize(done.path, faces)
    with pytest.raises(ModelError, match="'mien export' writes a run"):
        quantize(tmp_path, faces)
    with pytest.raises(ModelError, match="no model at"):
        quantize(tmp_path / "none.onnx", faces)
    with pytest.raises(DataError, match="no Training faces"):
        quantize(fitted, faces.split("PublicTest"))
    with pytest.raises(DataError, match="the model knows angry"):
        quantize(fitted, replace(faces, classes=tuple("abcdefg")))
    with pytest.raises(ValueError, match="faces must be at least 1"):
        quantize(fitted, faces, faces=0)


def _copy(model: Path, folder: Path) -> Path:
    path = folder / model.name
    path.write_bytes(model.read_bytes())
    return path
