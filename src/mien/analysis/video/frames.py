"""Frames of video files, upright, each with its true time."""

import bisect
import math
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from mien.analysis.video.decoding import (
    FrameClock,
    FrameConverter,
    VideoGuard,
    find_video,
    import_av,
    open_input,
    rate_of,
    reason,
)
from mien.analysis.video.scenes import CutFinder
from mien.analysis.video.selection import TICK_S, Selection, check_selection
from mien.errors import MediaError
from mien.pictures import MAX_PIXELS, check_size

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

#: A file that ends this much before the end that it tells of is cut short.
_MISSING_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One upright frame.

    Attributes:
        index: Its place in the video, counted from 0 over all frames, read or not.
        time_s: Its presentation time in seconds from the video's first frame.
        image_rgb: ``(H, W, 3)`` uint8.
        after_cut: Whether there is a cut between the frame taken before and this one, seen where
            frames are left out.
    """

    index: int
    time_s: float
    image_rgb: npt.NDArray[np.uint8]
    after_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a video says of itself.

    Attributes:
        size_wh: Width and height in pixels of the upright frames, with square pixels.
        duration_s: How long it lasts; None where it does not say.
        frame_count: About how many frames it has; None where it does not say.
        fps: Frames a second on average; None where it does not say.
        rotation_deg: Clockwise turn, 0, 90, 180 or 270, that brings the stored frames upright.
        has_audio: Whether there is sound.
    """

    size_wh: tuple[int, int]
    duration_s: float | None
    frame_count: int | None
    fps: float | None
    rotation_deg: int
    has_audio: bool


