"""What ``mien video`` tells while it reads: how far it is, and what became of each clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mien.cli.console import plain_console
from mien.errors import MediaError

if TYPE_CHECKING:
    from mien.analysis.video.clips import ClipJob, ClipOutcome


class ClipsDisplay:
    """A live bar on a terminal, of the seconds of video read; lines that stay, everywhere.

    Args:
        jobs: The clips to read.
    """

    def __init__(self, jobs: "Sequence[ClipJob]") -> None:
        console = plain_console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        # A clip may take long to open, which only a bar needs to know of all of them beforehand.
        self._lengths = {job.source: _length_s(job) for job in jobs} if console.is_terminal else {}
        self._task = self._progress.add_task(
            "reading", total=sum(self._lengths.values()) if self._lengths else None
        )
        self._done: dict[str, float] = {}

    def __enter__(self) -> "ClipsDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, job: "ClipJob", time_s: float) -> None:
        """Draw that a clip is read up to some time."""
        self._reach(job.source, time_s - job.options.start_s)

    def finish(self, outcome: "ClipOutcome") -> None:
        """Draw that a clip is done, and say what was wrong with it."""
        self._reach(outcome.source, self._lengths.get(outcome.source, 0.0))
        for line in outcome_lines(outcome):
            self._say(line)

    def _reach(self, source: str, seconds: float) -> None:
        if self._lengths:
            self._done[source] = min(seconds, self._lengths[source])
            self._progress.update(self._task, completed=sum(self._done.values()))

    def _say(self, line: str) -> None:
        # Typer writes names that are no valid text byte for byte; Rich does not.
        self._progress.stop()
        typer.echo(line, err=True)
        self._progress.start()


def outcome_lines(outcome: "ClipOutcome") -> list[str]:
    """Return what there is to tell of a clip that was read or not."""
    remarks = [f"{outcome.source}: {remark}" for remark in outcome.remarks]
    failure = failure_line(outcome)
    return [f"mien: {line}" for line in ([] if failure is None else [failure]) + remarks]


def failure_line(outcome: "ClipOutcome") -> str | None:
    """Return why a clip could not be read to its end; None where it could."""
    if outcome.error is not None:
        return outcome.error
    if outcome.truncated is not None:
        return f"{outcome.source}: {outcome.truncated}; the frames before were read"
    return None


def _length_s(job: "ClipJob") -> float:
    """Return how long a clip is as far as it is read; 0 where it cannot be told."""
    options = job.options
    try:
        with options.open_clip(Path(job.source)) as video:
            length = video.info.duration_s or 0.0
    except MediaError:
        return 0.0  # told when it is its turn
    end = length if options.end_s is None else min(length, options.end_s)
    return max(0.0, end - options.start_s)
