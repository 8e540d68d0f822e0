"""The Kaggle CSV of FER2013, with its columns in any order, read as a stream."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.pixel_text import PixelTextError, parse_pixel_text
from mien.errors import DataError, MissingExtraError
from mien.expressions import EXPRESSIONS, nearest_name
from mien.preprocess import FACE_SIZE

logger = logging.getLogger(__name__)

#: Text handed to the pixel parser at a time. Measured: 256 KiB, which fits a core's cache, takes
#: three quarters of the time of 4 MiB. It is also the longest row that can be read.
_BLOCK_BYTES: Final = 1 << 18
#: Seven times the pixels of FER2013: only a decompression bomb gets there.
_MAX_TEXT_BYTES: Final = 2 << 30
_MAX_COLUMNS: Final = 32

_LABELS: Final = {str(code).encode(): code for code in range(len(EXPRESSIONS))}
_SPLIT_CODES: Final = {name.encode(): code for code, name in enumerate(SPLITS)}


class _Columns(NamedTuple):
    """Where the three columns are; ``usage`` is None in a file of one split."""

    emotion: int
    pixels: int
    usage: int | None


def read_fer2013_csv(stream: IO[bytes], *, source: str, gzipped: bool = False) -> ExpressionDataset:
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
    batches = _record_batches(stream, source=source, gzipped=gzipped)
    first = next(batches, None)
    if first is None:
        raise DataError(f"{source}: empty file")
    columns = _find_columns([_text(first.column(i)[0]) for i in range(first.num_columns)], source)
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    split_codes: list[int] = []
    text_bytes = 0
    for batch in _chain_rows(first, batches):
        done = len(labels)
        labels += _codes(batch.column(columns.emotion), _LABELS, "emotion", source, done)
        if columns.usage is not None:
            split_codes += _codes(batch.column(columns.usage), _SPLIT_CODES, "Usage", source, done)
        images.append(_faces(batch.column(columns.pixels), source, done))
        text_bytes += batch.nbytes
        if text_bytes > _MAX_TEXT_BYTES:
            raise DataError(f"{source}: more than {_MAX_TEXT_BYTES >> 30} GiB of text, gave up")
    if not labels:
        raise DataError(f"{source}: a header but no rows")
    return ExpressionDataset(
        images=np.concatenate(images).reshape(-1, FACE_SIZE, FACE_SIZE),
        labels=np.array(labels, np.int64),
        split_codes=np.array(split_codes or [0] * len(labels), np.uint8),
        names=np.array([f"row {row}" for row in range(1, len(labels) + 1)]),
    )


def _record_batches(stream: IO[bytes], *, source: str, gzipped: bool) -> Iterator[Any]:
    """Yield the file's rows, header included, as Arrow batches of binary columns."""
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import csv  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    _keep_freed_memory()
    ragged: list[Any] = []

    def note_ragged(row: Any) -> str:
        ragged.append(row)
        return "error"

    file = pa.PythonFile(stream, mode="r")
    try:
        # One thread parses here while Arrow's decompresses and splits ahead. The header is read
        # as a row, so that every column stays binary whatever it is called.
        yield from csv.open_csv(
            pa.CompressedInputStream(file, "gzip") if gzipped else file,
            read_options=csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, autogenerate_column_names=True
            ),
            parse_options=csv.ParseOptions(invalid_row_handler=note_ragged),
            convert_options=csv.ConvertOptions(
                column_types={f"f{i}": pa.binary() for i in range(_MAX_COLUMNS)}
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        if ragged:
            row = ragged[0]
            raise DataError(
                f"{source}: row {row.number - 1} has {row.actual_columns} columns, "
                f"the header has {row.expected_columns}"
            ) from error
        raise DataError(f"{source}: {_explain_arrow(str(error))}") from error


def _keep_freed_memory() -> None:
    """Make glibc reuse the parser's short-lived arrays instead of returning each to the system.

    Freeing one large block raises its threshold for doing so. Measured on FER2013: 376,000 page
    faults become 21,000 and a second of system time goes. Elsewhere it does nothing.
    """
    np.empty(16 << 20, np.uint8)


def _explain_arrow(message: str) -> str:
    """Put Arrow's message about a file into one plain line."""
    first_line = message.splitlines()[0] if message else "unreadable"
    if "Truncated" in first_line:
        return "the compressed file is cut short; fetch it again"
    if "zlib" in first_line:
        return f"the compressed file is damaged ({first_line})"
    if "straddling" in first_line:
        return f"a row is longer than {_BLOCK_BYTES:,} bytes; is this FER2013's CSV?"
    if "Empty CSV" in first_line:
        return "empty file"
    return f"not readable as CSV ({first_line})"


def _chain_rows(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    """Yield the batches without the header row and without empty ones."""
    first = first.slice(1)
    if first.num_rows:
        yield first
    for batch in rest:
        if batch.num_rows:
            yield batch


def _text(scalar: Any) -> str:
    value: bytes = scalar.as_py() or b""
    return value.decode("utf-8", "replace").strip()


def _find_columns(header: Sequence[str], source: str) -> _Columns:
    """Find the columns by name, whatever the case, order and spaces."""
    folded = [name.casefold() for name in header]

    def find(name: str) -> int:
        if name.casefold() in folded:
            return folded.index(name.casefold())
        near = nearest_name(name.casefold(), folded)
        hint = f"; did you mean {header[folded.index(near)]!r}?" if near else ""
        found = ", ".join(shown[:40] for shown in header[:8])
        raise DataError(f"{source}: no column {name!r} among {found}{hint}")

    emotion, pixels = find("emotion"), find("pixels")
    if "usage" not in folded and nearest_name("usage", folded) is None:
        logger.info("%s: no Usage column, so every row counts as Training", source)
        return _Columns(emotion, pixels, None)
    return _Columns(emotion, pixels, find("Usage"))


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
