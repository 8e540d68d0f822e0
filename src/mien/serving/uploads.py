"""Request bodies → pictures, in memory and within limits, which are checked as bytes arrive.

Nothing is written to disk, and a body that is too large is not read to its end. What a request says
of its own length is believed only where that is too much.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Final

from fastapi import Request
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.serving.admission import Claim
from mien.serving.batcher import Upload
from mien.serving.problems import Problem, invalid
from mien.serving.schema import AnalyzeBody
from mien.serving.settings import ServiceSettings

#: Longest name of a picture that is kept.
_MAX_NAME: Final = 255
_MULTIPART: Final = "multipart/form-data"
_JSON: Final = "application/json"


async def read_uploads(request: Request, settings: ServiceSettings, claim: Claim) -> list[Upload]:
    """Read the pictures in a request's body.

    Args:
        request: The request, its body not read yet.
        settings: The limits.
        claim: What the bytes are counted on.

    Raises:
        Problem: The body is of another kind, malformed, too large, or has no picture.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    media_type = kind.decode("latin-1").lower()
    if media_type not in (_MULTIPART, _JSON):
        raise Problem(
            415,
            "unsupported-media-type",
            f"expected {_MULTIPART} or {_JSON}; with curl: -F picture=@photo.jpg",
            headers={"Accept-Post": f"{_MULTIPART}, {_JSON}"},
        )
    chunks = _bounded(request, settings.max_request_bytes, claim)
    if media_type == _JSON:
        body = b"".join([chunk async for chunk in chunks])
        uploads = await asyncio.to_thread(_from_json, body, settings)
    else:
        uploads = await _from_multipart(chunks, parameters.get(b"boundary", b""), settings)
    if not uploads:
        raise Problem(422, "no-picture", "no picture in the request: expected one or more")
    return uploads


async def _bounded(request: Request, most: int, claim: Claim) -> AsyncIterator[bytes]:
    """Yield a body as it arrives, until it is too large."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most:
        raise _request_too_large(most)
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > most:
            raise _request_too_large(most)
        claim.add_bytes(len(chunk))
        yield chunk


class _Parts:
    """Gathers the files of a multipart body, told of its pieces by the parser."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._field = b""
        self._value = b""
        self._disposition = b""
        self._name = ""
        self._data = bytearray()
        self.uploads: list[Upload] = []
        self.ended = False

    def on_part_begin(self) -> None:
        if len(self.uploads) == self._settings.max_pictures:
            raise _too_many_pictures(self._settings)
        self._disposition = b""
        self._data = bytearray()

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
            raise Problem(
                422,
                "not-a-file",
                "every part must be a picture file; with curl: -F picture=@photo.jpg",
            )
        self._name = options[b"filename"].decode("utf-8", "replace")[:_MAX_NAME]

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        _check_picture_bytes(len(self._data), self._settings)

    def on_part_end(self) -> None:
        name = self._name or f"picture {len(self.uploads)}"
        self.uploads.append(Upload(name=name, data=bytes(self._data)))

    def on_end(self) -> None:
        self.ended = True


async def _from_multipart(
    chunks: AsyncIterator[bytes], boundary: bytes, settings: ServiceSettings
) -> list[Upload]:
    parts = _Parts(settings)
    try:
        if not boundary:
            raise FormParserError("no boundary in the Content-Type header")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.on_part_begin,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_headers_finished": parts.on_headers_finished,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_end": parts.on_end,
            },
        )
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise _malformed(f"not {_MULTIPART}: {error}") from error
    if not parts.ended:
        raise _malformed(f"the {_MULTIPART} body ends before its last boundary")
    return parts.uploads


def _from_json(body: bytes, settings: ServiceSettings) -> list[Upload]:
    # Base64 has no commas, a name few. Parsed and told as wrong, millions of values in a body of a
    # few megabytes would take gigabytes and minutes.
    if body.count(b",") > settings.max_pictures * (_MAX_NAME + 2):
        raise _too_many_pictures(settings)
    try:
        sent = AnalyzeBody.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        if errors[0]["type"] == "json_invalid":
            raise _malformed(f"not JSON: {errors[0]['msg']}") from error
        raise invalid(errors) from error
    if len(sent.pictures) > settings.max_pictures:
        raise _too_many_pictures(settings)
    uploads = []
    for number, picture in enumerate(sent.pictures):
        _check_picture_bytes(len(picture.data) * 3 // 4 - 2, settings)
        try:
            data = base64.b64decode(picture.data, validate=True)
        except (binascii.Error, ValueError) as error:
            told = {"loc": ("pictures", number, "data"), "msg": "expected base64"}
            raise invalid([told]) from error
        _check_picture_bytes(len(data), settings)
        uploads.append(Upload(name=picture.name or f"picture {number}", data=data))
    return uploads


def _check_picture_bytes(count: int, settings: ServiceSettings) -> None:
    if count > settings.max_picture_bytes:
        most = settings.max_picture_bytes
        raise Problem(
            413,
            "picture-too-large",
            f"a picture has more than {most:,} bytes; make it smaller first",
            headers={"Connection": "close"},
        )


def _request_too_large(most: int) -> Problem:
    return Problem(
        413,
        "request-too-large",
        f"a request has more than {most:,} bytes: send fewer or smaller pictures",
        headers={"Connection": "close"},
    )


def _too_many_pictures(settings: ServiceSettings) -> Problem:
    return Problem(
        422,
        "too-many-pictures",
        f"more than {settings.max_pictures} pictures in one request: send several requests",
        headers={"Connection": "close"},
    )


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed", detail)
