"""int8 → float32: a quantized ONNX model as the float network that it stands for.

A file of ``mien quantize`` holds its weights as whole numbers with a scale for each output channel,
and rounds what layers hand to each other. Here the weights get back their names and their float
values, and the rounding goes: what is left can be trained further and has gradients.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError

if TYPE_CHECKING:
    import onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

#: Operators that compute with whole numbers themselves, which ``mien quantize`` does not write.
_INTEGER: Final = ("QLinearConv", "ConvInteger", "QGemm", "QLinearMatMul", "MatMulInteger")

#: What ONNX Runtime adds to the name of a weight that it quantizes.
_SUFFIX: Final = "_quantized"


def is_quantized(model: "onnx.ModelProto") -> bool:
    """Return whether any of a model's numbers are whole ones that stand for others."""
    return any(node.op_type in (_QUANTIZE, _DEQUANTIZE, *_INTEGER) for node in model.graph.node)


def float_weights(model: "onnx.ModelProto") -> dict[str, npt.NDArray[np.float32]]:
    """Return a model's weights and biases by name, quantized or not.

    A quantized one is the value that ONNX Runtime computes with, under the name that it had before.

    Raises:
        ModelError: It is quantized in another form than that of ``mien quantize``.
    """
    _refuse_integer_operators(model)
    stored = _stored(model)
    conversions = [n for n in model.graph.node if n.op_type in (_QUANTIZE, _DEQUANTIZE)]
    quantized = [n for n in conversions if n.op_type == _DEQUANTIZE and n.input[0] in stored]
    weights = {n.input[0].removesuffix(_SUFFIX): _dequantize(n, stored) for n in quantized}
    steps = {name for node in conversions for name in node.input[1:]}
    others = stored.keys() - steps - {node.input[0] for node in quantized}
    for name, values in stored.items():
        if name in others and np.issubdtype(values.dtype, np.floating):
            weights[name] = values.astype(np.float32)
    return weights


def float_form(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a model that computes in float32 with the very same weights; itself if it does.

    Its answers differ from the quantized ones by what the rounding of activations changes.

    Raises:
        ModelError: It is quantized in another form than that of ``mien quantize``.
    """
    if not is_quantized(model):
        return model
    _refuse_integer_operators(model)
    import onnx  # noqa: PLC0415 - slow to import

    stored = _stored(model)
    nodes, weights = [], []
    for node in model.graph.node:
        if node.op_type == _DEQUANTIZE and node.input[0] in stored:
            values = _dequantize(node, stored)
            weights.append(onnx.numpy_helper.from_array(values, node.output[0]))
        elif node.op_type in (_QUANTIZE, _DEQUANTIZE):
            # ReLUs are left out of a quantized graph where 0 is the least number that can be
            # written: rounding cuts off what is below.
            cuts = node.op_type == _QUANTIZE and _starts_at_zero(node, stored)
            kind = "Relu" if cuts else "Identity"
            nodes.append(onnx.helper.make_node(kind, node.input[:1], node.output))
        else:
            nodes.append(node)
    form = onnx.ModelProto()
    form.CopyFrom(model)
    del form.graph.node[:], form.graph.value_info[:]
    form.graph.node.extend(nodes)
    form.graph.initializer.extend(weights)
    return form


def _refuse_integer_operators(model: "onnx.ModelProto") -> None:
    for node in model.graph.node:
        if node.op_type in _INTEGER:
            raise ModelError(
                f"is quantized with {node.op_type}, whose weights cannot be read back: name the "
                f"float32 file that it was made of"
            )


def _stored(model: "onnx.ModelProto") -> dict[str, npt.NDArray[Any]]:
    from onnx import numpy_helper  # noqa: PLC0415

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _dequantize(
    node: "onnx.NodeProto", stored: dict[str, npt.NDArray[Any]]
) -> npt.NDArray[np.float32]:
    """Compute a ``DequantizeLinear`` of stored numbers as ONNX defines it."""
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

    inputs = {name: stored[name] for name in node.input}
    (values,) = ReferenceEvaluator(node).run(None, inputs)
    return np.asarray(values, np.float32)


def _starts_at_zero(node: "onnx.NodeProto", stored: dict[str, npt.NDArray[Any]]) -> bool:
    """Return whether 0 is the least value that a ``QuantizeLinear`` can write."""
    if len(node.input) < 3:
        return True  # unsigned, from 0
    zero_point = stored[node.input[2]]
    return bool((zero_point == np.iinfo(zero_point.dtype).min).all())
