"""Tables of what was read in a video: CSV, JSON, JSON Lines and Parquet, none lost in a crash.

While a video is read its rows go, frame by frame, to a text file beside the table that only grows:
``faces.parquet.partial.csv`` is a table of its own at every moment. Every few seconds
``faces.parquet.resume.json`` takes down where the reading is. The table appears, whole, at the end.
"""

import csv
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mien.analysis.video.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from mien.analysis.video.results import TrackedFrame, record_columns
from mien.analysis.video.table_formats import check_format, convert_rows, row_suffix
from mien.analysis.writers import write_errors_named
from mien.cache import atomic_write
from mien.errors import MediaError

#: From one checkpoint to the next: seconds of work, at most, are done twice.
_CHECKPOINT_FRAMES: Final = 200
_CHECKPOINT_S: Final = 5.0


def open_table(
    path: Path,
    classes: Sequence[str],
    *,
    resume: bool = False,
    made_by: Mapping[str, Any] | None = None,
    state: Callable[[], Mapping[str, Any]] | None = None,
) -> "TableWriter":
    """Return a writer of one table, to be used as a context manager.

    When the block succeeds, the table takes its place, and replaces an older one. When it raises,
    by Ctrl-C too, the rows so far become the table where none stood there, and can be resumed
    where there is a ``state``; :attr:`TableWriter.rows_at` tells where they are. A killed process
    leaves them in the partial file.

    Args:
        path: The table; its suffix gives the format.
        classes: The names of the expressions.
        resume: Go on after the rows of a stopped run; from the start where there are none.
        made_by: What the rows depend on, as JSON types; a resumed run must have the same.
        state: Gives what the reader needs to go on after the frame written last, as JSON types;
            called every few seconds, from ``write``.

    Raises:
        MediaError: The suffix is another or the file cannot be written; there are rows of a
            stopped run and no ``resume``; or they cannot be resumed.
        MissingExtraError: Parquet is wanted, and pyarrow is not installed.
    """
    return TableWriter(path, classes, resume=resume, made_by=made_by or {}, state=state)


