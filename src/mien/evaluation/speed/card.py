"""The speed and size card: what a model costs, beside what the machine could do.

Times, and the roofline they are held against, come from the same machine in the same run; see
:mod:`mien.evaluation.speed.roofline` and :mod:`mien.evaluation.speed.memory`.
"""

import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.evaluation.json_values import read_count, read_number, read_text
from mien.evaluation.predictor import Predictor
from mien.evaluation.speed.latency import BATCH, time_calls
from mien.evaluation.speed.memory import PeakMemory, measure_memory
from mien.evaluation.speed.roofline import Roofline, measure_roofline
from mien.machine import processor_name, usable_cores
from mien.preprocess import FACE_SIZE

logger = logging.getLogger(__name__)

#: Enough repeats for the slowest twentieth to be one of some.
_MOST_REPEATS: Final = 100
_MOST_SECONDS: Final = 1.2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where figures come from.

    Attributes:
        processor: Its name.
        cores: Those that the process could use.
        system: The operating system and the kind of processor it is for.
    """

    processor: str
    cores: int
    system: str

    def text(self) -> str:
        """Return the facts as one line for people."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{self.processor}, {cores}, {self.system}"


@dataclass(frozen=True, kw_only=True)
class BatchSpeed:
    """Times with one number of threads and one size of batch.

    Attributes:
        threads: Processor threads.
        batch: Faces read at once.
        p50_ms: Median milliseconds a face, from grey face to logits.
        p95_ms: Milliseconds a face that 95 % of the batches stay within.
        repeats: Batches timed.
    """

    threads: int
    batch: int
    p50_ms: float
    p95_ms: float
    repeats: int

    @property
    def faces_per_s(self) -> float:
        """Faces a second at the median."""
        return 1000 / self.p50_ms

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BatchSpeed":
        """Read what :func:`dataclasses.asdict` made of it; its errors as in :class:`SpeedCard`."""
        speed = cls(
            threads=read_count(values["threads"], low=1),
            batch=read_count(values["batch"], low=1),
            p50_ms=read_number(values["p50_ms"], low=0),
            p95_ms=read_number(values["p95_ms"], low=0),
            repeats=read_count(values["repeats"], low=1),
        )
        if not 0 < speed.p50_ms <= speed.p95_ms:
            raise ValueError(f"half of the times within {speed.p50_ms}, 95 % within {speed.p95_ms}")
        return speed


