"""A request's body → one video file on disk, piece by piece, within limits."""

from pathlib import Path
from typing import IO, Final

from fastapi import Request
from python_multipart.multipart import parse_options_header

from mien.serving.multipart import MULTIPART, bounded, read_files
from mien.serving.problems import Problem

_EXAMPLE: Final = "-F video=@clip.mp4"
_RAW: Final = ("video/", "application/octet-stream")
#: Headers and boundaries of a multipart body are no part of the video.
_ROOM: Final = 10_000


async def receive_video(request: Request, path: Path, most: int) -> str:
    """Write the video in a request's body to a file.

    Memory does not grow with the video, and what is too large is not read to its end.

    Args:
        request: The request, its body not read yet: the file itself, or one part of a form.
        path: The file.
        most: Its largest size in bytes.

    Returns:
        What its sender calls it.

    Raises:
        Problem: The body is of another kind, malformed, empty or too large.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    media_type = kind.decode("latin-1").lower()
    with path.open("wb") as file:
        video = _Video(file, most)
        chunks = bounded(request, most + _ROOM, lambda: _too_large(most))
        if media_type == MULTIPART:
            await read_files(chunks, parameters.get(b"boundary", b""), video, example=_EXAMPLE)
        elif media_type.startswith(_RAW):
            async for chunk in chunks:
                video.take_data(chunk)
        else:
            raise Problem(
                415,
                "unsupported-media-type",
                f"expected {MULTIPART} or video/*; with curl: {_EXAMPLE}",
                headers={"Accept-Post": f"{MULTIPART}, video/*"},
            )
    if video.size == 0:
        raise Problem(422, "no-video", f"no video in the request; with curl: {_EXAMPLE}")
    return video.name or "video"


class _Video:
    """Writes the one file of a body to disk."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._most = most
        self._begun = False
        self.name = ""
        self.size = 0

    def begin(self) -> None:
        if self._begun:
            raise Problem(422, "too-many-videos", "one video in a request: send several requests")
        self._begun = True

    def take_name(self, name: str) -> None:
        self.name = name

    def take_data(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise _too_large(self._most)
        self._file.write(data)

    def end(self) -> None:
        """Do nothing: all of it is written."""


def _too_large(most: int) -> Problem:
    return Problem(
        413,
        "video-too-large",
        f"a video has more than {most:,} bytes: send a smaller or shorter one",
        headers={"Connection": "close"},
    )
