"""The formats of a video's table: rows as text into each of them, and back into frames."""

import codecs
import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from mien.analysis.arrow_tables import arrow_schema, check_parquet, is_integer, is_text
from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.errors import MediaError
from mien.results import LANDMARKS, Face, Probabilities, class_column

#: Suffix of a table → that of the text file its rows go to first.
_ROW_SUFFIXES: Final = {".csv": ".csv", ".parquet": ".csv", ".json": ".jsonl", ".jsonl": ".jsonl"}
#: Suffix → format that is written and read.
TABLE_SUFFIXES: Final = tuple(_ROW_SUFFIXES)

#: Bytes of CSV that become one row group of Parquet: some ten thousand rows.
_ROW_GROUP_BYTES: Final = 1 << 23


def row_suffix(path: Path) -> str:
    """Return the suffix of the text file that a table's rows go to first.

    Raises:
        MediaError: The table's own suffix names no format.
    """
    try:
        return _ROW_SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = f"{', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]}"
        raise MediaError(f"{path}: a video's table is written as {known}") from None


def check_format(path: Path) -> None:
    """See that a table can be written in the format that its suffix names.

    Raises:
        MediaError: The suffix names none.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    row_suffix(path)
    if path.suffix.lower() == ".parquet":
        check_parquet()


def convert_rows(parts: Sequence[Path], target: Path) -> None:
    """Write a table from files of rows, one after the other, in constant memory.

    Args:
        parts: At least one, all with the suffix that :func:`row_suffix` gives for the table.
        target: The table, whose suffix gives the format.

    Raises:
        OSError: A file cannot be read or written.
    """
    suffix = target.suffix.lower()
    if suffix == ".parquet":
        _write_parquet(parts, target)
        return
    with target.open("wb") as out:
        for number, part in enumerate(parts):
            with part.open("rb") as rows:
                if suffix == ".json":
                    # A line a frame; the first of all opens the array, each other ends the last.
                    for i, line in enumerate(rows):
                        out.write((b",\n" if number or i else b"[\n") + line.rstrip(b"\n"))
                    continue
                if suffix == ".csv" and number:
                    rows.readline()
                shutil.copyfileobj(rows, out)
        if suffix == ".json":
            out.write(b"\n]\n" if out.tell() else b"[]\n")


def read_table(path: Path) -> Iterator[TrackedFrame]:
    """Yield the frames of a table, or of the partial file of one, in constant memory.

    CSV and Parquet do not tell ``uncertain_below``, which is 0 in frames read from them.

    Raises:
        MediaError: The file cannot be read, or is no such table.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    check_format(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _frames_of_rows(_parquet_rows(path))
            return
        # As they are written: names that are no valid text come back byte for byte.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            if suffix == ".csv":
                yield from _frames_of_rows(_csv_rows(stream))
            else:
                yield from (_frame_of_dict(each) for each in _json_lines(stream))
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise MediaError(f"{path}: not a table that 'mien video' wrote, or damaged") from error


def _write_parquet(parts: Sequence[Path], target: Path) -> None:
    import pyarrow.csv as arrow_csv  # noqa: PLC0415 - only Parquet needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    with parts[0].open(encoding="utf-8", errors="replace", newline="") as stream:
        schema = arrow_schema(next(csv.reader(stream)))
    convert = arrow_csv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True
    )
    with pq.ParquetWriter(target, schema) as writer:
        for part in parts:
            with (
                part.open("rb") as rows,
                arrow_csv.open_csv(
                    io.BufferedReader(_ValidText(rows)),
                    read_options=arrow_csv.ReadOptions(
                        block_size=_ROW_GROUP_BYTES, use_threads=False
                    ),
                    parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
                    convert_options=convert,
                ) as batches,
            ):
                for batch in batches:
                    writer.write_batch(batch)


class _ValidText(io.RawIOBase):
    """A text file's bytes with a question mark for each that is no UTF-8, which Parquet refuses."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        given = b""
        while not given:
            # As many bytes as are read come out, but for the start of a letter kept from before.
            read = self._file.read(len(buffer) - 3)
            given = self._decoder.decode(read, final=not read).encode("utf-8", "replace")
            if not read:
                break
        buffer[: len(given)] = given
        return len(given)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only Parquet needs it

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            yield from batch.to_pylist()


def _csv_rows(stream: TextIO) -> Iterator[dict[str, Any]]:
    rows = csv.reader(stream)
    columns = next(rows, None)
    if columns is None:
        raise ValueError("not even the names of its columns")
    kinds = [int if is_integer(c) else str if is_text(c) else float for c in columns]
    for cells in rows:
        if len(cells) != len(columns):
            return  # the last line of a process that was killed while it wrote
        yield {
            name: kind(cell) if cell else None
            for name, kind, cell in zip(columns, kinds, cells, strict=True)
        }


def _json_lines(stream: TextIO) -> Iterator[dict[str, Any]]:
    for line in stream:
        text = line.strip().removesuffix(",")
        if text in ("[", "]", "[]", ""):
            continue
        try:
            yield json.loads(text)
        except ValueError:
            if line.endswith("\n"):
                raise
            return  # the last line of a process that was killed while it wrote


def _frames_of_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[TrackedFrame]:
    for (source, index), group in groupby(rows, key=lambda row: (row["source"], row["frame"])):
        faces = list(group)
        yield TrackedFrame(
            source=source,
            index=index,
            time_s=faces[0]["time_s"],
            size_wh=(faces[0]["width"], faces[0]["height"]),
            faces=tuple(_face_of_row(row) for row in faces if row["track"] is not None),
        )


def _face_of_row(row: Mapping[str, Any]) -> TrackedFace:
    prefix = "smoothed_"
    classes = tuple(name.removeprefix(prefix) for name in row if name.startswith(prefix))
    landmarks = None
    if row[f"{LANDMARKS[0]}_x"] is not None:
        landmarks = tuple((row[f"{name}_x"], row[f"{name}_y"]) for name in LANDMARKS)
    return TrackedFace(
        track=row["track"],
        face=Face(
            box_xyxy=(row["left"], row["top"], row["right"], row["bottom"]),
            score=row["score"],
            landmarks=landmarks,
            probabilities=Probabilities(
                classes, tuple(row[class_column(name)] for name in classes)
            ),
        ),
        smoothed=Probabilities(classes, tuple(row[prefix + name] for name in classes)),
        expression=row["expression"],
    )


def _frame_of_dict(values: Mapping[str, Any]) -> TrackedFrame:
    width, height = values["size_wh"]
    return TrackedFrame(
        source=values["source"],
        index=values["frame"],
        time_s=values["time_s"],
        size_wh=(width, height),
        faces=tuple(_face_of_dict(face) for face in values["faces"]),
    )


def _face_of_dict(values: Mapping[str, Any]) -> TrackedFace:
    face, smoothed = values["face"], values["smoothed"]
    left, top, right, bottom = face["box_xyxy"]
    landmarks = face["landmarks"]
    return TrackedFace(
        track=values["track"],
        face=Face(
            box_xyxy=(left, top, right, bottom),
            score=face["score"],
            landmarks=None if landmarks is None else tuple((x, y) for x, y in landmarks),
            probabilities=Probabilities(
                tuple(face["probabilities"]), tuple(face["probabilities"].values())
            ),
            uncertain_below=face["uncertain_below"],
        ),
        smoothed=Probabilities(tuple(smoothed), tuple(smoothed.values())),
        expression=values["expression"],
    )
