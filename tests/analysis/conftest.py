"""A tiny model and a real face, for the tests of analysis."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data

from mien.analysis.analyzer import Analyzer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def analyzer(tiny_model: Path) -> Analyzer:
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="session")
def astronaut_rgb() -> npt.NDArray[np.uint8]:
    """A 512 × 512 photo: one face, eyes at about (204, 101) and (247, 103)."""
    photo: npt.NDArray[np.uint8] = skimage.data.astronaut()
    return photo
