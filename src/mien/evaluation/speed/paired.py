"""Two models timed in turn, so that whatever else the machine does slows both alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.predictor import Predictor
from mien.evaluation.speed.latency import BATCH

#: Rounds whose median counts. On a machine whose cores were both taken, the ratio's quartiles were
#: then 3 % apart.
_ROUNDS: Final = 11

#: Faces that each model reads in a round, at least.
_FACES_A_ROUND: Final = 16


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """How much faster a second model reads the same faces, on one thread.

    Attributes:
        batch: Faces read at once.
        first_ms: The first model's milliseconds of processor time a face, the median.
        second_ms: The second's.
        ratio: Median over the rounds of the first's time by the second's; above 1 where the second
            is faster.
        rounds: How often each was timed.
    """

    batch: int
    first_ms: float
    second_ms: float
    ratio: float
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        """Return the times as plain JSON types."""
        return {**asdict(self), "statistic": "p50", "threads": 1}


def measure_speedup(
    first: Predictor,
    second: Predictor,
    images: npt.NDArray[np.uint8],
    *,
    batches: Sequence[int] = (1, BATCH),
    rounds: int = _ROUNDS,
) -> tuple[Speedup, ...]:
    """Time two models in turn, by the processor time of this thread.

    Other programs do not lengthen processor time by waiting for their turn, as they do time by the
    clock: with both cores taken, a network of 2.2 ms took 10 to 35 ms by the clock, and 2.2 to 2.3
    ms by this.

    Args:
        first: The model to compare with, opened for one thread.
        second: The other, likewise.
        images: ``(N, 48, 48)`` uint8 faces, repeated where there are too few.
        batches: Faces read at once.
        rounds: How often each is timed.

    Raises:
        ValueError: A model computes with several threads, or there are no faces.
    """
    if (first.threads, second.threads) != (1, 1):
        raise ValueError(f"open both for one thread, got {first.threads} and {second.threads}")
    if not len(images):
        raise ValueError("no faces to time a model on")
    return tuple(_in_turn(first, second, images, batch, rounds) for batch in batches)


def _in_turn(
    first: Predictor, second: Predictor, images: npt.NDArray[np.uint8], batch: int, rounds: int
) -> Speedup:
    faces = np.resize(images, (batch, *images.shape[1:]))
    repeats = -(-_FACES_A_ROUND // batch)

    def milliseconds(model: Predictor) -> float:
        started = _clock()
        for _ in range(repeats):
            model.logits(faces)
        return 1000 * (_clock() - started) / (repeats * batch)

    for model in (first, second):  # what is set up at first is reused from then on
        model.logits(faces)
    times = [(milliseconds(first), milliseconds(second)) for _ in range(rounds)]
    return Speedup(
        batch=batch,
        first_ms=statistics.median(old for old, _ in times),
        second_ms=statistics.median(new for _, new in times),
        ratio=statistics.median(old / new for old, new in times),
        rounds=rounds,
    )


def _finest_clock() -> Callable[[], float]:
    """Return the clock of this thread's processor time; Windows' ticks too seldom (16 ms)."""
    fine = time.get_clock_info("thread_time").resolution < 1e-4
    return time.thread_time if fine else time.perf_counter


_clock: Final = _finest_clock()
