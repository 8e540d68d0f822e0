import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation.predictor import MirrorPredictor, open_predictor
from mien.evaluation.speed.paired import measure_speedup

FACES = np.zeros((3, 48, 48), np.uint8)


class BusyPredictor(MirrorPredictor):
    """Computes for some milliseconds a face, and then waits as long as it is told."""

    def __init__(self, path: Path, *, ms: float, wait_ms: float = 0) -> None:
        super().__init__(open_predictor(path, threads=1))
        self.ms, self.wait_ms = ms, wait_ms

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        end = time.thread_time() + self.ms * len(images) / 1000
        while time.thread_time() < end:
            pass
        time.sleep(self.wait_ms / 1000)
        return np.zeros((len(images), 7), np.float32)


@pytest.fixture
def model(write_model: Callable[..., Path], tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


def test_the_second_is_four_times_as_fast_though_it_waits(model: Path) -> None:
    slow, fast = BusyPredictor(model, ms=0.8), BusyPredictor(model, ms=0.2, wait_ms=2)

    alone, batch = measure_speedup(slow, fast, FACES, batches=(1, 8), rounds=3)

    assert (alone.batch, batch.batch) == (1, 8)
    for each in (alone, batch):
        assert 0.8 <= each.first_ms < 1.2
        assert 0.2 <= each.second_ms < 0.4
        assert 2.5 < each.ratio <= 4
    assert batch.to_dict() | {"first_ms": 0, "second_ms": 0, "ratio": 0} == {
        "batch": 8,
        "first_ms": 0,
        "second_ms": 0,
        "ratio": 0,
        "rounds": 3,
        "statistic": "p50",
        "threads": 1,
    }


def test_only_models_of_one_thread_are_timed(model: Path) -> None:
    one, two = (open_predictor(model, threads=threads) for threads in (1, 2))

    with pytest.raises(ValueError, match="one thread, got 1 and 2"):
        measure_speedup(one, two, FACES)


def test_without_faces_nothing_is_timed(model: Path) -> None:
    one = open_predictor(model, threads=1)

    with pytest.raises(ValueError, match="no faces"):
        measure_speedup(one, one, FACES[:0])
