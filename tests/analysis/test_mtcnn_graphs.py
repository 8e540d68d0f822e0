import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis import mtcnn_graphs
from mien.analysis.mtcnn_graphs import Network, build_graph, cached_path, open_network
from mien.analysis.sessions import open_session
from mien.errors import ModelError

Array = npt.NDArray[Any]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(("network", "side"), [("pnet", 25), ("rnet", 24), ("onet", 48)])
def test_graphs_compute_what_the_layers_mean(network: Network, side: int) -> None:
    """Compare with the network written out in numpy from the wheel's Keras arrays."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (2, side, side, 3)).astype(np.uint8)
    outputs = open_session(build_graph(network)).run(None, {"images_rgb": images})
    for output, expected in zip(outputs, _forward(network, images), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)


def test_built_once_then_read_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_network("pnet")
    assert [path.name for path in (cache / "mtcnn").iterdir()] == [cached_path("pnet").name]
    monkeypatch.setattr(mtcnn_graphs, "build_graph", None)
    assert open_network("pnet").get_inputs()[0].name == "images_rgb"


def test_a_cache_that_cannot_be_written_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "file"))
    assert open_network("pnet").get_inputs()[0].name == "images_rgb"


def test_a_damaged_cached_graph_is_built_again(cache: Path) -> None:
    cached_path("pnet").parent.mkdir(parents=True)
    cached_path("pnet").write_bytes(b"half a gra")
    assert open_network("pnet").get_inputs()[0].name == "images_rgb"
    assert cached_path("pnet").read_bytes() == build_graph("pnet")


def test_other_weights_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mtcnn"
    (folder / "assets" / "weights").mkdir(parents=True)
    (folder / "assets" / "weights" / "pnet.lz4").write_bytes(b"a pickle with code in it")
    _pretend_mtcnn_is_at(monkeypatch, [str(folder)])
    with pytest.raises(ModelError, match="not the file of mtcnn"):
        build_graph("pnet")


def test_missing_weights_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend_mtcnn_is_at(monkeypatch, [str(tmp_path)])
    with pytest.raises(ModelError, match="pip install"):
        build_graph("pnet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install"):
        build_graph("pnet")


def test_mtcnn_itself_is_not_imported() -> None:
    build_graph("pnet")
    assert "mtcnn" not in sys.modules


def _pretend_mtcnn_is_at(monkeypatch: pytest.MonkeyPatch, folders: list[str]) -> None:
    spec = importlib.machinery.ModuleSpec("mtcnn", None, is_package=True)
    spec.submodule_search_locations = folders
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)


def _forward(network: Network, images: Array) -> list[Array]:
    weights: Iterator[Array] = iter(mtcnn_graphs._read_weights(network))
    values: Array = (images.astype(np.float32) - 127.5) / 128
    for pool in mtcnn_graphs._POOLS[network]:
        values = _prelu(_convolve(values, next(weights), next(weights)), next(weights))
        values = values if pool is None else _pool(values, *pool)
    if network == "pnet":
        offsets = _convolve(values, next(weights), next(weights))
        scores = _softmax(_convolve(values, next(weights), next(weights)))
        return [scores[..., 1:].transpose(0, 3, 1, 2), offsets.transpose(0, 3, 1, 2)]
    values = values.transpose(0, 2, 1, 3).reshape(len(values), -1)
    values = _prelu(values @ next(weights) + next(weights), next(weights))
    offsets = values @ next(weights) + next(weights)
    rest = [values @ next(weights) + next(weights)] if network == "onet" else []
    return [_softmax(values @ next(weights) + next(weights))[:, 1:], offsets, *rest]


def _convolve(values: Array, kernel: Array, bias: Array) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(values, kernel.shape[:2], axis=(1, 2))
    result: Array = np.einsum("nyxcij,ijco->nyxo", windows, kernel, optimize=True) + bias
    return result


def _prelu(values: Array, slopes: Array) -> Array:
    return np.where(values > 0, values, values * slopes)


def _pool(values: Array, side: int, stride: int) -> Array:
    missing = -(values.shape[1] - side) % stride
    padding = ((0, 0), (0, missing), (0, missing), (0, 0))
    values = np.pad(values, padding, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(values, (side, side), axis=(1, 2))
    result: Array = windows[:, ::stride, ::stride].max(axis=(-2, -1))
    return result


def _softmax(values: Array) -> Array:
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result
