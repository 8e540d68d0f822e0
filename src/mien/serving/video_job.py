"""One video on disk: its folder, what is told of it, and reading it.

All that is known of a job lies in its folder, so that every worker of a service can tell of it.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mien.analysis.video.decoding import VideoGuard
from mien.analysis.video.frames import VideoFile
from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.stream import read_video
from mien.analysis.video.table import TableWriter, join_tables, open_table
from mien.analysis.video.timeline import Timeline
from mien.cache import atomic_write
from mien.errors import MediaError
from mien.serving.problems import Problem
from mien.serving.settings import ServiceSettings

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer

State = Literal["queued", "running", "done", "failed"]

#: Formats of the table, as the suffix of its file.
FORMATS: Final = ("json", "csv", "parquet")
#: From one note of how far it is to the next, in seconds.
_NOTE_S: Final = 0.3
#: Shorter episodes, in seconds, are left to the table.
_SHORTEST_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What is told of a job.

    Attributes:
        state: How far it is.
        source: What its sender calls the video.
        progress: The part that is read, 0 to 1.
        eta_s: Seconds until it is about done; None where that cannot be told.
        frames: Frames read.
        truncated: Why the video ended too early; None where it did not.
        ended_s: When it ended, in seconds since 1970; None before.
        problem: What went wrong, as problem details.
    """

    state: State = "queued"
    source: str
    progress: float = 0.0
    eta_s: float | None = None
    frames: int = 0
    truncated: str | None = None
    ended_s: float | None = None
    problem: dict[str, Any] | None = None


class Cancelled(Exception):  # noqa: N818 - no error
    """Nobody wants the video's reading any longer."""


class JobFolder:
    """A job's files.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.upload = path / "upload"
        self.summary = path / "summary.json"
        self._state = path / "state.json"
        self._cancel = path / "cancel"

    def table(self, suffix: str) -> Path:
        """Return the table's file in a format."""
        return self.path / f"faces.{suffix}"

    def read_state(self) -> JobState | None:
        """Return what is told of the job; None where this version can read nothing of it."""
        if self.is_cancelled:
            return None
        try:
            return JobState(**json.loads(self._state.read_text("utf-8")))
        except (FileNotFoundError, TypeError, ValueError):
            return None

    def write_state(self, state: JobState) -> None:
        """Tell how far the job is."""
        with atomic_write(self._state) as temporary:
            temporary.write_text(json.dumps(asdict(state)), "utf-8")

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants it any longer, or its folder went with a service that was killed."""
        return self._cancel.exists() or not self.path.exists()

    def cancel(self) -> None:
        """Have whoever reads it stop at the next frame."""
        with suppress(FileNotFoundError):
            self._cancel.touch()


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a video is read.

    Attributes:
        source: What its sender calls it.
        fps: Frames a second to read, at most; None for all.
    """

    source: str
    fps: float | None = None


async def check_video(path: Path, source: str, settings: ServiceSettings) -> None:
    """See that a file is a video within the limits, in a process that has limits of its own.

    Raises:
        Problem: It is not.
    """
    found = await _probe(path, settings)
    if found is None:
        detail = f"{source}: takes more time or memory to open than a clip may"
        raise Problem(422, "video-unreadable", detail)
    if "error" in found:
        raise Problem(422, "video-unreadable", found["error"].replace(str(path), source))
    width, height = found["size_wh"]
    if width * height > settings.max_pixels:  # thin pixels made square
        raise Problem(422, "video-unreadable", f"{source}: frames of {width} × {height} pixels")
    if found["duration_s"] is not None and found["duration_s"] > settings.max_video_s:
        raise _too_long(source, settings)