class VideoFile:
    """A video file, to be iterated over, as often as wanted, for its frames.

    Frames are decoded while they are taken, so memory does not grow with the video. What cannot be
    decoded is left out and counted; a file that breaks off gives what there is of it.

    With ``start_s``, decoding begins at the key frame before it. So that ``index`` stays true, the
    packets up to there are counted, which reads them but does not decode them; where a file does
    not tell its packets' times, decoding begins at its first frame.

    >>> with VideoFile("clip.mp4", fps=5) as video:  # doctest: +SKIP
    ...     for frame in video:
    ...         print(frame.time_s, frame.image_rgb.shape)

    Args:
        path: A file in any format that FFmpeg reads.
        every: Take each so many-th frame.
        fps: Take at most so many frames a second: the first at or after each such moment, by its
            time, so that it is right with a variable frame rate too.
        start_s: Leave out what is shown before, in seconds from the first frame.
        end_s: Leave out what is shown at that time and later.
        guard: What is held against a file of somebody one does not know.

    Attributes:
        path: The path as given.
        info: What the video says of itself.
        start_s: As given.
        end_s: As given.
        origin_s: The first frame's time on the file's own clock.
        truncated: After iterating, why the file ended too early; None where it did not.
        damaged: Frames, in the last iteration, that could not be decoded.

    Raises:
        MediaError: The file cannot be read, holds no video, or ends before ``start_s``, which
            some files only show when iterated over.
        MissingExtraError: PyAV is not installed.
        ValueError: An argument is out of range, or both ``every`` and ``fps`` are given.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int = 1,
        fps: float | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        guard: VideoGuard | None = None,
    ) -> None:
        check_selection(every, fps, start_s, end_s)
        self.path = Path(path)
        self.start_s = start_s
        self.end_s = end_s
        self.truncated: str | None = None
        self.damaged = 0
        self._every = every
        self._fps = fps
        self._guard = guard
        self._running: Generator[VideoFrame, None, None] | None = None
        with self._open() as container:
            self.info, self.origin_s, self._converter = self._probe(container)
            if container.duration and start_s >= container.duration / 1e6:
                raise self._starts_too_late(container.duration / 1e6)

    def __repr__(self) -> str:
        return f"VideoFile({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End an iteration that is under way, and with it let go of the file."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.after(-1)

    def after(
        self, index: int, *, on_passed: Callable[[float], None] = lambda _: None
    ) -> Iterator[VideoFrame]:
        """Iterate over the frames after one, the very same as iterating over all would give.

        All are decoded, which is the one way to that; those before are not made into pictures.

        Args:
            index: The index of the frame that the first one follows.
            on_passed: Told the time in seconds of each frame up to there that would be given;
                what it raises ends the iteration.
        """
        self.close()
        self._running = self._read(index, on_passed)
        return self._running

    def walk(self) -> None:
        """Read the file to its end without decoding it, as a file of a stranger is tried.

        Raises:
            MediaError: It cannot be opened, or says that it holds more than there is memory for.
        """
        av = import_av()
        with self._open() as container, suppress(av.FFmpegError):
            try:
                for _ in container.demux(find_video(container, str(self.path))):
                    if self._guard is not None:
                        self._guard.check()
            except MemoryError as error:  # FFmpeg's own is one too
                raise MediaError(f"{self.path}: takes more memory than a video may") from error

    def _open(self) -> "InputContainer":
        if self.path.is_dir():
            raise MediaError(f"{self.path}: a folder, not a video")
        # A playlist in the guise of a video must not fetch from the network.
        options = {"protocol_whitelist": "file"}
        if self._guard is not None:
            options |= self._guard.container_options()
        return open_input(f"file:{self.path}", str(self.path), self._tell, options=options)

    def _tell(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):
            return "no such file"
        if isinstance(error, OSError):
            return f"cannot be read: {reason(error)}"
        if self.path.stat().st_size == 0:
            return "an empty file"
        return "cannot be read as a video: it is another kind of file, damaged or cut short"

    def _probe(self, container: "InputContainer") -> tuple[VideoInfo, float, FrameConverter]:
        """Return what the file says, its first frame's time on its own clock, and a converter."""
        stream = find_video(container, str(self.path))
        # Before memory is taken for a frame; raw streams only tell their size in the first one.
        most = MAX_PIXELS if self._guard is None else self._guard.max_pixels
        check_size(stream.width or 1, stream.height or 1, str(self.path), max_pixels=most)
        frame = next((found for found in self._decode(container, stream) if found), None)
        if frame is None:
            raise MediaError(f"{self.path}: none of its frames can be decoded")
        converter = FrameConverter(frame, stream.sample_aspect_ratio)
        duration_s, rate = _duration_s(container, stream), rate_of(stream)
        estimate = round(duration_s * rate) if duration_s and rate else None
        info = VideoInfo(
            size_wh=converter.size_wh,
            duration_s=duration_s,
            frame_count=stream.frames or estimate,
            fps=rate,
            rotation_deg=converter.turn.rotation_deg,
            has_audio=bool(container.streams.audio),
        )
        return info, 0.0 if frame.pts is None else frame.time, converter

    def _read(
        self, after: int, on_passed: Callable[[float], None]
    ) -> Generator[VideoFrame, None, None]:
        """Yield the wanted frames after one."""
        self.truncated, self.damaged = None, 0
        selection = Selection(self._every, self._fps, self.start_s)
        leaves_out = self._every > 1 or self._fps is not None
        cuts, is_cut = CutFinder(), False
        with closing(self._decode_timed()) as frames:
            for index, time_s, frame in frames:
                if self.end_s is not None and time_s >= self.end_s - TICK_S:
                    return
                if leaves_out:
                    is_cut |= cuts.is_cut(self._converter.shrink(frame))
                if not selection.takes(index, time_s):
                    continue
                if index <= after:
                    on_passed(time_s)
                else:
                    yield VideoFrame(index, time_s, self._converter.convert(frame), is_cut)
                is_cut = False

    def _decode_timed(self) -> Generator[tuple[int, float, "av.VideoFrame"], None, None]:
        """Yield index, time and frame, from the key frame before the start on, to the end."""
        jump = self._plan_jump() if self.start_s > 0 else None
        clock = FrameClock(self.origin_s, self.info.fps)
        with self._open() as container:
            stream = find_video(container, str(self.path))
            if jump is not None:
                container.seek(jump.seek_to, stream=stream)
            index, shown_until_s = 0, 0.0
            for frame in self._decode(container, stream):
                if frame is None:
                    self.damaged += 1
                elif jump is not None and frame.pts is not None and frame.pts <= jump.until:
                    index = bisect.bisect_left(jump.shown, frame.pts)
                if frame is not None:
                    time_s = clock.read(frame)
                    yield index, time_s, frame
                    shown_until_s = time_s + float((frame.duration or 0) * (frame.time_base or 0))
                index += 1
            promised_s = _duration_s(container, stream, own=True)
        if clock.last_s < self.start_s - TICK_S:
            raise self._starts_too_late(shown_until_s)
        if self.truncated is None and promised_s and shown_until_s < promised_s - _MISSING_S:
            self.truncated = f"ends after {shown_until_s:.1f} s of {promised_s:.1f} s"

    def _decode(
        self, container: "InputContainer", stream: "VideoStream"
    ) -> Generator["av.VideoFrame | None", None, None]:
        """Yield a stream's frames in the order they are shown; None for one that is damaged."""
        av = import_av()
        stream.thread_type = "AUTO"
        if self._guard is not None:
            self._guard.prepare(stream)
        packets = container.demux(stream)
        while True:
            if self._guard is not None:
                self._guard.check()
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.truncated = f"cannot be read further: {reason(error)}"
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                yield None
                continue
            for frame in frames:
                yield None if frame.is_corrupt else frame

    def _starts_too_late(self, ends_s: float) -> MediaError:
        return MediaError(
            f"{self.path}: ends at {ends_s:.2f} s, it cannot start at {self.start_s:g} s"
        )

    def _plan_jump(self) -> "_Jump | None":
        """Return where to begin for the start; None where that is the first frame."""
        av = import_av()
        with self._open() as container:
            stream = find_video(container, str(self.path))
            # Some of VP8's packets are never shown, so they cannot be counted.
            if stream.time_base is None or stream.codec_context.name == "vp8":
                return None
            target = math.floor((self.origin_s + self.start_s + TICK_S) / stream.time_base)
            try:
                return _find_jump(container, stream, target)
            except (av.FFmpegError, StopIteration):
                return None


