import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation.predictor import MirrorPredictor, open_predictor
from mien.evaluation.speed.latency import Latency, measure_latency


class SlowPredictor(MirrorPredictor):
    """Takes 2 ms a call and 0.2 ms a face, apart from its first call, which takes far longer."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_predictor(path))
        self.calls = 0

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        time.sleep(0.3 if not self.calls else 0.002 + 0.0002 * len(images))
        self.calls += 1
        return np.zeros((len(images), 7), np.float32)


def test_times_are_a_face_and_leave_out_the_first_call(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    predictor = SlowPredictor(write_model(tmp_path / "tiny.onnx"))

    latency = measure_latency(predictor, np.zeros((3, 48, 48), np.uint8))

    assert 2.2 <= latency.batch_1_ms < 100
    assert 0.2 + 2 / 64 <= latency.batch_64_ms < latency.batch_1_ms
    assert latency.threads == predictor.threads >= 1
    assert Latency.from_dict(latency.to_dict()) == latency


@pytest.mark.parametrize("missing", ["batch_1_ms", "threads"])
def test_times_that_are_not_there_are_an_error(missing: str) -> None:
    values = Latency(batch_1_ms=1, batch_64_ms=1, threads=1).to_dict()
    del values[missing]
    with pytest.raises(KeyError):
        Latency.from_dict(values)
