"""A tiny model and a real face, for the tests of analysis."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from onnx import TensorProto, helper, numpy_helper

from mien.analysis.analyzer import Analyzer
from mien.expressions import EXPRESSIONS
from mien.metadata import ModelMetadata
from mien.preprocess import FER2013_CROP

METADATA = ModelMetadata(
    name="tiny",
    classes=EXPRESSIONS,
    input_size=48,
    mean=0.5,
    std=0.25,
    colour="gray",
    crop=FER2013_CROP,
    version="0",
)


def _write_model(path: Path, *, strings: dict[str, str] | None = None, outputs: int = 7) -> Path:
    """Write a model of one random layer, fixed by its seed."""
    weights = np.random.default_rng(0).normal(size=(2304, outputs)).astype(np.float32) / 50
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 48, 48])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", outputs])
    constants = [numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph(nodes, "tiny", [image], [logits], constants)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opset)
    helper.set_model_props(model, METADATA.to_strings() if strings is None else strings)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    return _write_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def analyzer(tiny_model: Path) -> Analyzer:
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="session")
def astronaut_rgb() -> npt.NDArray[np.uint8]:
    """A 512 × 512 photo: one face, eyes at about (204, 101) and (247, 103)."""
    photo: npt.NDArray[np.uint8] = skimage.data.astronaut()
    return photo
