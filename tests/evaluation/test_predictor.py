from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from mien.analysis.classifier import softmax
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError, ModelError
from mien.evaluation.onnx_graph import count_operations
from mien.evaluation.predictor import (
    CheckpointPredictor,
    EnsemblePredictor,
    MirrorPredictor,
    open_predictor,
)
from mien.metadata import BEST, ModelMetadata


def test_a_run_its_checkpoint_and_its_export_answer_alike(
    trained: Path, exported: Path, faces: ExpressionDataset
) -> None:
    images = faces.images[:70]

    run, checkpoint, onnx = (open_predictor(p) for p in (trained, trained / BEST, exported))

    assert run.classes == checkpoint.classes == onnx.classes == faces.classes
    expected = softmax(run.logits(images))
    np.testing.assert_array_equal(expected, softmax(checkpoint.logits(images)))
    np.testing.assert_allclose(expected, softmax(onnx.logits(images)), atol=1e-4)
    assert run.multiply_adds == onnx.multiply_adds, "counted from torch and from the graph"
    assert run.file_bytes == (trained / BEST).stat().st_size
    assert onnx.file_bytes == exported.stat().st_size
    assert onnx.parameters == pytest.approx(run.parameters, rel=0.05), "norms are folded in"


def test_a_graph_is_counted_without_running_it(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    model = write_model(tmp_path / "tiny.onnx")

    assert count_operations(model) == (2304 * 7 + 7, 2304 * 7)


@pytest.mark.parametrize(
    ("left", "right", "out", "expected"),
    [
        (("n", 6, 10, 64), ("n", 6, 64, 10), ("n", 6, 10, 10), 38_400),
        (("n", 10, 64), (64, 32), ("n", 10, 32), 20_480),
        (("n", 64), (64, 7), ("n", 7), 448),
    ],
)
def test_a_matrix_product_costs_the_inner_length_for_each_output(
    left: tuple[str | int, ...],
    right: tuple[str | int, ...],
    out: tuple[str | int, ...],
    expected: int,
    tmp_path: Path,
) -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("left", left), ("right", right), ("out", out))
    ]
    node = helper.make_node("MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph([node], "product", values[:2], values[2:])
    path = tmp_path / "product.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())

    assert count_operations(path) == (0, expected)


def test_a_mirrored_face_is_read_like_the_face(
    tmp_path: Path, write_model: Callable[..., Path], faces: ExpressionDataset
) -> None:
    single = open_predictor(write_model(tmp_path / "tiny.onnx"))
    images, mirrored = faces.images[:9], np.ascontiguousarray(faces.images[:9, :, ::-1])
    both = MirrorPredictor(single)

    mean = (softmax(single.logits(images)) + softmax(single.logits(mirrored))) / 2
    np.testing.assert_allclose(softmax(both.logits(images)), mean, atol=1e-6)
    np.testing.assert_allclose(both.logits(images), both.logits(mirrored), atol=1e-6)
    assert single.multiply_adds is not None
    assert both.multiply_adds == 2 * single.multiply_adds
    assert both.parameters == single.parameters


def test_an_ensemble_is_the_mean_of_its_members(
    tmp_path: Path, write_model: Callable[..., Path], faces: ExpressionDataset
) -> None:
    members = [
        open_predictor(write_model(tmp_path / "random.onnx")),
        open_predictor(write_model(tmp_path / "happy.onnx", finds="happy")),
    ]
    ensemble = EnsemblePredictor(members)

    mean = np.mean([softmax(member.logits(faces.images)) for member in members], axis=0)
    np.testing.assert_allclose(softmax(ensemble.logits(faces.images)), mean, atol=1e-6)
    assert ensemble.parameters == 2 * (2304 * 7 + 7)
    assert ensemble.file_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.onnx"))


def test_what_one_member_does_not_tell_the_ensemble_does_not(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    known = open_predictor(write_model(tmp_path / "tiny.onnx"))
    unknown = MirrorPredictor(known)
    unknown.multiply_adds = None

    assert EnsemblePredictor([known, unknown]).multiply_adds is None
    assert MirrorPredictor(unknown).multiply_adds is None


def test_members_must_know_the_same_classes(
    tmp_path: Path, write_model: Callable[..., Path], model_facts: ModelMetadata
) -> None:
    other = replace(model_facts, classes=tuple(reversed(model_facts.classes))).to_strings()
    paths = [
        write_model(tmp_path / "a.onnx"),
        write_model(tmp_path / "b.onnx", strings=other),
    ]

    with pytest.raises(DataError, match="same classes"):
        EnsemblePredictor([open_predictor(path) for path in paths])


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        open_predictor(tmp_path)
    with pytest.raises(ModelError, match="no model at"):
        open_predictor(tmp_path / "none.onnx")


def test_damaged_seen_faces_are_told_in_one_line(
    tmp_path: Path, write_model: Callable[..., Path], model_facts: ModelMetadata
) -> None:
    strings = replace(model_facts, seen="no filter").to_strings()
    model = write_model(tmp_path / "tiny.onnx", strings=strings)

    with pytest.raises(ModelError, match=r"tiny\.onnx: .* metadata is damaged: seen: not a filter"):
        open_predictor(model)


def test_threads_are_those_that_torch_would_take(
    tmp_path: Path, write_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    free = open_predictor(model).threads

    for value, threads in (("1", 1), ("1,4", 1), ("100000", free), ("many", free), ("0", free)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert open_predictor(model).threads == threads


def test_a_model_computes_with_the_threads_asked_for(
    trained: Path, faces: ExpressionDataset, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    before = torch.get_num_threads()
    single, double = (open_predictor(trained, threads=count) for count in (1, 2))
    seen: list[int] = []
    assert isinstance(double, CheckpointPredictor)
    double._network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))

    alone, together = (predictor.logits(faces.images[:5]) for predictor in (single, double))

    np.testing.assert_allclose(alone, together, atol=1e-4)
    assert seen == [2]
    assert torch.get_num_threads() == before, "what others compute is left alone"
    assert [single.threads, double.threads] == [1, 2]
    assert open_predictor(write_model(tmp_path / "tiny.onnx"), threads=2).threads == 2
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        open_predictor(trained, threads=0)
