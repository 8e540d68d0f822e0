"""Results out: JSON and CSV, one result at a time."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol, TextIO

from mien.cache import atomic_write
from mien.errors import MediaError
from mien.results import FrameResult

#: Columns that a picture's row has before its probabilities; see ``FrameResult.to_records``.
_COLUMNS: Final = (
    *("source", "width", "height", "face", "expression", "confidence"),
    *("left", "top", "right", "bottom", "score"),
)


class Writer(Protocol):
    """Something that results are written to."""

    def write(self, result: FrameResult) -> None:
        """Write one result."""
        ...

    def finish(self) -> None:
        """Write what comes after the last result."""
        ...


class JsonWriter:
    """Writes one JSON array, each result on a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = False

    def write(self, result: FrameResult) -> None:
        """Write one result as ``FrameResult.to_dict`` gives it."""
        self._stream.write(",\n" if self._started else "[\n")
        self._started = True
        json.dump(result.to_dict(), self._stream)

    def finish(self) -> None:
        """Close the array."""
        self._stream.write("\n]\n" if self._started else "[]\n")


class CsvWriter:
    """Writes CSV: a header, a row for each face, a row for each picture without a face.

    Args:
        stream: A text stream opened with ``newline=""``.
        classes: The names of the expressions, the last columns.
    """

    def __init__(self, stream: TextIO, classes: Sequence[str]) -> None:
        self._rows = csv.DictWriter(stream, (*_COLUMNS, *classes), lineterminator="\n")
        self._rows.writeheader()

    def write(self, result: FrameResult) -> None:
        """Write one result as ``FrameResult.to_records`` gives it."""
        self._rows.writerows(result.to_records())

    def finish(self) -> None:
        """Do nothing: a table has no end mark."""


#: Suffix → format that :func:`open_writer` writes.
SUFFIXES: Final = (".json", ".csv")


def check_suffix(path: Path) -> None:
    """Raise :class:`MediaError` where a file's suffix names no format that is written."""
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(f"{path}: results are written as {' or '.join(SUFFIXES)}")


@contextmanager
def open_writer(path: Path, classes: Sequence[str]) -> Iterator[Writer]:
    """Yield a writer to a file, which appears, whole, when the block succeeds.

    The block calls the writer's ``finish``, as with any other.

    Args:
        path: The file; its suffix, ``.json`` or ``.csv``, gives the format.
        classes: The names of the expressions.

    Raises:
        MediaError: The suffix is another, or the file cannot be written.
    """
    check_suffix(path)
    with ExitStack() as stack:
        with write_errors_named(path):
            temporary = stack.enter_context(atomic_write(path))
            # File names need not be valid text; they are written back byte for byte.
            stream = stack.enter_context(
                temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            )
            writer = _FileWriter(path, make_writer(path.suffix.lower(), stream, classes))
        # Outside: what else goes wrong in the block is not this file's fault.
        yield writer
        with write_errors_named(path):
            stack.close()


class _FileWriter:
    """Passes results on to a file's writer and names the file when that fails."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer

    def write(self, result: FrameResult) -> None:
        with write_errors_named(self._path):
            self._writer.write(result)

    def finish(self) -> None:
        with write_errors_named(self._path):
            self._writer.finish()


@contextmanager
def write_errors_named(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is written into a :class:`MediaError` that names it."""
    try:
        yield
    except OSError as error:
        raise MediaError(f"{path}: cannot be written: {error.strerror or error}") from error


def make_writer(suffix: str, stream: TextIO, classes: Sequence[str]) -> Writer:
    """Return a writer of the format that a suffix names, to an open stream."""
    return CsvWriter(stream, classes) if suffix == ".csv" else JsonWriter(stream)
