from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.data.dataset import ExpressionDataset
from mien.evaluation.predictor import Predictor, open_predictor
from mien.evaluation.speed.card import BatchSpeed, Machine, SpeedCard, measure_speed
from mien.evaluation.speed.memory import PeakMemory
from mien.evaluation.speed.roofline import Roofline
from mien.machine import usable_cores
from mien.metadata import DEFAULT_MODEL


class CountingPredictor:
    """Remembers how many faces it was shown at once."""

    classes = ("one", "other")
    parameters: int | None = None
    multiply_adds: int | None = None
    file_bytes: int | None = None
    recipe: Mapping[str, Any] = {}
    data: Mapping[str, Any] = {}
    seen = None
    temperature = 1.0
    uncertain_below = 0.0

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.sizes: set[int] = set()

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.sizes.add(len(images))
        return np.zeros((len(images), 2), np.float32)


@pytest.fixture
def card() -> SpeedCard:
    """A model of a million parameters that reads a face in 2 ms, eight in 8."""
    return SpeedCard(
        machine=Machine(processor="a processor", cores=2, system="an OS"),
        speeds=(
            BatchSpeed(threads=1, batch=1, p50_ms=2, p95_ms=3, repeats=9),
            BatchSpeed(threads=1, batch=8, p50_ms=1, p95_ms=1, repeats=9),
        ),
        rooflines=(Roofline(threads=1, gflops=100, bandwidth_gb_s=10),),
        parameters=1_000_000,
        multiply_adds=10_000_000,
        file_bytes=4_000_500,
        memory=PeakMemory(imports_mb=50, model_mb=80),
    )


def test_the_embedded_model_gets_a_whole_card(faces: ExpressionDataset) -> None:
    # A child of a large process must not be taken to be as large.
    ballast = np.ones(300_000_000, np.uint8)
    card = measure_speed(
        lambda threads: open_predictor(DEFAULT_MODEL, threads=threads),
        faces.images[:3],
        model=DEFAULT_MODEL,
        threads=(1,),
    )

    assert [(speed.threads, speed.batch) for speed in card.speeds] == [(1, 1), (1, 64)]
    assert all(0 < speed.p50_ms <= speed.p95_ms for speed in card.speeds)
    assert card.file_bytes == DEFAULT_MODEL.stat().st_size
    assert card.machine.cores == usable_cores()
    assert card.roofline(1).gflops > 0
    assert card.roofline(1).bandwidth_gb_s > 0
    assert all((card.share_of_attainable(speed) or 0) > 0 for speed in card.speeds)
    assert SpeedCard.from_dict(card.to_dict()) == card
    if card.memory is not None:
        assert card.memory.imports_mb + 5 < card.memory.model_mb < ballast.nbytes / 1e6


def test_only_threads_that_the_machine_has_are_timed(faces: ExpressionDataset) -> None:
    opened: list[CountingPredictor] = []

    def open_with_threads(threads: int) -> Predictor:
        opened.append(CountingPredictor(threads))
        return opened[-1]

    card = measure_speed(
        open_with_threads, faces.images[:2], threads=(usable_cores() + 1,), batches=(1, 5)
    )

    assert [predictor.threads for predictor in opened] == [1]
    assert opened[0].sizes == {1, 5}
    assert [roofline.threads for roofline in card.rooflines] == [1]
    assert card.memory is None
    assert card.gflops(card.speeds[0]) is card.intensity(1) is None
    assert card.share_of_attainable(card.speeds[0]) is None


def test_rates_follow_from_times(card: SpeedCard) -> None:
    single, eight = card.speeds

    assert single.faces_per_s == 500
    assert card.gflops(single) == pytest.approx(2 * 10e6 * 500 / 1e9)
    assert card.intensity(1) == pytest.approx(20e6 / (4e6 + 9216))
    assert card.intensity(8) == pytest.approx(160e6 / (4e6 + 8 * 9216))
    # The single face is bound by memory, eight by arithmetic.
    assert card.share_of_attainable(single) == pytest.approx(10 / (10 * 20e6 / (4e6 + 9216)))
    assert card.share_of_attainable(eight) == pytest.approx(20 / 100)


def test_weights_of_8_bits_are_counted_as_such(card: SpeedCard) -> None:
    assert replace(card, file_bytes=1_000_000).intensity(1) == pytest.approx(20e6 / (1e6 + 9216))
    assert replace(card, file_bytes=99_000_000).intensity(1) == card.intensity(1), "a checkpoint"
    assert replace(card, parameters=None).intensity(1) is None


def test_a_card_survives_a_file(card: SpeedCard) -> None:
    bare = replace(card, parameters=None, multiply_adds=None, file_bytes=None, memory=None)

    assert SpeedCard.from_dict(card.to_dict()) == card
    assert SpeedCard.from_dict(bare.to_dict()) == bare


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda values: values.pop("machine"), KeyError),
        (lambda values: values["machine"].update(cores=0), ValueError),
        (lambda values: values.update(speeds=[]), ValueError),
        (lambda values: values.update(rooflines=[]), ValueError),
        (lambda values: values["speeds"][0].update(p50_ms=0), ValueError),
        (lambda values: values["speeds"][0].update(p95_ms=1), ValueError),
        (lambda values: values["rooflines"][0].update(gflops="fast"), TypeError),
        (lambda values: values["rooflines"][0].update(gflops=0), ValueError),
        (lambda values: values["memory"].update(model_mb=-1), ValueError),
    ],
)
def test_a_damaged_card_is_refused(
    card: SpeedCard, damage: Callable[[dict[str, Any]], object], error: type[Exception]
) -> None:
    values = card.to_dict()
    damage(values)

    with pytest.raises(error):
        SpeedCard.from_dict(values)


def test_without_faces_there_is_nothing_to_time() -> None:
    with pytest.raises(ValueError, match="no faces"):
        measure_speed(CountingPredictor, np.empty((0, 48, 48), np.uint8))


def test_times_are_kept_where_memory_cannot_be_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")

    card = measure_speed(
        CountingPredictor,
        np.zeros((1, 48, 48), np.uint8),
        model=tmp_path / "broken.onnx",
        threads=(1,),
        batches=(1,),
    )

    assert len(card.speeds) == 1
    assert card.memory is None
    assert "memory is not measured" in caplog.text
