"""Services small enough for tests: one that finds everybody sad, one whose detector waits."""

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from fastapi.testclient import TestClient
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.analysis.detector import Detections
from mien.serving.app import create_app
from mien.serving.settings import ServiceSettings


class Gate:
    """A detector that waits at a gate, then finds faces of growing size in every picture."""

    def __init__(self, faces: int = 1) -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.calls = 0
        sides = 10 + np.arange(faces, dtype=np.float32)[:, None]
        self._found = Detections(
            np.concatenate([np.zeros((faces, 2), np.float32), sides, sides], axis=1),
            np.ones(faces, np.float32),
        )

    def detect(self, image_rgb: npt.NDArray[np.uint8]) -> Detections:  # noqa: ARG002
        self.calls += 1
        self.entered.release()
        assert self.opened.wait(20)
        return self._found


@pytest.fixture(scope="session")
def sad_model(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """A model that finds everybody sad."""
    return write_model(tmp_path_factory.mktemp("model") / "sad.onnx", finds="sad")


@pytest.fixture(scope="session")
def analyzer(sad_model: Path) -> Analyzer:
    return Analyzer(sad_model, threads=1)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A photo of one face, 240 × 240, as JPEG."""
    return jpeg(skimage.data.astronaut()[:240, 100:340])


@pytest.fixture(scope="session")
def nobody() -> bytes:
    """A picture without a face."""
    return jpeg(np.zeros((40, 60, 3), np.uint8))


def jpeg(image_rgb: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image_rgb).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_clip_of(path: Path, photo: bytes, *, frames: int = 6, codec: str = "libx264") -> Path:
    """Write a clip of 10 frames a second; ``mjpeg`` is for Chromium's fake camera."""
    image = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    kind = "mjpeg" if codec == "mjpeg" else "mp4"
    with av.open(str(path), "w", format=kind) as output:
        stream: Any = output.add_stream(codec, rate=10)
        stream.width, stream.height = image.shape[1], image.shape[0]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(image, index, axis=1))
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    return write_clip_of


@pytest.fixture
def make_gate() -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def make(faces: int = 1) -> Gate:
        gates.append(Gate(faces))
        return gates[-1]

    yield make
    for gate in gates:
        gate.opened.set()


@pytest.fixture
def gate(make_gate: Callable[..., Gate]) -> Gate:
    return make_gate()


@pytest.fixture
def gated(gate: Gate, sad_model: Path) -> Analyzer:
    """An analyzer whose every picture waits at the gate."""
    return Analyzer(sad_model, detector=gate, threads=1)


@pytest.fixture(scope="session")
def small_limits() -> ServiceSettings:
    """Limits that a test can go beyond."""
    return ServiceSettings(
        threads=2,
        max_picture_bytes=100_000,
        max_request_bytes=300_000,
        max_pixels=200_000,
        max_pictures=4,
    )


@pytest.fixture(scope="session")
def client(analyzer: Analyzer, small_limits: ServiceSettings) -> Iterator[TestClient]:
    """A service in this process, with small limits."""
    app = create_app(small_limits, analyzer=analyzer)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
