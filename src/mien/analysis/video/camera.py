"""Cameras, streams and files as they come: always the newest frame, never a queue."""

import math
import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from mien.analysis.video.address import find_address, tell_camera
from mien.analysis.video.decoding import (
    FrameClock,
    FrameConverter,
    find_video,
    import_av,
    open_input,
    rate_of,
    reason,
)
from mien.analysis.video.frames import VideoFrame
from mien.errors import MediaError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

#: Lists of pieces, by FFmpeg's names; their size is not that of what they list.
_PLAYLISTS: Final = ("hls", "dash")
#: FFmpeg's AVFMT_NOTIMESTAMPS: the frames of a format tell no times.
_NO_TIMES: Final = 0x80
#: How long the thread is waited for; it may be stuck in a read until that times out.
_JOIN_S: Final = 1.0
#: Seconds before the first attempt to reconnect; each further one waits twice as long.
_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Arrival:
    """A decoded frame that waits to be taken."""

    index: int
    time_s: float
    frame: "av.VideoFrame"
    arrived_s: float
    converter: FrameConverter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manner:
    """How what was opened is to be played.

    Attributes:
        is_whole: It has an end, after which nothing comes.
        is_paced: Frames come faster than they are to be shown, as a file's do.
        has_times: Its times are its own; FFmpeg invents some where a format knows none.
    """

    is_whole: bool
    is_paced: bool
    has_times: bool

    @classmethod
    def of(cls, container: "InputContainer", kind: str) -> Self:
        is_list = container.format.name in _PLAYLISTS
        # The duration of a list is known once nothing is added to it any more.
        has_end = container.duration is not None if is_list else container.size > 0
        is_whole = kind == "file" or (kind == "stream" and has_end)
        is_paced = is_whole or is_list
        has_times = is_paced or not container.format.flags & _NO_TIMES
        return cls(is_whole=is_whole, is_paced=is_paced, has_times=has_times)


