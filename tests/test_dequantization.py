from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from mien.data.dataset import ExpressionDataset
from mien.dequantization import float_form, float_weights, is_quantized
from mien.errors import ModelError
from mien.preprocess import standardise


def answers(model: onnx.ModelProto, faces: ExpressionDataset) -> npt.NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"faces": standardise(faces.images, mean=0.5, std=0.25)})
    return np.asarray(logits, np.float32)


def test_weights_come_back_within_half_a_step(exported: Path, quantized: Path) -> None:
    before, after = (float_weights(onnx.load(file)) for file in (exported, quantized))

    assert after.keys() == before.keys()
    for name, weights in before.items():
        axes = tuple(range(1, weights.ndim))
        # 7 bits a channel; biases have 32, in steps of input and weight together.
        step = np.abs(weights).max(axis=axes, keepdims=True) / 64
        if weights.ndim == 1:
            step = np.abs(weights).max() / 50
        assert (np.abs(after[name] - weights) <= 0.5001 * step).all(), name


def test_weights_are_those_that_onnx_runtime_computes_with(quantized: Path) -> None:
    model = onnx.load(quantized)
    weights = float_weights(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    outputs = {
        node.input[0].removesuffix("_quantized"): node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    assert outputs.keys() == weights.keys()
    for output in outputs.values():
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    face = np.zeros((1, 1, 48, 48), np.float32)
    computed = session.run(list(outputs.values()), {"faces": face})

    for name, values in zip(outputs, computed, strict=True):
        np.testing.assert_array_equal(weights[name], values, err_msg=name)


def test_the_float_form_answers_as_the_weights_alone_would(
    exported: Path, quantized: Path, faces: ExpressionDataset
) -> None:
    int8 = onnx.load(quantized)
    form = float_form(int8)

    assert not is_quantized(form)
    onnx.checker.check_model(form, full_check=True)
    ours, rounded, float32 = (answers(m, faces) for m in (form, int8, onnx.load(exported)))
    assert 0 < np.abs(ours - rounded).mean() < 0.05 * float32.std()
    assert 0 < np.abs(ours - float32).mean() < 0.05 * float32.std()


def test_a_float_model_is_its_own_float_form(exported: Path, faces: ExpressionDataset) -> None:
    model = onnx.load(exported)

    assert not is_quantized(model)
    assert float_form(model) is model


def test_steps_and_shapes_are_no_weights(tmp_path: Path, write_model: Callable[..., Path]) -> None:
    model = onnx.load(write_model(tmp_path / "tiny.onnx"))
    for name, values in (("shape", np.array([1, -1])), ("step", np.array(0.1, np.float32))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model.graph.node.append(helper.make_node("QuantizeLinear", ["bias", "step"], ["rounded"]))

    found = float_weights(model)

    assert {name: w.shape for name, w in found.items()} == {"weights": (2304, 7), "bias": (7,)}
    assert not found["bias"].any()


def test_whole_number_arithmetic_is_not_read_back(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    model = onnx.load(write_model(tmp_path / "tiny.onnx"))
    model.graph.node.append(helper.make_node("MatMulInteger", ["a", "b"], ["c"]))

    assert is_quantized(model)
    for read in (float_weights, float_form):
        with pytest.raises(ModelError, match=r"MatMulInteger.* name the float32 file"):
            read(model)
