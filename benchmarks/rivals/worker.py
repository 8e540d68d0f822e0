"""What runs inside a package's own environment: requests in, answers out, one line of JSON each.

    python -I worker.py ADAPTER FOLDER

The adapter is a module of :mod:`adapters` with a function ``open_reader(threads, folder)``; see
:class:`Reader` for what it returns. This file needs the standard library and numpy alone, which
every environment has, and takes its times itself, so that the pipe is in none of them.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

import numpy as np
import numpy.typing as npt


class Reader(Protocol):
    """A package with its network open.

    Attributes:
        weights: ``"own"``, or ``"random"`` where its own cannot be had.
    """

    weights: str

    def read_faces(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        """Return what ``(N, 48, 48)`` ready crops are read as, in the package's own words."""
        ...

    def read_photo(self, path: str) -> int:
        """Read a picture's file by the package's usual call; return how many faces were read."""
        ...


@runtime_checkable
class DefaultReader(Reader, Protocol):
    """A package whose usual call does more to a ready crop than reading it."""

    def read_by_default(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        """Return what crops are read as by the call that its documentation shows."""
        ...


def main() -> None:
    answers = _claim_output()
    # Last, so that no module here stands before one of the package's.
    sys.path.append(str(Path(__file__).parent))
    session = Session(sys.argv[1], Path(sys.argv[2]))
    for line in sys.stdin:
        try:
            answer = {"answer": session.answer(json.loads(line))}
        except Exception as error:  # whatever a package raises is a row of the table
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Session:
    """Answers requests about one package.

    Args:
        adapter: The adapter's name.
        folder: Where files made for the packages lie.
    """

    def __init__(self, adapter: str, folder: Path) -> None:
        self._adapter = adapter
        self._folder = folder
        self._opened: Reader | None = None
        self._requests: dict[str, Callable[..., Any]] = {
            "open": self.open,
            "read": self.read,
            "time_faces": self.time_faces,
            "time_photo": self.time_photo,
            "memory": _peak_memory_mb,
        }

    def answer(self, request: dict[str, Any]) -> Any:
        """Do what ``request["do"]`` names with its other values; return plain JSON types."""
        details = dict(request)
        return self._requests[details.pop("do")](**details)

    @property
    def _reader(self) -> Reader:
        if self._opened is None:
            raise ValueError("asked to read before it was opened")
        return self._opened

    def open(self, *, photo: str, threads: int) -> dict[str, Any]:
        """Open the package and read one picture: what a cold process does."""
        adapter = importlib.import_module(f"adapters.{self._adapter}")
        reader: Reader = adapter.open_reader(threads, self._folder)
        faces = reader.read_photo(photo)
        ways = ["ready", "default"] if isinstance(reader, DefaultReader) else ["ready"]
        self._opened = reader
        return {"weights": reader.weights, "faces": faces, "ways": ways}

    def read(self, *, faces: str, way: str) -> list[str]:
        """Return what the crops in a ``.npy`` file are read as."""
        reader = self._reader
        read = reader.read_faces
        if way == "default" and isinstance(reader, DefaultReader):
            read = reader.read_by_default
        crops = np.load(faces)
        return [name for start in range(0, len(crops), 64) for name in read(crops[start:][:64])]

    def time_faces(self, *, faces: str, batch: int, repeats: int) -> list[float]:
        """Return milliseconds of each of ``repeats`` calls, each on the next ``batch`` crops."""
        crops = np.load(faces)
        starts = (index * batch % (len(crops) - batch + 1) for index in range(repeats))
        return [_time_ms(self._reader.read_faces, crops[start:][:batch]) for start in starts]

    def time_photo(self, *, photo: str, repeats: int) -> list[float]:
        """Return milliseconds of each of ``repeats`` readings of a picture's file."""
        return [_time_ms(self._reader.read_photo, photo) for _ in range(repeats)]


def _time_ms(call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - start) * 1e3


def _peak_memory_mb() -> float:
    # The count of this program alone; ru_maxrss would start from what its parent held.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("this system does not tell a process's peak memory")


def _claim_output() -> TextIO:
    """Return a stream to the parent that no package's own prints can get into."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