class TableWriter:
    """Writes frames to a table; see :func:`open_table`.

    Attributes:
        path: The table.
        partial: The text file that the rows go to on their way.
        resumed: Where the stopped run was that is gone on with; None where there is none.
        frames: Frames written, those of the stopped run among them.
        rows_at: After a block that raised: the file with the rows so far; None where there are
            none.
    """

    def __init__(
        self,
        path: Path,
        classes: Sequence[str],
        *,
        resume: bool,
        made_by: Mapping[str, Any],
        state: Callable[[], Mapping[str, Any]] | None,
    ) -> None:
        self.path = path
        check_format(path)
        self.partial = partial_file(path)
        self._checkpoint_file = path.with_name(f"{path.name}.resume.json")
        self._made_by = dict(made_by)
        self._state = state
        self._columns = record_columns(classes) if row_suffix(path) == ".csv" else ()
        self.rows_at: Path | None = None
        self._checkpoint_time = time.monotonic()
        with write_errors_named(path):
            self.resumed = self._find_stopped_run(resume=resume)
            self.frames = self.resumed.frames if self.resumed else 0
            self._last = self.resumed or Checkpoint(made_by=self._made_by)
            path.parent.mkdir(parents=True, exist_ok=True)
            # File names need not be valid text; in text tables they come back byte for byte.
            self._rows = self.partial.open(
                "a" if self.resumed else "w", encoding="utf-8", errors="surrogateescape", newline=""
            )
            if self.resumed is None:
                self._rows.write(self._header())
                self._keep(self._last)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            # What went wrong is told already, and is often why this fails too.
            with suppress(OSError, MediaError):
                self._stop()
            return
        with write_errors_named(self.path):
            self._rows.close()
            if self.path.suffix.lower() == self.partial.suffix:
                self.partial.replace(self.path)
            else:
                _make_table([self.partial], self.path)
            self._clear()

    def write(self, frame: TrackedFrame) -> None:
        """Write one frame's rows, which survive a crash from here on.

        Raises:
            MediaError: The file cannot be written.
        """
        with write_errors_named(self.path):
            self._rows.write(self._lines(frame))
            self._rows.flush()
            self.frames += 1
            self._last = replace(self._last, last_index=frame.index, last_time_s=frame.time_s)
            late = time.monotonic() - self._checkpoint_time >= _CHECKPOINT_S
            if late or self.frames % _CHECKPOINT_FRAMES == 0:
                self.checkpoint()

    def checkpoint(self) -> None:
        """Take down that the reading can go on after the frame written last.

        Raises:
            MediaError: The file cannot be written.
        """
        if self._state is None:
            return
        with write_errors_named(self.path):
            self._rows.flush()
            os.fsync(self._rows.fileno())
            self._checkpoint_time = time.monotonic()
            self._keep(
                replace(
                    self._last,
                    frames=self.frames,
                    size_bytes=self.partial.stat().st_size,
                    reader=dict(self._state()),
                )
            )

    def _find_stopped_run(self, *, resume: bool) -> Checkpoint | None:
        """Return where to go on, with the rows after it cut off; None to start.

        Raises:
            MediaError: There are rows that would be lost, or that cannot be gone on with.
        """
        found = None
        if self.partial.exists():
            found = read_checkpoint(self._checkpoint_file)
            if (not resume or found is None) and self._holds_rows():
                way = "resume it" if found else "it cannot be resumed: move it"
                raise MediaError(
                    f"{self.partial}: holds the rows of a run that was stopped: {way}, or delete "
                    "it to start afresh"
                )
        elif resume and self.path.exists():
            raise MediaError(f"{self.path}: is finished, there is nothing to resume")
        if found is None or not resume or not self._holds_rows():
            return None
        found.check_made_by(self._made_by, self.path, self.partial)
        if found.frames == 0:
            return None
        if self.partial.stat().st_size < found.size_bytes:
            raise MediaError(f"{self.partial}: rows are missing: delete it to start afresh")
        os.truncate(self.partial, found.size_bytes)
        return found

    def _holds_rows(self) -> bool:
        return self.partial.stat().st_size > len(self._header().encode())

    def _stop(self) -> None:
        """Make the rows so far a table where that replaces none, and see that nothing is lost."""
        self._rows.close()
        if self.frames == 0:
            self._clear()
            return
        self.rows_at = self.partial
        if self.path.exists() and file_stamp(self.path) != self._last.so_far:
            return
        _make_table([self.partial], self.path)
        self.rows_at = self.path
        if self._state is None:
            self._clear()
        elif (kept := read_checkpoint(self._checkpoint_file)) is not None:
            write_checkpoint(self._checkpoint_file, replace(kept, so_far=file_stamp(self.path)))

    def _keep(self, checkpoint: Checkpoint) -> None:
        if self._state is not None:
            write_checkpoint(self._checkpoint_file, checkpoint)
            self._last = checkpoint

    def _clear(self) -> None:
        self.partial.unlink(missing_ok=True)
        self._checkpoint_file.unlink(missing_ok=True)

    def _header(self) -> str:
        return _csv_lines([self._columns]) if self._columns else ""

    def _lines(self, frame: TrackedFrame) -> str:
        if not self._columns:
            return json.dumps(frame.to_dict()) + "\n"
        records = frame.to_records()
        return _csv_lines([[row.get(name) for name in self._columns] for row in records])


def partial_file(path: Path) -> Path:
    """Return the text file that a table's rows go to on their way."""
    return path.with_name(f"{path.name}.partial{row_suffix(path)}")


def file_stamp(path: Path) -> tuple[int, int]:
    """Return what tells a file from another one in its place."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def join_tables(parts: Sequence[Path], path: Path) -> None:
    """Write one table of the rows of several, in their order.

    Args:
        parts: Tables of one run, as CSV for a CSV or Parquet table, else as JSON Lines.
        path: The table; replaced whole or not at all.

    Raises:
        MediaError: A file cannot be read or written.
    """
    with write_errors_named(path):
        _make_table(parts, path)


def _make_table(parts: Sequence[Path], path: Path) -> None:
    with atomic_write(path) as temporary:
        convert_rows(parts, temporary)


def _csv_lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
