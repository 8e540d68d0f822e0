"""The Kaggle CSV of FER2013, with its columns in any order, read as a stream."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.pixel_text import PixelTextError, parse_pixel_text
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


def read_fer2013_csv(
    stream: ByteStream, *, source: str, gzipped: bool = False
) -> ExpressionDataset:
    """Read ``emotion``, ``pixels`` and ``Usage`` from CSV text.

    Columns may come in any order, with spaces around their names and among others. Without a
    ``Usage`` column (Kaggle's ``train.csv``) every row counts as Training.

    Args:
        stream: The file, open for reading.
        source: What to call it in messages.
        gzipped: Whether its bytes are compressed with gzip.

    Raises:
        DataError: A column is missing or a row is malformed; the message names it.
        MissingExtraError: pyarrow is not installed.
    """
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    split_codes: list[int] = []
    columns: _Columns | None = None
    # Closed at once on an error, so that the thread behind it has ended before the file closes.
    with closing(read_text_blocks(stream, source=source, gzipped=gzipped)) as blocks:
        for header, rows in _split_rows(blocks, source):
            columns = columns or _find_columns(header, source)
            done = len(labels)
            labels += _codes(rows.column(columns.emotion), _LABELS, "emotion", source, done)
            if columns.usage is not None:
                usage = rows.column(columns.usage)
                split_codes += _codes(usage, _SPLIT_CODES, "Usage", source, done)
            images.append(_faces(rows.column(columns.pixels), source, done))
    if not labels:
        raise DataError(f"{source}: {'empty file' if columns is None else 'a header but no rows'}")
    return ExpressionDataset(
        images=np.concatenate(images).reshape(-1, FACE_SIZE, FACE_SIZE),
        labels=np.array(labels, np.int64),
        split_codes=np.array(split_codes or [0] * len(labels), np.uint8),
        names=np.array([f"row {row}" for row in range(1, len(labels) + 1)]),
    )


def _split_rows(blocks: Iterator[bytes], source: str) -> Iterator[tuple[list[str], Any]]:
    """Yield the header and a block's rows as an Arrow batch of binary columns, block by block."""
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import csv  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    _keep_freed_memory()
    names: list[str] | None = None
    header: list[str] = []
    lines_before = 0
    for block in blocks:
        if block.isspace():
            continue
        ragged: list[Any] = []
        try:
            table = csv.read_csv(
                pa.BufferReader(block),
                # The header is read as a row, so that columns are binary whatever their names.
                csv.ReadOptions(
                    use_threads=False, column_names=names, autogenerate_column_names=not names
                ),
                csv.ParseOptions(invalid_row_handler=partial(_note_ragged, ragged)),
                csv.ConvertOptions(column_types=dict.fromkeys(_COLUMN_NAMES, pa.binary())),
            )
        except pa.ArrowInvalid as error:
            raise DataError(f"{source}: {_explain(error, ragged, lines_before)}") from error
        if table.num_columns > len(_COLUMN_NAMES):
            raise DataError(
                f"{source}: {table.num_columns:,} columns, expected emotion, pixels and Usage"
            )
        lines_before += table.num_rows
        for rows in table.to_batches():
            if names is None:
                names = table.column_names
                header = [_text(rows.column(name)[0]) for name in names]
                yield header, rows.slice(1)
            else:
                yield header, rows


def _note_ragged(ragged: list[Any], row: Any) -> str:
    ragged.append(row)
    return "error"


def _explain(error: Exception, ragged: Sequence[Any], lines_before: int) -> str:
    """Put Arrow's complaint about a block into one plain line."""
    if ragged:
        row = ragged[0]
        # The header is line 1, so the first row's number is one less.
        return (
            f"row {lines_before + row.number - 1} has {row.actual_columns} columns, "
            f"the header has {row.expected_columns}"
        )
    return f"not readable as CSV ({str(error).partition(chr(10))[0]})"


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
    shown = ", ".join(found.strip()[:40] for found in header[:12])
    raise DataError(f"{source}: no column {name!r} among {shown}{hint}")


def _codes(
    column: Any, known: Mapping[bytes, int], name: str, source: str, rows_before: int
) -> list[int]:
    """Translate one column's values, or name the first row with an unknown one."""
    codes: list[int] = []
    for value in column.to_pylist():
        code = known.get(value)
        if code is None:
            code = known.get(value.strip())
        if code is None:
            found = value.decode("utf-8", "replace").strip()[:40]
            names = [key.decode() for key in known]
            near = nearest_name(found, names)
            hint = f"; did you mean {near}?" if near else ""
            raise DataError(
                f"{source}: row {rows_before + len(codes) + 1}: {name} {found!r} is none of "
                f"{', '.join(names)}{hint}"
            )
        codes.append(code)
    return codes


def _faces(column: Any, source: str, rows_before: int) -> npt.NDArray[np.uint8]:
    """Parse one column of pixel text into ``(N, 2304)`` uint8."""
    _, offset_buffer, text_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset :][: len(column) + 1]
    text = np.frombuffer(text_buffer, np.uint8) if text_buffer else np.empty(0, np.uint8)
    try:
        return parse_pixel_text(
            text[offsets[0] : offsets[-1]], (offsets - offsets[0]).astype(np.int64)
        )
    except PixelTextError as error:
        raise DataError(f"{source}: row {rows_before + error.row + 1}: {error.reason}") from None
