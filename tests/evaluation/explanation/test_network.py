from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, ModelError
from mien.evaluation import open_predictor
from mien.evaluation.explanation import grad_cam, open_differentiable
from mien.metadata import BEST, DEFAULT_MODEL


def test_a_run_its_checkpoint_and_its_export_are_explained_alike(
    trained: Path, exported: Path, faces: ExpressionDataset
) -> None:
    images, labels = faces.images[:20], faces.labels[:20]
    run, checkpoint, onnx_file = map(open_differentiable, (trained, trained / BEST, exported))

    assert run.classes == onnx_file.classes == faces.classes
    np.testing.assert_array_equal(run.logits(images), checkpoint.logits(images))
    np.testing.assert_array_equal(run.logits(images), open_predictor(trained).logits(images))
    np.testing.assert_allclose(run.logits(images), onnx_file.logits(images), atol=1e-3)
    maps = grad_cam(run, images, labels)
    assert maps.any()
    np.testing.assert_allclose(grad_cam(onnx_file, images, labels), maps, atol=1e-2)


def test_a_quantized_file_is_explained_by_its_weights(
    trained: Path, quantized: Path, faces: ExpressionDataset
) -> None:
    images, labels = faces.images[:20], faces.labels[:20]
    run, int8 = map(open_differentiable, (trained, quantized))

    answers = open_predictor(quantized).logits(images)
    spread = answers.std()
    assert 0 < np.abs(int8.logits(images) - answers).mean() < 0.05 * spread
    assert 0 < np.abs(int8.logits(images) - run.logits(images)).mean() < 0.05 * spread
    maps, theirs = (grad_cam(model, images, labels) for model in (int8, run))
    assert np.corrcoef(maps.ravel(), theirs.ravel())[0, 1] > 0.95


def test_the_model_in_the_package_has_gradients() -> None:
    network = open_differentiable(DEFAULT_MODEL).network

    assert all(weights.requires_grad for weights in network.parameters())


def test_building_a_network_anew_leaves_the_random_generator_alone(exported: Path) -> None:
    state = torch.get_rng_state()

    open_differentiable(exported)

    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("form", ["exported", "quantized"])
def test_a_graph_that_answers_otherwise_is_refused(
    form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = onnx.load(request.getfixturevalue(form))
    graph = model.graph
    name = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if output == name else output for output in node.output]
    graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    graph.node.append(helper.make_node("Mul", ["before", "two"], [name]))
    onnx.save(model, tmp_path / "doubled.onnx")

    with pytest.raises(ModelError, match=r"other logits by up to .* --method occlusion"):
        open_differentiable(tmp_path / "doubled.onnx")


def test_what_has_no_network_is_told_of_occlusion(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match="--method occlusion"):
        open_differentiable(write_model(tmp_path / "foreign.onnx"))
    with pytest.raises(CheckpointError, match="--method occlusion"):
        open_differentiable(tmp_path / "model.skops")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model at"):
        open_differentiable(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        open_differentiable(tmp_path)