async def _probe(path: Path, settings: ServiceSettings) -> dict[str, Any] | None:
    """Return what :mod:`mien.serving.video_probe` tells; None where it was stopped by a limit."""
    # The key is none of its business, and it needs no threads of its own.
    environment = {name: value for name, value in os.environ.items() if name != "MIEN_API_KEY"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "mien.serving.video_probe"),
        *(str(path), str(settings.max_pixels)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment, "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        async with asyncio.timeout(settings.timeout_s):
            told, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found: dict[str, Any] | None = json.loads(told) if process.returncode == 0 else None
    return found


def run_job(
    folder: JobFolder, options: VideoOptions, analyzer: "Analyzer", settings: ServiceSettings
) -> JobState:
    """Read a video, and leave its table and summary in its folder.

    Returns:
        The job's last state.

    Raises:
        Cancelled: Nobody wants it any longer.
        MediaError: A table cannot be written.
        OSError: Nor can what is told of the job.
        Problem: The video cannot be read, or takes too long.
    """
    teller = _Teller(folder, JobState(source=options.source, state="running"), settings)
    guard = VideoGuard(max_pixels=settings.max_pixels, check=teller.check)
    with _told_as_problem(folder.upload, options.source):
        opened = VideoFile(folder.upload, fps=options.fps, guard=guard)
    with opened as video:
        frames = _read(video, analyzer, options.source)
        seen = teller.watch(frames, video.info.duration_s)
        tables = [open_table(folder.table(suffix), analyzer.classes) for suffix in ("json", "csv")]
        with tables[0], tables[1]:
            timeline = Timeline(_written(seen, tables))
        truncated = video.truncated
    # Its rows are the same as CSV's.
    join_tables([folder.table("csv")], folder.table("parquet"))
    summary = {"source": options.source, **summarise(timeline)}
    folder.summary.write_text(json.dumps(summary), "utf-8")
    return replace(
        teller.state,
        state="done",
        progress=1.0,
        eta_s=0.0,
        truncated=truncated,
    )


def summarise(timeline: Timeline) -> dict[str, Any]:
    """Return who showed what when and for how long, as plain JSON types."""
    return {
        "duration_s": timeline.end_s,
        "frames": len(timeline),
        "people": [asdict(person) for person in timeline.summary()],
        "episodes": [asdict(each) for each in timeline.episodes(min_s=_SHORTEST_S)],
    }


class _Teller:
    """Watches the frames go by, tells how far they are, and stops where that is due."""

    def __init__(self, folder: JobFolder, state: JobState, settings: ServiceSettings) -> None:
        self.state = state
        self._folder = folder
        self._settings = settings
        self._start = time.monotonic()
        folder.write_state(state)

    def check(self) -> None:
        """See that the reading is to go on; called for what gives no frame too.

        Raises:
            Cancelled: Nobody wants the video's reading any longer.
            Problem: It takes too long.
        """
        if self._folder.is_cancelled:
            raise Cancelled
        if time.monotonic() - self._start > self._settings.video_timeout_s:
            raise Problem(504, "too-slow", "the video was not read in time: send a shorter one")

    def watch(
        self, frames: Iterable[TrackedFrame], duration_s: float | None
    ) -> Iterator[TrackedFrame]:
        """Yield the frames.

        Raises:
            Cancelled: Nobody wants them any longer.
            Problem: The video is too long, or takes too long.
        """
        noted = self._start
        for count, frame in enumerate(frames, 1):
            self.check()
            now = time.monotonic()
            if frame.time_s > self._settings.max_video_s:
                raise _too_long(self.state.source, self._settings)
            self.state = replace(self.state, frames=count)
            if now - noted >= _NOTE_S:
                noted = now
                self._note(frame.time_s, duration_s, now - self._start)
            yield frame

    def _note(self, time_s: float, duration_s: float | None, spent_s: float) -> None:
        if duration_s:
            # Not 1, which is for what is done.
            progress = min(time_s / duration_s, 0.99)
            eta_s = round(spent_s * (1 / progress - 1), 1) if progress > 0 else None
            self.state = replace(self.state, progress=round(progress, 4), eta_s=eta_s)
        self._folder.write_state(self.state)


def _read(video: VideoFile, analyzer: "Analyzer", source: str) -> Iterator[TrackedFrame]:
    """Yield a video's frames.

    Raises:
        Problem: They cannot be decoded. What whoever takes them fails at is not the video's fault.
    """
    with _told_as_problem(video.path, source):
        yield from read_video(analyzer, video, source=source)


def _written(frames: Iterable[TrackedFrame], tables: list[TableWriter]) -> Iterator[TrackedFrame]:
    for frame in frames:
        for table in tables:
            table.write(frame)
        yield frame


class _told_as_problem:  # noqa: N801 - reads as the context manager that it is
    """Turns what is wrong with a video into a problem that does not tell where it lies."""

    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._source = source

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, MediaError):
            detail = str(error).replace(str(self._path), self._source)
            raise Problem(422, "video-unreadable", detail) from error


def _too_long(source: str, settings: ServiceSettings) -> Problem:
    most = settings.max_video_s
    return Problem(422, "video-too-long", f"{source}: lasts longer than {most:g} s: send a part")