@dataclass(frozen=True, kw_only=True)
class SpeedCard:
    """What a model costs on a machine.

    Attributes:
        machine: The machine.
        speeds: Times, one a number of threads and size of batch.
        rooflines: What the machine attains, one a number of threads.
        parameters: Numbers that were learned; None where not known.
        multiply_adds: Multiply-adds for one face; None where not known.
        file_bytes: Size of the model's file; None where not known.
        memory: Peak memory of a process with the model; None where not measured.
    """

    machine: Machine
    speeds: tuple[BatchSpeed, ...]
    rooflines: tuple[Roofline, ...]
    parameters: int | None = None
    multiply_adds: int | None = None
    file_bytes: int | None = None
    memory: PeakMemory | None = None

    def roofline(self, threads: int) -> Roofline:
        """Return what the machine attains with so many threads."""
        return next(each for each in self.rooflines if each.threads == threads)

    def gflops(self, speed: BatchSpeed) -> float | None:
        """Return 10⁹ operations a second, two a multiply-add; None where they are not known."""
        if self.multiply_adds is None:
            return None
        return 2 * self.multiply_adds * speed.faces_per_s / 1e9

    def intensity(self, batch: int) -> float | None:
        """Estimate the arithmetic intensity in FLOP a byte; None where it cannot be known.

        Counted are the bytes that no machine can avoid to move: all weights once a batch, and the
        faces. What layers hand to each other is taken to stay in the caches, so it is an upper
        bound, and what is attainable at it too.
        """
        if self.multiply_adds is None or self.parameters is None:
            return None
        weights = 4 * self.parameters
        if self.file_bytes is not None:
            weights = min(weights, self.file_bytes)  # 8-bit weights; a checkpoint holds more
        faces = batch * 4 * FACE_SIZE**2
        return 2 * self.multiply_adds * batch / (weights + faces)

    def share_of_attainable(self, speed: BatchSpeed) -> float | None:
        """Return the rate as a share of what the roofline allows; None where not known.

        It may exceed 1: 8-bit arithmetic and fast convolution algorithms need less work than a
        float32 matrix product of as many multiply-adds.
        """
        gflops, intensity = self.gflops(speed), self.intensity(speed.batch)
        if gflops is None or intensity is None:
            return None
        return gflops / self.roofline(speed.threads).attainable_gflops(intensity)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON types, figures derived from others too."""
        return {
            "machine": asdict(self.machine),
            "speeds": [
                {
                    **asdict(speed),
                    "faces_per_s": speed.faces_per_s,
                    "gflops": self.gflops(speed),
                    "share_of_attainable": self.share_of_attainable(speed),
                }
                for speed in self.speeds
            ],
            "rooflines": [roofline.to_dict() for roofline in self.rooflines],
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "file_bytes": self.file_bytes,
            "memory": self.memory.to_dict() if self.memory else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SpeedCard":
        """Read what :meth:`to_dict` wrote; figures derived from others are derived again.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or a number of threads has no roofline.
        """
        machine, memory = values["machine"], values["memory"]
        speeds = tuple(BatchSpeed.from_dict(each) for each in values["speeds"])
        rooflines = tuple(Roofline.from_dict(each) for each in values["rooflines"])
        if not speeds or {s.threads for s in speeds} - {r.threads for r in rooflines}:
            raise ValueError("no times, or times without a roofline for their threads")

        def count(name: str) -> int | None:
            return None if values[name] is None else read_count(values[name])

        return cls(
            machine=Machine(
                processor=read_text(machine["processor"]),
                cores=read_count(machine["cores"], low=1),
                system=read_text(machine["system"]),
            ),
            speeds=speeds,
            rooflines=rooflines,
            parameters=count("parameters"),
            multiply_adds=count("multiply_adds"),
            file_bytes=count("file_bytes"),
            memory=None if memory is None else PeakMemory.from_dict(memory),
        )


def measure_speed(
    open_with_threads: Callable[[int], Predictor],
    images: npt.NDArray[np.uint8],
    *,
    model: str | Path | None = None,
    threads: Sequence[int] = (1, 2),
    batches: Sequence[int] = (1, BATCH),
) -> SpeedCard:
    """Time a model and the machine, in about twelve seconds for a network of usual size.

    Args:
        open_with_threads: Opens the model to compute with so many threads, e.g.
            ``lambda threads: open_predictor(model, threads=threads)``.
        images: ``(N, 48, 48)`` uint8 faces to time it on, repeated where there are too few.
        model: Where the model is, for the memory that a process with it takes, which is left out
            where such a process fails; None not to measure that.
        threads: Numbers of threads; those beyond the machine's cores are left out, but one thread
            is always timed where nothing else is left.
        batches: Faces read at once.

    Raises:
        ValueError: There are no faces.
    """
    if not len(images):
        raise ValueError("no faces to time a model on")
    cores = usable_cores()
    counts = [count for count in threads if count <= cores] or [1]
    speeds, rooflines = [], []
    for count in counts:
        predictor = open_with_threads(count)
        # One right after the other, so that other work on the machine slows both alike.
        speeds += [_time_batch(predictor, images, size, count) for size in batches]
        rooflines.append(measure_roofline(count))
    return SpeedCard(
        machine=describe_machine(),
        speeds=tuple(speeds),
        rooflines=tuple(rooflines),
        parameters=predictor.parameters,
        multiply_adds=predictor.multiply_adds,
        file_bytes=predictor.file_bytes,
        memory=None if model is None else _memory(model),
    )


def _memory(model: str | Path) -> PeakMemory | None:
    """Return a model's memory; None where it cannot be measured, which leaves the times."""
    try:
        return measure_memory(model)
    except ModelError as error:
        logger.warning("memory is not measured: %s", error)
        return None


def describe_machine() -> Machine:
    """Return the facts of this machine."""
    system = f"{platform.system()} {platform.machine()}"
    return Machine(processor=processor_name(), cores=usable_cores(), system=system)


def _time_batch(
    predictor: Predictor, images: npt.NDArray[np.uint8], size: int, threads: int
) -> BatchSpeed:
    batch = np.resize(images, (size, *images.shape[1:]))
    times = time_calls(
        lambda: predictor.logits(batch), most_repeats=_MOST_REPEATS, most_seconds=_MOST_SECONDS
    )
    p50, p95 = np.percentile(times, (50, 95)) * 1000 / size
    return BatchSpeed(
        threads=threads, batch=size, p50_ms=float(p50), p95_ms=float(p95), repeats=len(times)
    )
