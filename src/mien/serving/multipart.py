"""Bodies as they arrive: bounded, and the files of a multipart form, piece by piece."""

from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.serving.problems import Problem

MULTIPART: Final = "multipart/form-data"
#: Longest name of a file that is kept.
MAX_NAME: Final = 255


class FileSink(Protocol):
    """Takes the files of a form; whatever it raises ends the reading."""

    def begin(self) -> None:
        """Be told that another file comes."""
        ...

    def take_name(self, name: str) -> None:
        """Take what its sender calls it, at most 255 letters; may be empty."""
        ...

    def take_data(self, data: bytes) -> None:
        """Take the file's next piece."""
        ...

    def end(self) -> None:
        """Be told that the file is whole."""
        ...


async def bounded(
    request: Request, most: int, too_large: Callable[[], Problem]
) -> AsyncIterator[bytes]:
    """Yield a body as it arrives; what is too large is not read to its end.

    Raises:
        Problem: It has more than ``most`` bytes, or says so.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most:
        raise too_large()
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > most:
            raise too_large()
        yield chunk


async def read_files(
    chunks: AsyncIterator[bytes], boundary: bytes, sink: FileSink, *, example: str
) -> None:
    """Pass the files of a multipart body on.

    Args:
        chunks: The body.
        boundary: What its Content-Type says between its parts.
        sink: Where the files go.
        example: How curl would send one.

    Raises:
        Problem: The body is malformed, or a part of it is no file.
    """
    reader = _Reader(sink, example)
    try:
        if not boundary:
            raise FormParserError("no boundary in the Content-Type header")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": sink.begin,
                "on_header_field": reader.on_header_field,
                "on_header_value": reader.on_header_value,
                "on_header_end": reader.on_header_end,
                "on_headers_finished": reader.on_headers_finished,
                "on_part_data": lambda data, start, end: sink.take_data(data[start:end]),
                "on_part_end": sink.end,
                "on_end": reader.on_end,
            },
        )
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem(400, "malformed", f"not {MULTIPART}: {error}") from error
    if not reader.ended:
        detail = f"the {MULTIPART} body ends before its last boundary"
        raise Problem(400, "malformed", detail)


class _Reader:
    """Finds each part's name in its headers, told of their pieces by the parser."""

    def __init__(self, sink: FileSink, example: str) -> None:
        self._sink = sink
        self._example = example
        self._field = self._value = self._disposition = b""
        self.ended = False

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
        self._disposition = b""
        if b"filename" not in options:
            detail = f"every part must be a file; with curl: {self._example}"
            raise Problem(422, "not-a-file", detail)
        self._sink.take_name(options[b"filename"].decode("utf-8", "replace")[:MAX_NAME])

    def on_end(self) -> None:
        self.ended = True
