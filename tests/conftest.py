import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.expressions import EXPRESSIONS
from mien.metadata import ModelMetadata
from mien.preprocess import FER2013_CROP

if TYPE_CHECKING:
    from mien.training import Recipe


@pytest.fixture(scope="session", autouse=True)
def _heeds_ctrl_c() -> None:
    """Let Ctrl-C reach the programs that tests start, even where a script runs the suite in the
    background: its shell has SIGINT ignored then, by all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def faces() -> ExpressionDataset:
    return synthetic_faces(280, seed=3)


@pytest.fixture(scope="session")
def fer2013_csv() -> Callable[..., bytes]:
    """A data set as FER2013's CSV; columns by name, in any order and spelling."""

    def write(
        faces: ExpressionDataset, header: Sequence[str] = ("emotion", "pixels", "Usage")
    ) -> bytes:
        lines = [",".join(header)]
        for image, label, code in zip(faces.images, faces.labels, faces.split_codes, strict=True):
            cells = {
                "emotion": str(label),
                "pixels": " ".join(map(str, image.ravel())),
                "usage": SPLITS[code],
            }
            lines.append(",".join(cells[name.strip().lower()] for name in header))
        return "\n".join(lines).encode() + b"\n"

    return write


@pytest.fixture(scope="session")
def model_facts() -> ModelMetadata:
    return ModelMetadata(
        name="tiny",
        classes=EXPRESSIONS,
        input_size=48,
        mean=0.5,
        std=0.25,
        colour="gray",
        crop=FER2013_CROP,
        version="0",
    )


@pytest.fixture(scope="session")
def write_model(model_facts: ModelMetadata) -> Callable[..., Path]:
    """Writes an ONNX model of one layer: random, fixed by its seed, or one that always ``finds``
    the same expression.
    """

    def write(
        path: Path,
        *,
        strings: dict[str, str] | None = None,
        outputs: int = 7,
        finds: str | None = None,
    ) -> Path:
        weights = np.random.default_rng(0).normal(size=(2304, outputs)).astype(np.float32) / 50
        bias = np.zeros(outputs, np.float32)
        if finds is not None:
            weights *= 0
            bias[EXPRESSIONS.index(finds)] = 3
        nodes = [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        ]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 48, 48])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", outputs])
        constants = [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
        ]
        graph = helper.make_graph(nodes, "tiny", [image], [logits], constants)
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, ir_version=8, opset_imports=opset)
        helper.set_model_props(model, model_facts.to_strings() if strings is None else strings)
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture(scope="session")
def make_recipe() -> "Callable[..., Recipe]":
    """A recipe small enough to train in a second; keywords replace its top-level values."""
    from mien.training.recipe_file import recipe_from_dict

    def make(**values: Any) -> "Recipe":
        small: dict[str, Any] = {
            "name": "tiny",
            "epochs": 2,
            "batch_size": 32,
            "model": {"name": "residual", "widths": [8, 16], "blocks": 1, "squeeze_from": 1},
            "optimizer": {"name": "sgd", "lr": 0.05},
        }
        return recipe_from_dict({**small, **values})

    return make


@pytest.fixture(scope="session")
def trained(
    faces: ExpressionDataset,
    make_recipe: "Callable[..., Recipe]",
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run, for tests that only read one."""
    from mien.training import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(make_recipe(ema_decay=0.9), faces, folder, device="cpu")
    return folder


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run as an ONNX file."""
    from mien.export import export

    return export(trained, tmp_path_factory.mktemp("exported") / "tiny.onnx").path


@pytest.fixture(scope="session")
def quantized(exported: Path, faces: ExpressionDataset) -> Path:
    """The same in int8, whatever it loses."""
    from mien.quantization import quantize

    return quantize(exported, faces, most_lost=100).path


@pytest.fixture(scope="session")
def stand_in_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's ``resnet10t`` in a file as published, with its classifier."""
    import timm
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path)
    return path
