"""Video files read into tables: which there are, one read from its start or on from a stop."""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import mien
from mien.analysis.media import URL, FileKind, find_files, without_login
from mien.analysis.options import AnalyzerOptions
from mien.analysis.processes import WorkStoppedError
from mien.analysis.video.table import TableWriter, open_table
from mien.errors import MediaError
from mien.folders import is_hidden, walk_files
from mien.metadata import file_sha256, model_path

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer
    from mien.analysis.video.annotated import AnnotatedVideo
    from mien.analysis.video.frames import VideoFile, VideoFrame
    from mien.analysis.video.results import TrackedFrame
    from mien.analysis.video.stream import FrameReader

#: Videos in a folder: the containers that people keep clips in. A file named by itself may be of
#: any format that FFmpeg reads.
CLIP_SUFFIXES: Final = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".3gp", ".ogv"),
)
#: How the names of annotated clips end, which folders and patterns leave out.
ANNOTATED_SUFFIX: Final = "-mien.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions(AnalyzerOptions):
    """How clips are read, beside how the analyzer is opened; all but names that rows depend on.

    Attributes:
        every: Read each so manieth frame.
        fps: Read so many frames a second of video instead.
        start_s: From so many seconds after the clip's first frame.
        end_s: Up to there; None for the end.
    """

    every: int = 1
    fps: float | None = None
    start_s: float = 0.0
    end_s: float | None = None

    def open_clip(self, path: Path) -> "VideoFile":
        """Open a clip to read the frames that are wanted.

        Raises:
            MediaError: It cannot be read.
            MissingExtraError: PyAV is not installed.
        """
        from mien.analysis.video.frames import VideoFile  # noqa: PLC0415 - opens FFmpeg

        return VideoFile(
            path, every=self.every, fps=self.fps, start_s=self.start_s, end_s=self.end_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipJob:
    """One clip to read.

    Attributes:
        source: The clip as it was named.
        table: Where its rows go.
        annotated: Where it goes with boxes and labels; None for nowhere.
        resume: Go on after the rows of a stopped run.
        options: How it is read.
    """

    source: str
    table: Path
    annotated: Path | None = None
    resume: bool = False
    options: ReadingOptions = field(default_factory=ReadingOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOutcome:
    """What became of a clip.

    Attributes:
        source: The clip as it was named.
        frames: Frames in its table.
        error: Why it could not be read; None where it could.
        truncated: Why its end could not be read; None where it could.
        remarks: What else its owner should know, a line each.
    """

    source: str
    frames: int = 0
    error: str | None = None
    truncated: str | None = None
    remarks: tuple[str, ...] = ()


class ReadingStoppedError(WorkStoppedError):
    """The reading of a clip was stopped, as it was asked to.

    Args:
        source: The clip.
        frames: Frames read so far.
        rows_at: The file with their rows; None where there are none.
    """

    def __init__(self, source: str, frames: int, rows_at: Path | None) -> None:
        super().__init__(source, frames, rows_at)
        self.source, self.frames, self.rows_at = source, frames, rows_at


def find_clips(sources: Iterable[str]) -> list[str]:
    """Return the video files that paths, folders and patterns stand for.

    A folder gives the videos in it and in its folders, a pattern (``*``, ``?``, ``[``, ``**``)
    the videos that match; both sorted by name, without hidden ones and those that ``mien video
    --annotate`` wrote. A file given by name is returned whatever its name; one that comes up
    twice, once.

    Raises:
        MediaError: A source does not exist, is a URL, or stands for no video at all.
    """
    return list(find_files(sources, _CLIPS))


def read_clip(
    job: ClipJob,
    analyzer: "Analyzer",
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[float], None] = lambda _: None,
) -> ClipOutcome:
    """Read one clip into its table.

    Args:
        job: The clip.
        analyzer: What reads it, opened by ``job.options``.
        should_stop: Asked after each frame.
        on_frame: Told the time of each frame in seconds when its rows are written; before, by a
            thread of its own, of those whose rows a stopped run wrote.

    Raises:
        ReadingStoppedError: It was stopped; what is read so far is kept and can be resumed.
        MediaError: The clip cannot be read, or a file not written.
        MissingExtraError: A package of the extra ``video`` is not installed.
    """
    from mien.analysis.video.stream import FrameReader  # noqa: PLC0415 - comes with ONNX Runtime

    table: TableWriter | None = None
    try:
        with ExitStack() as stack:
            video = stack.enter_context(job.options.open_clip(Path(job.source)))
            reader = FrameReader(analyzer, source=job.source)
            table = stack.enter_context(
                open_table(
                    job.table,
                    analyzer.classes,
                    resume=job.resume,
                    made_by=describe_run([job.source], job.options),
                    state=reader.state,
                )
            )
            annotated = _open_annotated(stack, job, video)
            checkpoint = table.checkpoint

            def go_on(time_s: float) -> None:
                on_frame(time_s)
                if should_stop():
                    checkpoint()
                    raise _StopAskedError

            for frame, result in _read_left(stack, analyzer, video, reader, table, go_on):
                table.write(result)
                if annotated is not None:
                    annotated.write(frame, result)
                go_on(frame.time_s)
    except _StopAskedError:
        assert table is not None
        raise ReadingStoppedError(job.source, table.frames, table.rows_at) from None
    return ClipOutcome(
        source=job.source,
        frames=table.frames,
        truncated=video.truncated,
        remarks=tuple(_remarks(video, annotated)),
    )


def _read_left(
    stack: ExitStack,
    analyzer: "Analyzer",
    video: "VideoFile",
    reader: "FrameReader",
    table: TableWriter,
    on_passed: Callable[[float], None],
) -> "Iterator[tuple[VideoFrame, TrackedFrame]]":
    """Yield the frames that are not in the table yet, with what is read in them."""
    from mien.analysis.video.stream import read_video  # noqa: PLC0415 - comes with ONNX Runtime

    done = -1
    if table.resumed is not None:
        reader.restore(table.resumed.reader)
        done = table.resumed.last_index
    # Frames that are decoded, by a thread, and wait for their results.
    waiting: deque[VideoFrame] = deque()

    def frames_left() -> "Iterator[VideoFrame]":
        for frame in video.after(done, on_passed=on_passed):
            waiting.append(frame)
            yield frame

    results: Any = read_video(analyzer, frames_left(), source=reader.source, reader=reader)
    # Before the video is closed, since that thread may be decoding.
    stack.callback(results.close)
    for result in results:
        yield waiting.popleft(), result


def _remarks(video: "VideoFile", annotated: "AnnotatedVideo | None") -> Iterator[str]:
    if video.damaged:
        frames = "frame" if video.damaged == 1 else "frames"
        yield f"{video.damaged:,} {frames} could not be decoded and were left out"
    if annotated is not None and annotated.silent_because is not None:
        yield f"{annotated.path} has no sound: {annotated.silent_because}"


def describe_run(clips: Sequence[str], options: ReadingOptions) -> dict[str, Any]:
    """Return what the rows of clips depend on, as JSON types; threads are none of it."""
    names = ("every", "fps", "start_s", "end_s", "min_face", "uncertain_below", "tta")
    return {
        "the list of clips": [str(Path(clip).absolute()) for clip in clips],
        **{f"the state of {clip}": _file_state(Path(clip)) for clip in clips},
        "the model's SHA-256": _model_sha256(model_path(options.model)),
        "the version of mien": mien.__version__,
        **{name: getattr(options, name) for name in names},
    }


# What cannot be read is told when it is opened.
def _file_state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "not there"
    return f"{status.st_size} bytes of time {status.st_mtime_ns}"


def _model_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return "not there"


class _StopAskedError(Exception):
    """Leaves the blocks of what is written; where the rows are is known only after them."""


def _open_annotated(stack: ExitStack, job: ClipJob, video: "VideoFile") -> "AnnotatedVideo | None":
    if job.annotated is None:
        return None
    from mien.analysis.video.annotated import AnnotatedVideo  # noqa: PLC0415 - opens FFmpeg

    job.annotated.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(AnnotatedVideo(job.annotated, video=video))


def _refuse_url(source: str) -> None:
    if URL.match(source):
        name = without_login(source)
        raise MediaError(f"{name}: a URL, not a file; 'mien webcam' reads streams")


def _is_clip(path: str) -> bool:
    name = path.lower()
    wanted = name.endswith(CLIP_SUFFIXES) and not name.endswith(ANNOTATED_SUFFIX)
    return wanted and not is_hidden(path)


_CLIPS: Final = FileKind(
    noun="video",
    suffixes=CLIP_SUFFIXES,
    list_folder=functools.partial(walk_files, takes=_is_clip),
    takes=lambda parts: _is_clip(parts[-1]),
    refuse_url=_refuse_url,
)
