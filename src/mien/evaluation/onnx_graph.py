"""Counting an ONNX graph: what it holds and what it computes, without running it."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx

#: Operators that multiply → which of their inputs the weights are, or a product's second factor;
#: the quantised ones too.
_WEIGHT_INPUT: Final[Mapping[str, int]] = MappingProxyType(
    {
        "Conv": 1,
        "ConvInteger": 1,
        "QLinearConv": 3,
        "Gemm": 1,
        "QGemm": 3,
        "MatMul": 1,
        "MatMulInteger": 1,
        "QLinearMatMul": 3,
    }
)

#: Operators that take a scale and a zero point beside the numbers.
_CONVERSIONS: Final = ("QuantizeLinear", "DequantizeLinear")


def count_operations(file: Path) -> tuple[int, int | None]:
    """Return a model's parameters and its multiply-adds for one face.

    Parameters are all stored floating-point and 8-bit numbers, so batch normalisation's running
    statistics count too, unless the export folded them into the weights. Of a quantized model they
    are its weights and biases, not the scales and zero points. Multiply-adds are those of
    convolutions and dense layers, as :func:`mien.models.count_multiply_adds` counts them; None
    where the graph does not tell a shape.
    """
    import onnx  # noqa: PLC0415

    model = onnx.load(file)
    numbers = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    numbers |= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    conversions = [node for node in model.graph.node if node.op_type in _CONVERSIONS]
    steps = {name for node in conversions for name in node.input[1:]}
    # Biases have 32 bits; other numbers of so many are shapes.
    stored = {node.input[0] for node in conversions}
    parameters = sum(
        math.prod(t.dims)
        for t in model.graph.initializer
        if t.name in stored or (t.data_type in numbers and t.name not in steps)
    )
    return parameters, _multiply_adds(onnx.shape_inference.infer_shapes(model))


def _multiply_adds(model: "onnx.ModelProto") -> int | None:
    graph = model.graph
    shapes: dict[str, tuple[int, ...]] = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        # The batch, of free size, is dimension 0 and left out of the count as 1.
        shapes[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        if node.op_type in _WEIGHT_INPUT:
            weight = shapes.get(node.input[_WEIGHT_INPUT[node.op_type]])
            output = shapes.get(node.output[0])
            if weight is None or output is None:
                return None
            total += _cost(node.op_type, weight, output)
    return total


def _cost(operator: str, weight: tuple[int, ...], output: tuple[int, ...]) -> int:
    """Return the multiply-adds of one node for one face.

    A matrix product's second factor may be computed, as attention's are, and have dimensions
    before the matrix that the output has too: each output takes the inner length, once.
    """
    if "Conv" in operator:
        return math.prod(weight) * math.prod(output[2:])
    if "MatMul" in operator:
        return math.prod(output[1:]) * weight[-2:][0]
    return math.prod(weight) * math.prod(output[1:-1])
