"""The roofline: how fast a machine computes at best, measured on it.

Source: Williams, Waterman and Patterson 2009, https://doi.org/10.1145/1498765.1498785
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from mien.evaluation.json_values import read_count, read_number
from mien.evaluation.speed.latency import time_calls

#: Side of the matrices multiplied: their product takes 2.1 GFLOP and 12 MB.
_MATRIX_SIDE: Final = 1024

#: Bytes of each of the two arrays of the copy; caches of today's processors are smaller.
_COPY_BYTES: Final = 128 * 2**20

#: The best of so many repeats, and at most so many seconds of them, is the machine's rate: other
#: work only ever slows it.
_MOST_REPEATS: Final = 15
_MOST_SECONDS: Final = 0.6


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """What a number of threads attains on a machine.

    Attributes:
        threads: Processor threads.
        gflops: 10⁹ float32 operations a second in a large matrix product; a multiply-add is two.
        bandwidth_gb_s: 10⁹ bytes a second that a copy in memory reads and writes.
    """

    threads: int
    gflops: float
    bandwidth_gb_s: float

    def attainable_gflops(self, intensity: float) -> float:
        """Return the most 10⁹ operations a second at an arithmetic intensity in FLOP a byte."""
        return min(self.gflops, intensity * self.bandwidth_gb_s)

    def to_dict(self) -> dict[str, Any]:
        """Return the rates as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Roofline":
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range.
        """
        roofline = cls(
            threads=read_count(values["threads"], low=1),
            gflops=read_number(values["gflops"], low=0),
            bandwidth_gb_s=read_number(values["bandwidth_gb_s"], low=0),
        )
        if not roofline.gflops or not roofline.bandwidth_gb_s:
            raise ValueError("a machine that computes or copies nothing")
        return roofline


def measure_roofline(threads: int) -> Roofline:
    """Measure both rates with so many threads, in about a second."""
    return Roofline(
        threads=threads, gflops=_matrix_rate(threads), bandwidth_gb_s=_copy_rate(threads)
    )


def _matrix_rate(threads: int) -> float:
    """Return 10⁹ operations a second of NumPy's float32 matrix product.

    The threads are those of OpenBLAS or MKL; Apple's Accelerate takes its own number.
    """
    # It comes with scikit-learn and without types.
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    rng = np.random.default_rng(0)
    left, right = rng.random((2, _MATRIX_SIDE, _MATRIX_SIDE), dtype=np.float32)
    multiply = partial(np.matmul, left, right, out=np.empty_like(left))
    with threadpool_limits(limits=threads, user_api="blas"):
        return 2 * _MATRIX_SIDE**3 / _best_seconds(multiply) / 1e9


def _copy_rate(threads: int) -> float:
    """Return 10⁹ bytes a second read and written by a copy, each thread copying its share."""
    source = np.ones(_COPY_BYTES // 4, np.float32)
    shares = [np.array_split(array, threads) for array in (np.empty_like(source), source)]
    with ThreadPoolExecutor(threads) as pool:
        # NumPy lets go of the interpreter's lock while it copies.
        seconds = _best_seconds(lambda: list(pool.map(np.copyto, *shares)))
    return 2 * source.nbytes / seconds / 1e9


def _best_seconds(call: Callable[[], object]) -> float:
    return min(time_calls(call, most_repeats=_MOST_REPEATS, most_seconds=_MOST_SECONDS))
