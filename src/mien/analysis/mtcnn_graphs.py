"""MTCNN's three networks as ONNX graphs, made from the weights in the ``mtcnn`` wheel.

The wheel (MIT licence) carries the trained weights as Keras arrays; its own code needs TensorFlow
and is not used. Each network is built once with :mod:`onnx` and kept in the cache folder, so that
later processes need neither :mod:`onnx` nor the libraries that read the weights.

Source: Zhang et al., Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks, 2016, https://arxiv.org/abs/1604.02878
"""

import hashlib
import importlib.util
import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mien.analysis.sessions import open_session
from mien.cache import atomic_write, cache_folder
from mien.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

Network = Literal["pnet", "rnet", "onet"]

#: The weight files of mtcnn 1.0.0. They are pickles, which run code when read, so nothing but
#: these very bytes is read.
WEIGHTS_SHA256: Final[Mapping[Network, str]] = MappingProxyType(
    {
        "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
        "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
        "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    }
)

#: Raise this when the graphs change, so that older cached ones are left alone.
BUILDER_VERSION: Final = 1

# What onnxruntime 1.20, the oldest allowed, reads whatever the installed onnx would write.
_OPSET: Final = 17
_IR_VERSION: Final = 8
# Channels in the widest processor vector that onnxruntime uses (AVX-512, 32-bit floats).
_VECTOR: Final = 16

# Max pooling (kernel, stride) after each convolution; None for no pooling.
_POOLS: Final[Mapping[Network, tuple[tuple[int, int] | None, ...]]] = MappingProxyType(
    {
        "pnet": ((2, 2), None, None),
        "rnet": ((3, 2), (3, 2), None),
        "onet": ((3, 2), (3, 2), (2, 2), None),
    }
)
_INPUT_SIDES: Final[Mapping[Network, tuple[int | str, int | str]]] = MappingProxyType(
    {"pnet": ("height", "width"), "rnet": (24, 24), "onet": (48, 48)}
)
# Height and width of the last feature map, which the first dense layer takes flattened.
_FLATTENED_SIDE: Final[Mapping[Network, int]] = MappingProxyType({"rnet": 3, "onet": 3})

Array = npt.NDArray[np.float32]


def open_network(network: Network, *, threads: int = 0) -> "InferenceSession":
    """Open a network, whose graph comes from the cache where it is there.

    All three take ``images_rgb``, uint8 ``(N, H, W, 3)``, and return ``scores`` (probability of a
    face), ``offsets`` (of the four box edges, in box sides) and, O-Net alone, ``landmarks`` (five
    x, then five y, in box sides). P-Net's results are maps, ``(N, 1, h, w)`` and ``(N, 4, h, w)``;
    those of R-Net (24 × 24 input) and O-Net (48 × 48) are ``(N, 1)``, ``(N, 4)`` and ``(N, 10)``.

    Args:
        network: Which of the three.
        threads: Processor threads; 0 for as many as there are cores.

    Raises:
        ModelError: The ``mtcnn`` wheel is missing or its weights are not those expected.
    """
    path = cached_path(network)
    try:
        return open_session(path.read_bytes(), threads=threads)
    except OSError:
        logger.info("%s is built anew", path.name)
    except Exception as error:
        # onnxruntime raises a class of its own for each kind of damage, with no common root.
        logger.info("%s is damaged and built anew: %s", path, error)
    model = build_graph(network)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(model)
    except OSError as error:
        logger.info("%s is not cached: %s", path.name, error)
    return open_session(model, threads=threads)


def cached_path(network: Network) -> Path:
    """Return where a network's graph is kept; the name changes with weights and builder."""
    name = f"{network}-{WEIGHTS_SHA256[network][:12]}-{BUILDER_VERSION}.onnx"
    return cache_folder() / "mtcnn" / name


def build_graph(network: Network) -> bytes:
    """Build a network from the wheel's weights, as a serialised ONNX model.

    Raises:
        ModelError: The ``mtcnn`` wheel is missing or its weights are not those expected.
    """
    # onnx takes a quarter of a second to import, and is needed only once a machine.
    from onnx import TensorProto, checker, helper  # noqa: PLC0415

    builder = _GraphBuilder()
    weights = iter(_read_weights(network))
    features = _add_convolutions(builder, network, weights)
    if network == "pnet":
        _add_map_outputs(builder, features, weights)
    else:
        _add_vector_outputs(builder, network, features, weights)
    sides = _INPUT_SIDES[network]
    image = helper.make_tensor_value_info("images_rgb", TensorProto.UINT8, ("n", *sides, 3))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", *shape))
        for name, shape in builder.outputs.items()
    ]
    graph = helper.make_graph(builder.nodes, network, [image], outputs, builder.constants)
    model = helper.make_model(
        graph,
        producer_name="mien",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


class _GraphBuilder:
    """Collects nodes and constants, naming them as they come."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: dict[str, tuple[int | str, ...]] = {}

    def constant(self, array: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper  # noqa: PLC0415

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def output(self, name: str, value: str, *shape: int | str) -> None:
        self.node("Identity", value, name=name)
        self.outputs[name] = shape

    def split(self, value: str, *channels: int) -> list[str]:
        """Cut a value along its channels into pieces of the given counts."""
        from onnx import helper  # noqa: PLC0415

        names = [f"value{len(self.nodes)}_{piece}" for piece in range(len(channels))]
        counts = self.constant(np.array(channels, np.int64))
        self.nodes.append(helper.make_node("Split", [value, counts], names, axis=1))
        return names

    def node(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        from onnx import helper  # noqa: PLC0415

        name = name or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def _add_convolutions(builder: _GraphBuilder, network: Network, weights: Iterator[Array]) -> str:
    """Add the input and the convolution, PReLU and pooling layers; return the last value."""
    from onnx import TensorProto  # noqa: PLC0415

    value = builder.node("Transpose", "images_rgb", perm=[0, 3, 1, 2])
    value = builder.node("Cast", value, to=TensorProto.FLOAT)
    order = np.arange(3)
    for layer, pool in enumerate(_POOLS[network]):
        kernel, bias, slopes = next(weights).transpose(3, 2, 0, 1), next(weights), next(weights)
        kernel, slopes = kernel[:, order], slopes.ravel()
        if layer == 0:
            # The networks were trained on (grey level - 127.5) / 128: part of the first layer.
            kernel = kernel / np.float32(128)
            bias = bias - np.float32(127.5) * kernel.sum(axis=(1, 2, 3))
        if pool is None:
            order = np.arange(len(bias))
            value = _add_convolution(builder, value, kernel, bias)
            value = _add_prelu(builder, value, slopes.reshape(-1, 1, 1))
        else:
            # Rising channels first; the next layer takes its inputs in this order.
            order = np.argsort(slopes < 0, kind="stable")
            kernel, bias, slopes = kernel[order], bias[order], slopes[order]
            value = _add_pooled_layer(builder, value, kernel, bias, slopes, pool=pool)
    return value


def _add_convolution(builder: _GraphBuilder, value: str, kernel: Array, bias: Array) -> str:
    return builder.node("Conv", value, builder.constant(kernel), builder.constant(bias))


def _add_prelu(builder: _GraphBuilder, value: str, slopes: Array) -> str:
    """Add PReLU, ``x if x > 0 else slope * x``, as ``slope * x + (1 - slope) * max(x, 0)``.

    onnxruntime's own PRelu takes five times as long (6.7 against 1.3 ms at P-Net's largest level)
    and was a third of the detector's time; these operators stay in its fast memory layout.
    """
    scaled = builder.node("Mul", value, builder.constant(slopes))
    positive = builder.node("Relu", value)
    rest = builder.node("Mul", positive, builder.constant(1 - slopes))
    return builder.node("Add", scaled, rest)


def _add_pooled_layer(
    builder: _GraphBuilder,
    value: str,
    kernel: Array,
    bias: Array,
    slopes: Array,
    *,
    pool: tuple[int, int],
) -> str:
    """Add convolution, max pooling and PReLU, pooling first since that leaves a quarter.

    A PReLU that only rises gives the same before and after. One with a negative slope is
    max(x, slope * x), so its two halves are convolved and pooled apart and put together after:
    P-Net's ten channels become sixteen, which take a vector processor no longer.
    """
    falling = slopes < 0
    kernel = np.concatenate((kernel, kernel[falling] * slopes[falling, None, None, None]))
    bias = np.concatenate((bias, bias[falling] * slopes[falling]))
    # onnxruntime pools in its fast layout only whole vectors of channels; idle ones fill up.
    idle = -len(bias) % _VECTOR
    kernel = np.pad(kernel, ((0, idle), (0, 0), (0, 0), (0, 0)))
    value = _add_convolution(builder, value, kernel, np.pad(bias, (0, idle)))
    side, stride = pool
    # Rounding the size up, as Caffe does, is what Keras' "same" means at these sizes; where
    # Keras has "valid" instead, nothing is left to round.
    value = builder.node(
        "MaxPool", value, kernel_shape=[side] * 2, strides=[stride] * 2, ceil_mode=1
    )
    count = int(falling.sum())
    rising, upper, lower, _ = builder.split(value, len(slopes) - count, count, count, idle)
    rising = _add_prelu(builder, rising, slopes[~falling].reshape(-1, 1, 1))
    return builder.node("Concat", rising, builder.node("Max", upper, lower), axis=1)


def _add_map_outputs(builder: _GraphBuilder, features: str, weights: Iterator[Array]) -> None:
    offsets_kernel, offsets_bias = next(weights), next(weights)
    kernel, bias = (_face_minus_other(next(weights)) for _ in range(2))
    # One convolution for both: a processor's vector is wider than their five channels.
    kernel = np.concatenate((kernel, offsets_kernel), axis=3).transpose(3, 2, 0, 1)
    bias = np.concatenate((bias, offsets_bias))
    logit, offsets = builder.split(_add_convolution(builder, features, kernel, bias), 1, 4)
    builder.output("scores", builder.node("Sigmoid", logit), 1, "map_height", "map_width")
    builder.output("offsets", offsets, 4, "map_height", "map_width")


def _add_vector_outputs(
    builder: _GraphBuilder, network: Network, features: str, weights: Iterator[Array]
) -> None:
    side = _FLATTENED_SIDE[network]
    kernel = next(weights)
    # Keras flattened (width, height, channel); ONNX flattens (channel, height, width).
    kernel = kernel.reshape(side, side, -1, kernel.shape[1]).transpose(2, 1, 0, 3)
    value = builder.node("Flatten", features)
    value = _add_dense(builder, value, kernel.reshape(-1, kernel.shape[-1]), next(weights))
    value = _add_prelu(builder, value, next(weights))
    offsets = _add_dense(builder, value, next(weights), next(weights))
    if network == "onet":
        landmarks = _add_dense(builder, value, next(weights), next(weights))
    kernel, bias = (_face_minus_other(next(weights)) for _ in range(2))
    logit = _add_dense(builder, value, kernel, bias)
    builder.output("scores", builder.node("Sigmoid", logit), 1)
    builder.output("offsets", offsets, 4)
    if network == "onet":
        builder.output("landmarks", landmarks, 10)


def _add_dense(builder: _GraphBuilder, value: str, kernel: Array, bias: Array) -> str:
    return builder.node("Gemm", value, builder.constant(kernel), builder.constant(bias))


def _face_minus_other(weights: Array) -> Array:
    """Turn a softmax over (other, face) into the one logit of a sigmoid: the same, cheaper."""
    return weights[..., 1:] - weights[..., :1]


def _read_weights(network: Network) -> list[Array]:
    """Return a network's Keras arrays after checking that the file is the one expected."""
    path = _weights_path(network)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the face detector's weights cannot be read: {error}; reinstall with "
            "pip install --force-reinstall 'mtcnn==1.0.0'"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256[network]:
        raise ModelError(
            f"{path} is not the file of mtcnn 1.0.0 (sha256 {found[:12]}…, expected "
            f"{WEIGHTS_SHA256[network][:12]}…): pip install --force-reinstall 'mtcnn==1.0.0'"
        )
    import joblib  # noqa: PLC0415

    arrays: list[Array] = joblib.load(io.BytesIO(content))
    return arrays


def _weights_path(network: Network) -> Path:
    # find_spec of a top-level package looks for it without running it; running it would
    # import TensorFlow.
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the face detector's weights are missing: pip install 'mtcnn==1.0.0'")
    return Path(spec.submodule_search_locations[0]) / "assets" / "weights" / f"{network}.lz4"
