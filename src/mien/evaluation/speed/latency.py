"""How long a predictor takes for a face, alone and in a batch."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.json_values import read_count, read_number
from mien.evaluation.predictor import Predictor

BATCH: Final = 64

#: A call is timed at least so often, however long it takes.
_LEAST_REPEATS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Medians of the time from grey faces to logits, on the processor.

    Attributes:
        batch_1_ms: Milliseconds for one face on its own.
        batch_64_ms: Milliseconds a face in a batch of 64.
        threads: Processor threads.
    """

    batch_1_ms: float
    batch_64_ms: float
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """Return the times as plain JSON types."""
        return {**asdict(self), "statistic": "p50"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Latency":
        """Read what :meth:`to_dict` wrote."""
        return cls(
            batch_1_ms=read_number(values["batch_1_ms"], low=0),
            batch_64_ms=read_number(values["batch_64_ms"], low=0),
            threads=read_count(values["threads"], low=1),
        )


def measure_latency(predictor: Predictor, images: npt.NDArray[np.uint8]) -> Latency:
    """Time a predictor for about two seconds at most, or three batches of a slow one.

    Args:
        predictor: The model.
        images: ``(N, 48, 48)`` faces to time it on, repeated where there are too few.
    """
    batch = np.resize(images, (BATCH, *images.shape[1:]))
    return Latency(
        batch_1_ms=_median_ms(predictor, batch[:1]),
        batch_64_ms=_median_ms(predictor, batch) / BATCH,
        threads=predictor.threads,
    )


def time_calls(
    call: Callable[[], object], *, most_repeats: int = 25, most_seconds: float = 1.0
) -> list[float]:
    """Return the seconds that a call takes, each time anew.

    A first call, which also sets up what the others reuse, is not counted. The call is repeated
    until either limit is reached, but at least three times.
    """
    call()
    times: list[float] = []
    while len(times) < _LEAST_REPEATS or (len(times) < most_repeats and sum(times) < most_seconds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def _median_ms(predictor: Predictor, images: npt.NDArray[np.uint8]) -> float:
    return 1000 * statistics.median(time_calls(lambda: predictor.logits(images)))