class LiveSource:
    """A camera, a stream or a file whose frames are taken as they come.

    A thread decodes; :meth:`newest` gives the newest frame there is, and those it overtakes are
    dropped, so that what is seen is always now, however long reading a frame takes. Files are
    played at their own speed. A stream that breaks off is reconnected to; one that has a known
    length and comes to its end is over.

    Args:
        source: A camera's number or device path, a file, or a URL (``rtsp://``, ``http://`` …).
        timeout_s: How long a stream may stay silent before it is taken to be broken.
        attempts: How often in a row it is reconnected to before that is given up.

    Attributes:
        name: What people call it; a URL without its user and password.
        fps: Frames a second that it says it has; None where it does not.
        dropped: Frames that came and were overtaken.
        damaged: Frames that could not be decoded.
        reconnected: How often a stream was reconnected to.

    Raises:
        ValueError: ``timeout_s`` or ``attempts`` is negative.
    """

    def __init__(
        self, source: int | str | os.PathLike[str], *, timeout_s: float = 10.0, attempts: int = 4
    ) -> None:
        if timeout_s <= 0 or attempts < 0:
            raise ValueError(f"timeout_s {timeout_s} or attempts {attempts} is out of range")
        self._address = find_address(source, timeout_s)
        self.name = self._address.name
        self.fps: float | None = None
        self.dropped = 0
        self.damaged = 0
        self.reconnected = 0
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._waiting: _Arrival | None = None
        self._ended = False
        self._error: MediaError | None = None
        self._thread: threading.Thread | None = None
        self._is_live = False
        self._index = 0
        self._last_s = 0.0
        self._failures = 0
        self._taken_arrived_s: float | None = None

    def __repr__(self) -> str:
        return f"LiveSource({self.name!r})"

    def __enter__(self) -> Self:
        """Open the source and start decoding.

        Raises:
            MediaError: It cannot be opened; the message says what to do.
            MissingExtraError: PyAV is not installed.
        """
        container = self._open()
        self._thread = threading.Thread(
            target=self._run, args=(container,), name=f"decoding {self.name}", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    @property
    def ended(self) -> bool:
        """Whether no frame will come any more."""
        with self._changed:
            return self._ended and self._waiting is None

    @property
    def latency_s(self) -> float | None:
        """Seconds since the frame taken last had been decoded; None before the first."""
        arrived_s = self._taken_arrived_s
        return None if arrived_s is None else time.perf_counter() - arrived_s

    def newest(self, *, timeout_s: float | None = None) -> VideoFrame | None:
        """Return the newest frame not yet taken, waiting for it.

        Args:
            timeout_s: How long to wait; by default until there is a frame or the end.

        Returns:
            The frame, its time counted from the first one; None at the end, which :attr:`ended`
            tells from a ``timeout_s`` that passed.

        Raises:
            MediaError: The camera was unplugged, or a stream broke off and stayed away.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._ended, timeout_s)
            arrival, self._waiting = self._waiting, None
            if arrival is None:
                if self._error is not None:
                    raise self._error
                return None
        self._taken_arrived_s = arrival.arrived_s
        image_rgb = arrival.converter.convert(arrival.frame)
        return VideoFrame(arrival.index, arrival.time_s, image_rgb)

    def _open(self) -> "InputContainer":
        import_av()
        address = self._address
        container = open_input(
            address.url,
            address.name,
            self._tell,
            format=address.format,
            options=address.options,
            timeout=(self._timeout_s, self._timeout_s),
        )
        try:
            rate = rate_of(find_video(container, self.name))
            self.fps = rate if _Manner.of(container, address.kind).has_times else None
        except MediaError:
            container.close()
            raise
        return container

    def _run(self, container: "InputContainer") -> None:
        """Decode until the end, a stop or an error that stays."""
        began_s = time.perf_counter()
        open_now: InputContainer | None = container
        try:
            while open_now is not None:
                with open_now:
                    over = self._play(open_now, began_s)
                open_now = None if over else self._reconnect()
        except MediaError as error:
            self._error = error
        except Exception as error:  # a thread's own would never be seen
            self._error = MediaError(f"{self.name}: {reason(error)}")
            self._error.__cause__ = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _play(self, container: "InputContainer", began_s: float) -> bool:
        """Decode one connection's frames; return whether nothing comes after them."""
        av = import_av()
        address = self._address
        manner = _Manner.of(container, address.kind)
        if manner.is_whole and self._is_live:
            return True  # what was live has ended, and its record would begin anew
        self._is_live = not manner.is_whole
        stream = find_video(container, self.name)
        # Threads by frames would hold back as many frames as there are threads.
        stream.thread_type = "SLICE"
        player = _Player(
            stream,
            manner,
            start_s=self._resume_s(began_s),
            longest_wait_s=self._timeout_s if address.kind == "stream" else math.inf,
        )
        try:
            for packet in container.demux(stream):
                for frame in self._decode(packet):
                    time_s, wait_s = player.time(frame)
                    if self._stop.wait(wait_s):
                        return True
                    self._offer(frame, time_s, player.converter)
                if self._stop.is_set():
                    return True
        except av.FFmpegError as error:
            if address.kind != "stream":
                hint = "; is it unplugged?" if address.kind == "camera" else ""
                lost = f"{self.name}: cannot be read further: {reason(error)}{hint}"
                raise MediaError(lost) from error
            return False
        if address.kind == "camera":
            raise MediaError(f"{self.name}: gives no frames any more; is it unplugged?")
        return manner.is_whole

    def _resume_s(self, began_s: float) -> float:
        """Return the time of a connection's first frame."""
        if not self._index:
            return 0.0
        # The time that the gap took counts; a stream may have come faster than it plays.
        return max(time.perf_counter() - began_s, self._last_s + 1 / (self.fps or 25))

    def _decode(self, packet: "Packet[VideoStream]") -> "list[av.VideoFrame]":
        try:
            frames = packet.decode()
        except import_av().FFmpegError:
            self.damaged += 1
            return []
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.damaged += len(frames) - len(whole)
        return whole

    def _offer(self, frame: "av.VideoFrame", time_s: float, converter: FrameConverter) -> None:
        """Put a frame where it is taken from, over one that was not taken."""
        arrival = _Arrival(self._index, time_s, frame, time.perf_counter(), converter)
        self._index += 1
        self._last_s = time_s
        self._failures = 0
        with self._changed:
            self.dropped += self._waiting is not None
            self._waiting = arrival
            self._changed.notify_all()

    def _reconnect(self) -> "InputContainer | None":
        """Open a stream that broke off again; None where that is not wanted any more.

        Raises:
            MediaError: It stays away.
        """
        while self._failures < self._attempts:
            pause_s = _PAUSE_S * 2**self._failures
            self._failures += 1
            if self._stop.wait(pause_s):
                return None
            try:
                container = self._open()
            except MediaError:
                continue
            self.reconnected += 1
            return container
        raise MediaError(
            f"{self.name}: broke off, and {self._attempts} attempts to reconnect failed; "
            "see that it still sends"
        )

    def _tell(self, error: Exception) -> str:
        """Return why the source could not be opened, and what to do."""
        address = self._address
        if address.kind == "camera":
            return tell_camera(address.url, error)
        if address.kind == "file":
            missing = isinstance(error, FileNotFoundError)
            return "no such file" if missing else f"cannot be read: {reason(error)}"
        if isinstance(error, import_av().error.ExitError):
            return f"no answer within {self._timeout_s:g} s; see that it is on and reachable"
        return f"cannot be opened: {reason(error)}"


class _Player:
    """Gives one connection's frames their times, and tells when each is due.

    Args:
        stream: What is decoded.
        manner: How it is played.
        start_s: The first frame's time.
        longest_wait_s: A frame that is due later has a time that jumped: it is due at once, and
            those after it are due as long after it as they should be.
    """

    converter: FrameConverter

    def __init__(
        self, stream: "VideoStream", manner: _Manner, *, start_s: float, longest_wait_s: float
    ) -> None:
        self._stream = stream
        self._manner = manner
        self._start_s = start_s
        self._longest_wait_s = longest_wait_s
        self._clock: FrameClock | None = None
        self._began_s = 0.0

    def time(self, frame: "av.VideoFrame") -> tuple[float, float]:
        """Return a frame's time, and how many seconds there are until it is due."""
        now_s = time.perf_counter()
        if self._clock is None:
            origin_s = 0.0 if frame.pts is None else frame.time
            self._clock = FrameClock(origin_s, rate_of(self._stream))
            self.converter = FrameConverter(frame, self._stream.sample_aspect_ratio)
            self._began_s = now_s
        since_s = now_s - self._began_s
        time_s = self._clock.read(frame) if self._manner.has_times else since_s
        wait_s = max(0.0, time_s - since_s) if self._manner.is_paced else 0.0
        if wait_s > self._longest_wait_s:
            self._began_s -= wait_s
            wait_s = 0.0
        return self._start_s + time_s, wait_s
