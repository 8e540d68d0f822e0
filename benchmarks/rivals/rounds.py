"""The measurements: packages take turns, in another order each round."""

import logging
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from environments import Environment
from measurement import BATCH, Measurement
from participant import Participant, RivalError, last_words, worker_variables
from scores import score_readings

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
Labels = npt.NDArray[np.integer[Any]]

_IMPORT_SECONDS: Final = 600.0
#: Calls in one round, of which the median counts.
_FACE_CALLS: Final = 32
_BATCH_CALLS: Final = 3
_PHOTO_CALLS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all packages are measured on.

    Attributes:
        folder: Where inputs, logs and the packages' home folder lie.
        threads: Processor threads each may use.
        rounds: Rounds that count.
        portrait: A picture file with one large face.
        photo: A picture file of at most 640 pixels.
        crops: A ``.npy`` file of ``(N, 48, 48)`` uint8 faces, N at least 64.
    """

    folder: Path
    threads: int
    rounds: int
    portrait: Path
    photo: Path
    crops: Path

    def split_file(self, split: str) -> Path:
        """Return the ``.npy`` file of a split's faces."""
        return self.folder / "inputs" / f"{split}.npy"


#: Packages that were installed, with their environments.
Installed = Sequence[tuple[Measurement, Environment]]


def take_turns(entries: Sequence[_T], rounds: int) -> Iterator[tuple[int, _T]]:
    """Yield round and entry; each round begins with another entry.

    >>> [entry for _, entry in take_turns("abc", 2)]
    ['a', 'b', 'c', 'b', 'c', 'a']
    """
    for number in range(rounds):
        first = number % max(len(entries), 1)
        for entry in (*entries[first:], *entries[:first]):
            yield number, entry


def measure_starts(installed: Installed, bench: Bench) -> None:
    """Time imports, and cold processes until their first result on the portrait."""
    # The first round compiles what is imported and fills the system's cache of files.
    for number, (measurement, environment) in take_turns(installed, bench.rounds + 1):
        if measurement.failure:
            continue
        logger.info("start %d of %d: %s", number, bench.rounds, measurement.package.name)
        with measurement.isolated():
            import_s = _time_import(measurement, environment, bench)
            cold_s = _time_cold(measurement, environment, bench)
            if number:
                measurement.add("import_s", import_s)
                if cold_s is not None:
                    measurement.add("cold_s", cold_s)


def measure_speed(installed: Installed, bench: Bench, labels: Mapping[str, Labels]) -> None:
    """Time faces and photos by processes that stay open, then read faces with labels.

    Args:
        installed: The packages.
        bench: What they are measured on.
        labels: Of each split that is read; what has random weights reads none.
    """
    with ExitStack() as stack:
        opened = []
        for measurement, environment in installed:
            if measurement.failure or measurement.package.adapter is None:
                continue
            with measurement.isolated():
                participant = stack.enter_context(_start(measurement, environment, bench))
                ways = _open(measurement, participant, bench, bench.photo)["ways"]
                opened.append((measurement, participant, ways))
        for number, (measurement, participant, _) in take_turns(opened, bench.rounds + 1):
            if not measurement.failure:
                logger.info("round %d of %d: %s", number, bench.rounds, measurement.package.name)
                with measurement.isolated():
                    _time_round(measurement, participant, bench, counts=number > 0)
        for measurement, participant, ways in opened:
            if not measurement.failure:
                with measurement.isolated():
                    measurement.memory_mb = participant.ask("memory")
                    _score(measurement, participant, ways, bench, labels)


def _time_import(measurement: Measurement, environment: Environment, bench: Bench) -> float:
    statement = measurement.package.import_statement
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    try:
        done = subprocess.run(
            [str(environment.python), "-I", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=_IMPORT_SECONDS,
            env=worker_variables(bench.folder, bench.threads),
        )
    except subprocess.TimeoutExpired as error:
        raise RivalError(f"its import took over {_IMPORT_SECONDS:g} s") from error
    if done.returncode:
        raise RivalError(f"cannot be imported: {last_words(done.stderr)}")
    try:
        return float(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise RivalError(f"its import printed {last_words(done.stdout)!r} last") from error


def _time_cold(measurement: Measurement, environment: Environment, bench: Bench) -> float | None:
    if measurement.package.adapter is None:
        return None
    with _start(measurement, environment, bench) as participant:
        _open(measurement, participant, bench, bench.portrait)
        return time.perf_counter() - participant.started


def _start(measurement: Measurement, environment: Environment, bench: Bench) -> Participant:
    package = measurement.package
    assert package.adapter is not None
    return Participant(
        environment.python,
        package.adapter,
        folder=bench.folder,
        log=bench.folder / "logs" / f"{package.name}.txt",
        threads=bench.threads,
    )


def _open(
    measurement: Measurement, participant: Participant, bench: Bench, photo: Path
) -> dict[str, Any]:
    answer: dict[str, Any] = participant.ask("open", photo=str(photo), threads=bench.threads)
    measurement.weights = answer["weights"]
    if measurement.package.has_detector:
        measurement.photo_faces = answer["faces"]
    return answer


def _time_round(
    measurement: Measurement, participant: Participant, bench: Bench, *, counts: bool
) -> None:
    def ask(do: str, **details: Any) -> float:
        return float(statistics.median(participant.ask(do, **details)))

    crops = str(bench.crops)
    face_ms = ask("time_faces", faces=crops, batch=1, repeats=_FACE_CALLS)
    batch_ms = ask("time_faces", faces=crops, batch=BATCH, repeats=_BATCH_CALLS)
    photo_ms = None
    if measurement.package.has_detector:
        photo_ms = ask("time_photo", photo=str(bench.photo), repeats=_PHOTO_CALLS)
    if counts:
        measurement.add("face_ms", face_ms)
        measurement.add("batch_ms", batch_ms)
        if photo_ms is not None:
            measurement.add("photo_ms", photo_ms)


def _score(
    measurement: Measurement,
    participant: Participant,
    ways: Sequence[str],
    bench: Bench,
    labels: Mapping[str, Labels],
) -> None:
    if measurement.weights != "own":
        return
    for split, truth in labels.items():
        scores = measurement.scores.setdefault(split, {})
        for way in ways:
            logger.info("%s, %s: %s", split, way, measurement.package.name)
            names = participant.ask("read", faces=str(bench.split_file(split)), way=way)
            scores[way] = score_readings(names, truth)
