"""``mien webcam``: read the expressions in front of a camera, as they come."""

import functools
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Final, Protocol, Self

import typer

from mien.cli.analyze import MinFaceOption, ModelOption, TtaOption, UncertainOption
from mien.cli.outputs import announce, check_output
from mien.cli.runs import counted
from mien.cli.video import TableOption
from mien.errors import MediaError, require_extra

if TYPE_CHECKING:
    from PIL import Image

    from mien.analysis.video.annotated import AnnotatedVideo
    from mien.analysis.video.camera import LiveSource
    from mien.analysis.video.frames import VideoFrame
    from mien.analysis.video.results import TrackedFrame
    from mien.analysis.video.stream import FrameReader
    from mien.analysis.video.table import TableWriter

#: How long to wait for a frame before the window is attended to.
_PATIENCE_S: Final = 0.1
#: Share of the newest frame in the averages of rate and latency: about the last ten frames.
_NEWEST: Final = 0.1


class View(Protocol):
    """Something that shows what is read."""

    closed: bool

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, seen: "Seen", pace: "Pace") -> None:
        """Show one frame and what was read in it."""
        ...

    def idle(self) -> None:
        """Do what is to be done while no frame comes."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One frame and what was read in it."""

    frame: "VideoFrame"
    result: "TrackedFrame"

    @functools.cached_property
    def annotated(self) -> "Image.Image":
        """The frame with boxes and labels, drawn when first asked for."""
        from mien.analysis.video.annotated import annotate_frame  # noqa: PLC0415

        return annotate_frame(self.frame, self.result)


@dataclass(kw_only=True)
class Pace:
    """How reading keeps up.

    Attributes:
        name: What is read.
        frames: Frames read.
        period_s: From one frame shown to the next, lately; 0 before the second.
        latency_ms: From a frame's decoding until it is shown, lately.
        dropped: Frames that came while another was being read.
        damaged: Frames that could not be decoded.
        reconnected: How often a stream was reconnected to.
    """

    name: str
    frames: int = 0
    period_s: float = 0.0
    latency_ms: float = 0.0
    dropped: int = 0
    damaged: int = 0
    reconnected: int = 0

    def add(self, *, since_s: float | None, latency_s: float) -> None:
        """Take one more frame in.

        Args:
            since_s: Seconds since the frame before was shown; None for the first.
            latency_s: Seconds since this one was decoded.
        """
        self.frames += 1
        if since_s is not None:
            self.period_s = _average(self.period_s, since_s)
        self.latency_ms = _average(self.latency_ms, latency_s * 1000)

    @property
    def fps(self) -> float:
        """Frames read a second, lately."""
        return 1 / self.period_s if self.period_s else 0.0

    def to_line(self) -> str:
        """Return it as a line for people."""
        parts = [
            self.name,
            f"{self.fps:.1f} frames/s",
            f"latency {self.latency_ms:.0f} ms",
            f"{self.dropped:,} dropped",
        ]
        if self.damaged:
            parts.append(f"{self.damaged:,} damaged")
        if self.reconnected:
            parts.append(f"reconnected {counted(self.reconnected, 'time')}")
        return " · ".join(parts)


def _average(before: float, newest: float) -> float:
    return before + (newest - before) * _NEWEST if before else newest


