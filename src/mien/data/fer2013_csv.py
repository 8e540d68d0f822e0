"""The Kaggle CSV of FER2013, with its columns in any order, read as a stream."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.pixel_text import (
    PIXELS_PER_FACE,
    PixelTextError,
    explain_pixel_text,
    parse_pixel_text,
)
from mien.data.row_problems import Column, RowProblem, is_nothing, leave_out, note_problem
from mien.data.text_blocks import ByteStream, read_text_blocks
from mien.errors import DataError, MissingExtraError
from mien.expressions import EXPRESSIONS, nearest_name
from mien.preprocess import FACE_SIZE

logger = logging.getLogger(__name__)

#: Arrow's own names for columns without one; a file with more columns is none of FER2013's.
_COLUMN_NAMES: Final = tuple(f"f{i}" for i in range(32))

_LABELS: Final = {str(code).encode(): code for code in range(len(EXPRESSIONS))}
_SPLIT_CODES: Final = {name.encode(): code for code, name in enumerate(SPLITS)}


class _Columns(NamedTuple):
    """Where the three columns are; ``usage`` is None in a file of one split."""

    emotion: int
    pixels: int
    usage: int | None


class _Batch(NamedTuple):
    """Some rows of a file.

    Attributes:
        rows: Their values, an Arrow batch of binary columns.
        numbers: ``(N,)`` int64 which row of the file each is, from 1.
        source: What to call the file.
        problems: What is wrong with its rows; None where the first such row is refused.
    """

    rows: Any
    numbers: npt.NDArray[np.int64]
    source: str
    problems: list[RowProblem] | None

    def note(self, row: int, column: Column, value: bytes, reason: str) -> None:
        """Tell of a value that cannot be used."""
        name = f"row {self.numbers[row]}"
        problem = RowProblem(name=name, column=column, missing=is_nothing(value), reason=reason)
        note_problem(problem, self.problems, refusal=f"{self.source}: {name}: {reason}")


def read_fer2013_csv(
    stream: ByteStream,
    *,
    source: str,
    gzipped: bool = False,
    problems: list[RowProblem] | None = None,
) -> ExpressionDataset:
    """Read ``emotion``, ``pixels`` and ``Usage`` from CSV text.

    Columns may come in any order, with spaces around their names and among others. Without a
    ``Usage`` column (Kaggle's ``train.csv``) every row counts as Training. Blank lines are no rows.

    Args:
        stream: The file, open for reading.
        source: What to call it in messages.
        gzipped: Whether its bytes are compressed with gzip.
        problems: An empty list to fill, in the order of the rows: malformed ones are then left out.

    Raises:
        DataError: A column is missing or a row is malformed, the message names it; or no row is
            left.
        MissingExtraError: pyarrow is not installed.
    """
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    split_codes: list[int] = []
    numbers: list[int] = []
    columns: _Columns | None = None
    # Closed at once on an error, so that the thread behind it has ended before the file closes.
    with closing(read_text_blocks(stream, source=source, gzipped=gzipped)) as blocks:
        for header, batch in _split_rows(blocks, source, problems):
            columns = columns or _find_columns(header, source)
            labels += _codes(batch, columns.emotion, "emotion", _LABELS)
            if columns.usage is not None:
                split_codes += _codes(batch, columns.usage, "Usage", _SPLIT_CODES)
            images.append(_faces(batch, columns.pixels))
            numbers += batch.numbers.tolist()
    if not labels and not problems:
        raise DataError(f"{source}: {'empty file' if columns is None else 'a header but no rows'}")
    dataset = ExpressionDataset(
        images=np.concatenate(images).reshape(-1, FACE_SIZE, FACE_SIZE),
        labels=np.array(labels, np.int64),
        split_codes=np.array(split_codes or [0] * len(labels), np.uint8),
        names=np.array([f"row {row}" for row in numbers], np.str_),
    )
    if not problems:
        return dataset
    problems.sort(key=lambda problem: int(problem.name.removeprefix("row ")))
    return leave_out(dataset, problems, source=source)


def _split_rows(
    blocks: Iterator[bytes], source: str, problems: list[RowProblem] | None
) -> Iterator[tuple[list[str], _Batch]]:
    """Yield the header and a block's rows, block by block."""
    _keep_freed_memory()
    names: list[str] | None = None
    header: list[str] = []
    lines_before = 0
    for block in blocks:
        if block.isspace():
            continue
        table, ragged = _parse_block(block, names, source)
        # The header is line 0, so a line's number is its row's.
        for row in ragged:
            _note_ragged(row, lines_before, source, problems)
        lines = np.arange(table.num_rows + len(ragged))
        lines = np.delete(lines, [row.number - 1 for row in ragged]) + lines_before
        lines_before += table.num_rows + len(ragged)
        for rows in table.to_batches():
            numbers, lines = lines[: len(rows)], lines[len(rows) :]
            if names is None:
                names = table.column_names
                header = [_text(rows.column(name)[0]) for name in names]
                rows, numbers = rows.slice(1), numbers[1:]  # noqa: PLW2901
            yield header, _Batch(rows, numbers, source, problems)


def _parse_block(block: bytes, names: list[str] | None, source: str) -> tuple[Any, list[Any]]:
    """Return a block's rows as an Arrow table of binary columns, and those of another length."""
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import csv  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    ragged: list[Any] = []

    def skip(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = csv.read_csv(
            pa.BufferReader(block),
            # The header is read as a row, so that columns are binary whatever their names.
            csv.ReadOptions(
                use_threads=False, column_names=names, autogenerate_column_names=not names
            ),
            csv.ParseOptions(invalid_row_handler=skip),
            csv.ConvertOptions(column_types=dict.fromkeys(_COLUMN_NAMES, pa.binary())),
        )
    except pa.ArrowInvalid as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{source}: not readable as CSV ({reason})") from error
    if table.num_columns > len(_COLUMN_NAMES):
        raise DataError(
            f"{source}: {table.num_columns:,} columns, expected emotion, pixels and Usage"
        )
    return table, ragged


def _note_ragged(
    row: Any, lines_before: int, source: str, problems: list[RowProblem] | None
) -> None:
    """Tell of a row with more or fewer columns than the header."""
    name = f"row {lines_before + row.number - 1}"
    reason = f"{row.actual_columns} columns, the header has {row.expected_columns}"
    problem = RowProblem(name=name, column="row", missing=False, reason=reason)
    note_problem(problem, problems, refusal=f"{source}: {name} has {reason}")


def _keep_freed_memory() -> None:
    """Make glibc reuse the parser's short-lived arrays instead of returning each to the system.

    Freeing one large block raises its threshold for doing so. Measured on FER2013: 376,000 page
    faults become 21,000 and a second of system time goes. Elsewhere it does nothing.
    """
    np.empty(16 << 20, np.uint8)


def _text(scalar: Any) -> str:
    value: bytes = scalar.as_py() or b""
    return value.decode("utf-8", "replace").strip()


def _find_columns(header: Sequence[str], source: str) -> _Columns:
    """Find the columns by name; ``Usage`` may be missing, but not misspelt."""
    emotion, pixels = (find_column(name, header, source=source) for name in ("emotion", "pixels"))
    if nearest_name("usage", [name.strip().casefold() for name in header]) is None:
        logger.info("%s: no Usage column, so every row counts as Training", source)
        return _Columns(emotion, pixels, None)
    return _Columns(emotion, pixels, find_column("Usage", header, source=source))


def find_column(name: str, header: Sequence[str], *, source: str) -> int:
    """Return where a column is, whatever the case of its name and the spaces around it.

    Raises:
        DataError: There is none; the message names the nearest one.
    """
    folded = [found.strip().casefold() for found in header]
    if name.casefold() in folded:
        return folded.index(name.casefold())
    near = nearest_name(name.casefold(), folded)
    hint = f"; did you mean {header[folded.index(near)].strip()!r}?" if near else ""
    if len(folded) == 1 and re.search(r"[;\t|]", folded[0]):
        hint = "; separate the columns by commas"
    shown = ", ".join(found.strip()[:40] for found in header[:12])
    raise DataError(f"{source}: no column {name!r} among {shown}{hint}")


def _codes(batch: _Batch, index: int, name: Column, known: Mapping[bytes, int]) -> list[int]:
    """Translate one column's values; 0 stands in for an unknown one, which is told of."""
    codes: list[int] = []
    for value in batch.rows.column(index).to_pylist():
        code = known.get(value)
        if code is None:
            code = known.get(value.strip())
        if code is None:
            found = value.decode("utf-8", "replace").strip()[:40]
            names = [key.decode() for key in known]
            near = nearest_name(found, names)
            hint = f"; did you mean {near}?" if near else ""
            reason = f"{name} {found!r} is none of {', '.join(names)}{hint}"
            batch.note(len(codes), name, value, reason)
            code = 0
        codes.append(code)
    return codes


def _faces(batch: _Batch, index: int) -> npt.NDArray[np.uint8]:
    """Parse one column of pixel text into ``(N, 2304)`` uint8.

    Zeros stand in for a malformed row, which is told of.
    """
    column = batch.rows.column(index)
    _, offset_buffer, text_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset :][: len(column) + 1]
    text = np.frombuffer(text_buffer, np.uint8) if text_buffer else np.empty(0, np.uint8)
    text, offsets = text[offsets[0] : offsets[-1]], (offsets - offsets[0]).astype(np.int64)
    with suppress(PixelTextError):
        return parse_pixel_text(text, offsets)
    faces = np.zeros((len(column), PIXELS_PER_FACE), np.uint8)
    for row, (start, stop) in enumerate(pairwise(offsets)):
        value = text[start:stop]
        reason = explain_pixel_text(value.tobytes())
        if reason:
            batch.note(row, "pixels", value.tobytes(), reason)
        else:
            faces[row] = parse_pixel_text(value, np.array([0, len(value)]))
    return faces
