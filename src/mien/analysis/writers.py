"""Results out: JSON, CSV and Parquet, one result at a time."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from mien.analysis.arrow_tables import arrow_schema, arrow_table, check_parquet
from mien.cache import atomic_write
from mien.errors import MediaError
from mien.results import FACE_COLUMNS, FrameResult, class_column

#: Rows of Parquet that are gathered before they are written.
_ROW_GROUP: Final = 10_000


def picture_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table of pictures, in order; see ``FrameResult.to_records``."""
    columns = map(class_column, classes)
    return ("source", "width", "height", "face", *FACE_COLUMNS, *columns)


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
        self._rows = csv.DictWriter(stream, picture_columns(classes), lineterminator="\n")
        self._rows.writeheader()

    def write(self, result: FrameResult) -> None:
        """Write one result as ``FrameResult.to_records`` gives it."""
        self._rows.writerows(result.to_records())

    def finish(self) -> None:
        """Do nothing: a table has no end mark."""


class ParquetWriter:
    """Writes Parquet: the rows of :class:`CsvWriter`, each column of its own type.

    Args:
        path: The file.
        classes: The names of the expressions, the last columns.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - only Parquet needs it

        self._schema = arrow_schema(picture_columns(classes))
        self._file = pq.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, result: FrameResult) -> None:
        """Write one result as ``FrameResult.to_records`` gives it."""
        self._rows.extend(result.to_records())
        if len(self._rows) >= _ROW_GROUP:
            self._flush()

    def finish(self) -> None:
        """Write the last rows and the file's end."""
        self._flush()
        self.close()

    def close(self) -> None:
        """Let the file go, finished or not; again without effect."""
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(arrow_table(self._rows, self._schema))
            self._rows.clear()


#: Suffix → format that :func:`open_writer` writes.
SUFFIXES: Final = (".json", ".csv", ".parquet")


def check_suffix(path: Path) -> None:
    """See that results can be written in the format that a file's suffix names.

    Raises:
        MediaError: It names none.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise MediaError(f"{path}: results are written as {known}")
    if suffix == ".parquet":
        check_parquet()


@contextmanager
def open_writer(path: Path, classes: Sequence[str]) -> Iterator[Writer]:
    """Yield a writer to a file, which appears, whole, when the block succeeds.

    The block calls the writer's ``finish``, as with any other.

    Args:
        path: The file; its suffix, one of :data:`SUFFIXES`, gives the format.
        classes: The names of the expressions.

    Raises:
        MediaError: The suffix is another, or the file cannot be written.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    check_suffix(path)
    with ExitStack() as stack:
        with write_errors_named(path):
            temporary = stack.enter_context(atomic_write(path))
            writer = _FileWriter(path, _open_format(stack, temporary, classes))
        # Outside: what else goes wrong in the block is not this file's fault.
        yield writer
        with write_errors_named(path):
            stack.close()


def _open_format(stack: ExitStack, path: Path, classes: Sequence[str]) -> Writer:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return stack.enter_context(closing(ParquetWriter(path, classes)))
    # File names need not be valid text; they are written back byte for byte.
    stream = stack.enter_context(
        path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    )
    return make_writer(suffix, stream, classes)


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