def webcam(
    source: Annotated[
        str, typer.Argument(metavar="[SOURCE]", help="A camera's number, a file or a URL.")
    ] = "0",
    *,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Show it in the terminal, not in a window.")
    ] = False,
    output: TableOption = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write FILE.mp4: what is shown, without sound."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so long.", show_default="never")
    ] = None,
    model: ModelOption = None,
    min_face: MinFaceOption = None,
    uncertain_below: UncertainOption = None,
    tta: TtaOption = None,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0: all it may use.")] = 0,
) -> None:
    """Read the expressions in front of a camera, in a window or in the terminal.

    The newest frame is read, always; those that come meanwhile are dropped. SOURCE may be a file,
    played at its own speed, or a stream such as rtsp://HOST/PATH. Ctrl-C, SIGTERM, or q in the
    window, ends it, with all that was read written.

    Example: mien webcam --seconds 60 --output me.csv --record me.mp4
    """
    with require_extra("video"):
        from mien.analysis.analyzer import Analyzer  # noqa: PLC0415
        from mien.analysis.video.annotated import AnnotatedVideo  # noqa: PLC0415
        from mien.analysis.video.camera import LiveSource  # noqa: PLC0415
        from mien.analysis.video.stream import FrameReader  # noqa: PLC0415
        from mien.analysis.video.table import open_table  # noqa: PLC0415
        from mien.analysis.video.table_formats import TABLE_SUFFIXES  # noqa: PLC0415
        from mien.cli.signals import stop_on_signals  # noqa: PLC0415

        if seconds is not None and math.isnan(seconds):
            raise typer.BadParameter("--seconds: nan is no length; leave it out to go on for ever")
        check_output(output, suffixes=TABLE_SUFFIXES, sources=[Path(source)])
        check_output(record, option="--record", suffixes=(".mp4",), sources=[Path(source)])
        with ExitStack() as stack:
            analyzer = Analyzer(
                model,
                min_face=min_face,
                threads=threads,
                uncertain_below=uncertain_below,
                tta=tta,
            )
            # Opens it now, so that no frame of a file or stream goes by meanwhile.
            _ = analyzer.detector
            live = stack.enter_context(LiveSource(source))
            # Left after what is written: signals may come twice, and closing a file takes a while.
            stopped = stack.enter_context(stop_on_signals())
            watch = _Watch(live, FrameReader(analyzer, source=live.name))
            if output is not None:
                watch.table = stack.enter_context(open_table(output, analyzer.classes))
            if record is not None:
                watch.record = stack.enter_context(AnnotatedVideo(record, fps=live.fps))
            view = stack.enter_context(_open_view(live.name, terminal=terminal))
            lost = watch.run(view, stopped, seconds)
            if lost is not None and not watch.pace.frames:
                raise lost  # nothing is to be written, and what cannot be for that is not told
    for path in (output, record):
        if path is not None:
            announce(path)
    typer.echo(f"{watch.pace.frames:,} frames read: {watch.pace.to_line()}", err=True)
    if lost is not None:
        raise lost


class _Watch:
    """Reads the newest frame again and again."""

    def __init__(self, live: "LiveSource", reader: "FrameReader") -> None:
        self.table: TableWriter | None = None
        self.record: AnnotatedVideo | None = None
        self.pace = Pace(name=live.name)
        self._live = live
        self._reader = reader

    def run(
        self, view: View, stopped: Callable[[], bool], seconds: float | None
    ) -> MediaError | None:
        """Read until the end, a stop or so many seconds.

        Returns:
            What ended the source before its time, after which what was read is to be written.
        """
        until_s = time.perf_counter() + (seconds or float("inf"))
        shown_s: float | None = None
        while not (stopped() or view.closed or time.perf_counter() >= until_s):
            try:
                frame = self._live.newest(timeout_s=_PATIENCE_S)
            except MediaError as error:
                return error
            if frame is None:
                if self._live.ended:
                    if not self.pace.frames:
                        return MediaError(f"{self._live.name}: none of its frames can be decoded")
                    break
                view.idle()
                continue
            self._read(view, frame)
            now_s = time.perf_counter()
            since_s = None if shown_s is None else now_s - shown_s
            self.pace.add(since_s=since_s, latency_s=self._live.latency_s or 0.0)
            shown_s = now_s
        return None

    def _read(self, view: View, frame: "VideoFrame") -> None:
        """Read one frame, write what is wanted of it, and show it."""
        seen = Seen(frame=frame, result=self._reader.read(frame))
        if self.table is not None:
            self.table.write(seen.result)
        if self.record is not None:
            self.record.write_image(seen.annotated, frame.time_s)
        self.pace.dropped = self._live.dropped
        self.pace.damaged = self._live.damaged
        self.pace.reconnected = self._live.reconnected
        view.show(seen, self.pace)


def _open_view(name: str, *, terminal: bool) -> View:
    """Return a window where there is a display, else what the terminal can show."""
    from mien.cli.live_terminal import TerminalView  # noqa: PLC0415
    from mien.cli.live_window import WindowView, has_display  # noqa: PLC0415

    if terminal or not has_display():
        return TerminalView()
    return WindowView(name)
