"""A request's body → one video file on disk, piece by piece, within limits."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.serving.problems import Problem

_MULTIPART: Final = "multipart/form-data"
_RAW: Final = ("video/", "application/octet-stream")
#: Headers and boundaries of a multipart body are no part of the video.
_ROOM: Final = 10_000
_MAX_NAME: Final = 255


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
        part = _Part(file, most)
        chunks = _bounded(request, most)
        if media_type == _MULTIPART:
            await _parse(chunks, parameters.get(b"boundary", b""), part)
        elif media_type.startswith(_RAW):
            async for chunk in chunks:
                part.on_part_data(chunk, 0, len(chunk))
        else:
            raise Problem(
                415,
                "unsupported-media-type",
                f"expected {_MULTIPART} or video/*; with curl: -F video=@clip.mp4",
                headers={"Accept-Post": f"{_MULTIPART}, video/*"},
            )
    if part.size == 0:
        raise Problem(422, "no-video", "no video in the request; with curl: -F video=@clip.mp4")
    return part.name or "video"


class _Part:
    """Writes the one file of a body, told of its pieces by the parser."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._most = most
        self._field = self._value = self._disposition = b""
        self._parts = 0
        self.name = ""
        self.size = 0
        self.ended = False

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise Problem(422, "too-many-videos", "one video in a request: send several requests")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            raise Problem(422, "not-a-file", "expected a file; with curl: -F video=@clip.mp4")
        self.name = options[b"filename"].decode("utf-8", "replace")[:_MAX_NAME]

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > self._most:
            raise _too_large(self._most)
        self._file.write(data[start:end])

    def on_end(self) -> None:
        self.ended = True


async def _parse(chunks: AsyncIterator[bytes], boundary: bytes, part: _Part) -> None:
    try:
        if not boundary:
            raise FormParserError("no boundary in the Content-Type header")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": part.on_part_begin,
                "on_header_field": part.on_header_field,
                "on_header_value": part.on_header_value,
                "on_header_end": part.on_header_end,
                "on_headers_finished": part.on_headers_finished,
                "on_part_data": part.on_part_data,
                "on_end": part.on_end,
            },
        )
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem(400, "malformed", f"not {_MULTIPART}: {error}") from error
    if not part.ended:
        raise Problem(400, "malformed", "the body ends before its last boundary")


async def _bounded(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield a body as it arrives, until it is too large."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most + _ROOM:
        raise _too_large(most)
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > most + _ROOM:
            raise _too_large(most)
        yield chunk


def _too_large(most: int) -> Problem:
    return Problem(
        413,
        "video-too-large",
        f"a video has more than {most:,} bytes: send a smaller or shorter one",
        headers={"Connection": "close"},
    )
