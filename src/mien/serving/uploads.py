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
from python_multipart.multipart import parse_options_header

from mien.serving.admission import Claim
from mien.serving.batcher import Upload
from mien.serving.multipart import MAX_NAME, MULTIPART, bounded, read_files
from mien.serving.problems import Problem, invalid
from mien.serving.schema import AnalyzeBody
from mien.serving.settings import ServiceSettings

_JSON: Final = "application/json"
_EXAMPLE: Final = "-F picture=@photo.jpg"


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
    if media_type not in (MULTIPART, _JSON):
        raise Problem(
            415,
            "unsupported-media-type",
            f"expected {MULTIPART} or {_JSON}; with curl: {_EXAMPLE}",
            headers={"Accept-Post": f"{MULTIPART}, {_JSON}"},
        )
    most = settings.max_request_bytes
    chunks = _counted(bounded(request, most, lambda: _request_too_large(most)), claim)
    if media_type == _JSON:
        body = b"".join([chunk async for chunk in chunks])
        uploads = await asyncio.to_thread(_from_json, body, settings)
    else:
        pictures = _Pictures(settings)
        await read_files(chunks, parameters.get(b"boundary", b""), pictures, example=_EXAMPLE)
        uploads = pictures.uploads
    if not uploads:
        raise Problem(422, "no-picture", "no picture in the request: expected one or more")
    return uploads


async def _counted(chunks: AsyncIterator[bytes], claim: Claim) -> AsyncIterator[bytes]:
    """Yield a body's pieces, counted as waiting."""
    async for chunk in chunks:
        claim.add_bytes(len(chunk))
        yield chunk


class _Pictures:
    """Gathers the files of a form."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._name = ""
        self._data = bytearray()
        self.uploads: list[Upload] = []

    def begin(self) -> None:
        if len(self.uploads) == self._settings.max_pictures:
            raise _too_many_pictures(self._settings)
        self._data = bytearray()

    def take_name(self, name: str) -> None:
        self._name = name or f"picture {len(self.uploads)}"

    def take_data(self, data: bytes) -> None:
        self._data += data
        _check_picture_bytes(len(self._data), self._settings)

    def end(self) -> None:
        self.uploads.append(Upload(name=self._name, data=bytes(self._data)))


def _from_json(body: bytes, settings: ServiceSettings) -> list[Upload]:
    # Base64 has no commas, a name few. Parsed and told as wrong, millions of values in a body of a
    # few megabytes would take gigabytes and minutes.
    if body.count(b",") > settings.max_pictures * (MAX_NAME + 2):
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