@dataclass(frozen=True, slots=True)
class _Jump:
    """Where decoding may begin.

    Attributes:
        seek_to: What seeking to leads to the key frame, in the stream's time base.
        until: The presentation time up to which frames are counted by their times, the start's.
        shown: The presentation times of all frames up to there and of some after, sorted.
    """

    seek_to: int
    until: int
    shown: list[int]


def _find_jump(container: "InputContainer", stream: "VideoStream", target: int) -> _Jump | None:
    """Return how to get to the last key frame shown at or before a time in the stream's base.

    None where that is the first one, or cannot be known.
    """
    shown: list[int] = []
    keys: list[Packet[VideoStream]] = []
    for packet in container.demux(stream):
        if packet.size == 0:
            break
        if packet.pts is None or packet.dts is None:
            return None
        # Nothing is shown before it is decoded, so from here on all is shown later.
        if packet.dts > target:
            break
        if packet.is_discard:
            continue
        shown.append(packet.pts)
        if packet.is_keyframe and packet.pts <= target:
            keys = [*keys[-1:], packet]
    if len(keys) < 2:
        return None
    key = keys[-1]
    # Some containers are searched by one time, some by the other, and some only roughly: a start
    # that came too late would lose frames.
    for seek_to in (key.pts, key.dts):
        assert seek_to is not None
        container.seek(seek_to, stream=stream)
        landed_dts = next(container.demux(stream)).dts
        if landed_dts is not None and key.dts is not None and landed_dts <= key.dts:
            return _Jump(seek_to, target, sorted(shown))
    return None


def _duration_s(
    container: "InputContainer", stream: "VideoStream", *, own: bool = False
) -> float | None:
    """Return how long a file lasts, or its ``own`` pictures alone; None where it does not say."""
    alone = len(container.streams) == 1
    # MP4 counts a stream's length in decoding times, with B frames too short by a few frames.
    if stream.duration and stream.time_base and not (alone and container.duration):
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration and (alone or not own) else None
