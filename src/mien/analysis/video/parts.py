"""The tables of a call: one of one clip, or one a clip on their way into a common one."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from mien.analysis.video.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from mien.analysis.video.clips import (
    ClipOutcome,
    ReadingOptions,
    ReadingStoppedError,
    describe_run,
)
from mien.analysis.video.table import file_stamp, join_tables, partial_file
from mien.analysis.video.table_formats import check_format, row_suffix
from mien.analysis.writers import write_errors_named
from mien.cache import atomic_write
from mien.errors import MediaError


class ClipTables:
    """Where the rows of clips go; several clips' to one table each, joined when the block ends.

    The tables of several clips stand in a folder beside the common one, ``faces.csv.parts``: each
    is whole or has its partial file, so a stopped run goes on with the clips that are left. What
    became of a clip stands beside its table; one whose table is whole without is read again.

    Args:
        table: The table of them all.
        clips: The clips as they were named.
        options: How they are read.
        several: Whether there is a table a clip first; without, there is one clip.
        resume: Go on after a stopped run; from the start where there is none.

    Attributes:
        paths: The table of each clip.
        rows_at: After the block: the table or, where it raised, the file or folder with the rows
            so far; None where there are none.

    Raises:
        MediaError: The suffix is another or the files cannot be written; there are rows of a
            stopped run and no ``resume``; or they cannot be resumed.
        MissingExtraError: Parquet is wanted, and pyarrow is not installed.
    """

    def __init__(
        self,
        table: Path,
        clips: Sequence[str],
        options: ReadingOptions,
        *,
        several: bool,
        resume: bool,
    ) -> None:
        check_format(table)
        self.table = table
        self.rows_at: Path | None = None
        self._folder = table.with_name(f"{table.name}.parts") if several else None
        if self._folder is None:
            self.paths = [table]
            return
        suffix = row_suffix(table)
        self.paths = [self._folder / f"{number:05d}{suffix}" for number in range(1, len(clips) + 1)]
        self._record = self._folder / "run.json"
        with write_errors_named(table):
            self._open(self._folder, describe_run(clips, options), resume=resume)

    def note(self, outcome: ClipOutcome, path: Path) -> None:
        """Keep what became of a clip of several that was read, for when the run is resumed.

        Args:
            outcome: What became of it.
            path: Its table.

        Raises:
            MediaError: It cannot be written.
        """
        if self._folder is None or outcome.error is not None:
            return
        with write_errors_named(self.table), atomic_write(_note_file(path)) as temporary:
            temporary.write_text(json.dumps(asdict(outcome)), "utf-8")

    def outcome(self, path: Path) -> ClipOutcome | None:
        """Return what became of a clip of several that a stopped run has read; None of others."""
        if not self._is_whole(path):
            return None
        try:
            values = json.loads(_note_file(path).read_text("utf-8"))
            return ClipOutcome(**{**values, "remarks": tuple(values["remarks"])})
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def _is_whole(self, path: Path) -> bool:
        return self._folder is not None and path.exists() and not partial_file(path).exists()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is None:
            self.rows_at = self.table if kind is None else self._stopped_at(error)
            return
        if kind is None:
            self._join(self._folder)
            return
        # What went wrong is told already, and is often why this fails too.
        with suppress(OSError, MediaError):
            self._stop(self._folder)

    def _stopped_at(self, error: BaseException | None) -> Path | None:
        """Return where the rows of the one clip are, whatever the reading was stopped by."""
        if isinstance(error, ReadingStoppedError):
            return error.rows_at
        partial = partial_file(self.table)
        return partial if partial.exists() else None

    def _join(self, folder: Path) -> None:
        written = [path for path in self.paths if path.exists()]
        if written:
            join_tables(written, self.table)
            self.rows_at = self.table
        shutil.rmtree(folder)

    def _stop(self, folder: Path) -> None:
        """Make the rows so far the table, where that replaces none, and keep what is resumed."""
        rows = [path if self._is_whole(path) else partial_file(path) for path in self.paths]
        rows = [path for path in rows if path.exists()]
        if not rows:
            shutil.rmtree(folder)
            return
        self.rows_at = folder
        kept = read_checkpoint(self._record)
        if kept is None or (self.table.exists() and file_stamp(self.table) != kept.so_far):
            return
        join_tables(rows, self.table)
        write_checkpoint(self._record, replace(kept, so_far=file_stamp(self.table)))
        self.rows_at = self.table

    def _open(self, folder: Path, made_by: dict[str, object], *, resume: bool) -> None:
        if folder.exists() and not resume:
            raise MediaError(
                f"{folder}: holds the rows of a run that was stopped: resume it, or delete it to "
                "start afresh"
            )
        if resume and not folder.exists() and self.table.exists():
            raise MediaError(f"{self.table}: is finished, there is nothing to resume")
        found = read_checkpoint(self._record)
        if found is None and folder.exists() and any(folder.iterdir()):
            # It would be deleted at the end, with whatever somebody keeps there.
            raise MediaError(f"{folder}: holds no run that can be resumed: move it or delete it")
        if found is not None:
            found.check_made_by(made_by, self.table, folder)
            for path in self.paths:
                if self._is_whole(path) and self.outcome(path) is None:
                    path.unlink()
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self._record, Checkpoint(made_by=made_by))


def _note_file(path: Path) -> Path:
    """Return where it stands what became of the clip that a table is of."""
    return path.with_name(f"{path.name}.outcome.json")
