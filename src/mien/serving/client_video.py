"""A clip at the service, as its client sees it: how far it is, and what was read in it.

>>> from mien.serving.client import Client
>>> client = Client("http://127.0.0.1:8000")  # doctest: +SKIP
>>> with client.send_video("clip.mp4", fps=10) as clip:  # doctest: +SKIP
...     clip.wait(tell=lambda state: print(f"{state.progress:.0%}"))
...     clip.save_table("faces.csv")
...     people = clip.timeline().summary()
"""

import math
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.table_formats import read_table
from mien.cache import atomic_write
from mien.errors import MediaError, ServiceError
from mien.serving.client_transport import Body, Transport, refusal

if TYPE_CHECKING:
    from mien.analysis.video.timeline import Timeline

_STATES: Final = ("queued", "running", "done", "failed")
_FORMATS: Final = ("json", "csv", "parquet")
_PIECE_BYTES: Final = 1 << 16
#: From one question to the next, in seconds: at first, and at most.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


@dataclass(frozen=True, kw_only=True)
class VideoState:
    """How far a clip is.

    Attributes:
        id: The clip's id at the service.
        state: ``queued``, ``running``, ``done`` or ``failed``.
        source: What the clip is called.
        progress: The part that is read, 0 to 1.
        eta_s: Seconds until it is about done; None where that cannot be told.
        frames: Frames read.
        truncated: Why the clip ended too early; None where it did not.
        problem: What went wrong, as problem details (RFC 9457); None where nothing did.
        expires_in_s: Seconds until the service deletes what was read; None before it is.
    """

    id: str
    state: Literal["queued", "running", "done", "failed"]
    source: str
    progress: float
    eta_s: float | None
    frames: int
    truncated: str | None
    problem: dict[str, Any] | None
    expires_in_s: float | None

    def __post_init__(self) -> None:
        if self.state not in _STATES:
            raise ValueError(f"a state is one of {', '.join(_STATES)}, got {self.state!r}")
        if self.state == "failed" and self.problem is None:
            raise ValueError("what has failed has a problem")

    @property
    def has_ended(self) -> bool:
        """Whether it is read, or never will be."""
        return self.state in ("done", "failed")


class RemoteVideo:
    """A clip at a service; as a context manager it is deleted there at the end of the block.

    Args:
        transport: The service.
        video_id: The clip's id there.

    Attributes:
        id: The clip's id there.
    """

    def __init__(self, transport: Transport, video_id: str) -> None:
        self.id = video_id
        self._transport = transport
        self._path = f"/v1/video/{video_id}"

    def __repr__(self) -> str:
        return f"RemoteVideo({self.id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.cancel()
        except ServiceError:
            # What went wrong before is what counts.
            if kind is None:
                raise

    def state(self) -> VideoState:
        """Return how far the clip is.

        Raises:
            ServiceError: The service cannot be reached, or has it no longer.
        """
        answer = self._transport.ask("GET", self._path)
        try:
            return VideoState(**{each.name: answer[each.name] for each in fields(VideoState)})
        except (KeyError, TypeError, ValueError) as error:
            raise self._transport.odd_answer() from error

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        tell: Callable[[VideoState], object] = lambda _: None,
    ) -> VideoState:
        """Return as soon as the clip is read.

        Args:
            timeout_s: The longest to wait; without end by default. The service goes on after it.
            tell: Called with each state on the way, and with the last.

        Raises:
            MediaError: The clip cannot be read.
            ServiceError: The service cannot be reached, has failed at it, or takes too long.
        """
        end = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        pause_s = _FIRST_PAUSE_S
        while True:
            state = self.state()
            tell(state)
            if state.problem is not None:
                raise self._failure(state.problem)
            if state.has_ended:
                return state
            if time.monotonic() >= end:
                raise ServiceError(
                    f"{state.source}: not read within {timeout_s:g} s: wait again, or cancel()"
                )
            time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
            pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)

    def save_table(self, path: str | os.PathLike[str]) -> Path:
        """Write what was read to a file: one row a face and frame, or one item a frame in JSON.

        Args:
            path: The file, ending in ``.csv``, ``.json`` or ``.parquet``; one that is there is
                replaced.

        Raises:
            OSError: The file cannot be written.
            ServiceError: The clip is not read yet, or the service cannot be reached.
            ValueError: The file ends otherwise.
        """
        target = Path(path)
        kind = target.suffix.lower().removeprefix(".")
        if kind not in _FORMATS:
            raise ValueError(f"{target}: a table ends in .csv, .json or .parquet")
        with atomic_write(target) as temporary, temporary.open("wb") as file:
            for piece in self._transport.pieces("GET", f"{self._path}/result?format={kind}"):
                file.write(piece)
        return target

    def frames(self) -> list[TrackedFrame]:
        """Return what was read, frame by frame.

        Raises:
            ServiceError: The clip is not read yet, or the service cannot be reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            table = self.save_table(Path(folder) / "faces.json")
            try:
                return list(read_table(table))
            except MediaError as error:
                raise self._transport.odd_answer() from error

    def timeline(self) -> "Timeline":
        """Return who showed what when.

        Raises:
            ServiceError: The clip is not read yet, or the service cannot be reached.
        """
        from mien.analysis.video.timeline import Timeline  # noqa: PLC0415 - loads numpy

        return Timeline(self.frames())

    def cancel(self) -> None:
        """Stop the reading where it is under way, and delete all that there is of the clip.

        Raises:
            ServiceError: The service cannot be reached.
        """
        try:
            b"".join(self._transport.pieces("DELETE", self._path))
        except ServiceError as error:
            if error.status != 404:  # it is gone, which is what is wanted
                raise

    def _failure(self, problem: dict[str, Any]) -> MediaError | ServiceError:
        try:
            return refusal(self._transport.url, problem, int(problem["status"]))
        except (KeyError, TypeError, ValueError):
            return self._transport.odd_answer()


def video_body(source: str | os.PathLike[str] | bytes) -> Body:
    """Return the form that carries a clip, which is read from disk while it is sent.

    Raises:
        MediaError: The file cannot be read.
    """
    name = "video" if isinstance(source, bytes) else Path(source).name[:255]
    # As a quoted string of RFC 9110; a line's end in a name would end the header.
    for sign, told in (("\\", r"\\"), ('"', r"\""), ("\r", " "), ("\n", " ")):
        name = name.replace(sign, told)
    boundary = secrets.token_hex(16)
    head = f'Content-Disposition: form-data; name="video"; filename="{name}"'
    before = f"--{boundary}\r\n{head}\r\n\r\n".encode("utf-8", "replace")
    after = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield before
        yield from _pieces_of(source)
        yield after

    return Body(
        media_type=f"multipart/form-data; boundary={boundary}",
        size=len(before) + _size_of(source) + len(after),
        pieces=pieces,
    )


def _size_of(source: str | os.PathLike[str] | bytes) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return Path(source).stat().st_size
    except OSError as error:
        raise _unreadable(source, error) from error


def _pieces_of(source: str | os.PathLike[str] | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with Path(source).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str | os.PathLike[str], error: OSError) -> MediaError:
    return MediaError(f"{os.fspath(source)}: cannot be read: {error.strerror}")
