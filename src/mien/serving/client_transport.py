"""Requests to the service and its answers, by the standard library alone."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mien.errors import MediaError, ServiceError

#: Answers after which the same request may succeed a little later.
_TRY_AGAIN: Final = (429, 503)
#: Problems of what was sent, not of the service.
_UNREADABLE: Final = (":picture-unreadable", ":video-unreadable")
_PIECE_BYTES: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a request carries.

    Attributes:
        media_type: Its Content-Type.
        size: Its bytes.
        pieces: Gives its pieces, anew for each attempt.
    """

    media_type: str
    size: int
    pieces: Callable[[], Iterable[bytes]] = field(repr=False)


class Transport:
    """Sends requests to one service; see :class:`mien.serving.client.Client`."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, retries: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {url!r}")
        if timeout_s <= 0 or retries < 0:
            raise ValueError("timeout_s must be above 0, and retries 0 or more")
        self.url = url.rstrip("/")
        self._headers = {} if api_key is None else {"X-API-Key": api_key}
        self._timeout_s = timeout_s
        self._retries = retries
        self._opener = urllib.request.build_opener(_Handler, _NoRedirects)

    def ask(self, method: str, path: str, body: Body | None = None) -> dict[str, Any]:
        """Return the JSON table that a request is answered with.

        Raises:
            MediaError: What was sent cannot be read.
            ServiceError: The service cannot be reached, or refuses.
        """
        return self._table(b"".join(self.pieces(method, path, body)))

    def pieces(self, method: str, path: str, body: Body | None = None) -> Iterator[bytes]:
        """Yield the answer to a request, which is sent again where the service is busy.

        Raises:
            MediaError: What was sent cannot be read.
            ServiceError: The service cannot be reached, or refuses, or its answer breaks off.
        """
        try:
            with self._send(method, path, body) as response:
                while piece := response.read(_PIECE_BYTES):
                    yield piece
                # Of an answer of known length, an early end reads like the end.
                if response.length:
                    raise http.client.IncompleteRead(b"", response.length)
        except http.client.IncompleteRead as error:
            raise ServiceError(f"{self.url}: the answer broke off: ask again") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServiceError(f"{self.url}: cannot be reached: {reason}") from error

    def _send(self, method: str, path: str, body: Body | None) -> http.client.HTTPResponse:
        for attempt in range(self._retries + 1):
            try:
                response: http.client.HTTPResponse = self._opener.open(
                    self._request(method, path, body), timeout=self._timeout_s
                )
            except urllib.error.HTTPError as error:
                if error.code not in _TRY_AGAIN or attempt == self._retries:
                    raise self._refusal(error) from error
                wait_s = error.headers.get("Retry-After", "1")
            else:
                return response
            time.sleep(float(wait_s) if wait_s.isdecimal() else 1.0)
        raise AssertionError("the last attempt returns or raises")

    def _request(self, method: str, path: str, body: Body | None) -> urllib.request.Request:
        headers, pieces = dict(self._headers), None
        if body is not None:
            headers |= {"Content-Type": body.media_type, "Content-Length": str(body.size)}
            pieces = body.pieces()
        return urllib.request.Request(f"{self.url}{path}", pieces, headers, method=method)

    def _refusal(self, error: urllib.error.HTTPError) -> MediaError | ServiceError:
        if 300 <= error.code < 400:
            moved = error.headers.get("Location", "elsewhere")
            return ServiceError(f"{self.url}: redirects to {moved}: name that service", error.code)
        try:
            problem = self._table(error.read())
            return refusal(self.url, problem, error.code)
        except (KeyError, OSError, ServiceError):
            return ServiceError(f"{self.url}: {error.code} {error.reason}", error.code)

    def _table(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self.odd_answer() from error
        if not isinstance(answer, dict):
            raise self.odd_answer()
        return answer

    def odd_answer(self) -> ServiceError:
        """Return the error of an answer that is none of this service."""
        return ServiceError(f"{self.url}: not an answer of mien's service")


def refusal(url: str, problem: dict[str, Any], status: int) -> MediaError | ServiceError:
    """Return what a problem of the service is raised as.

    Raises:
        KeyError: It is no problem of the service.
    """
    kind, detail = str(problem["type"]), str(problem["detail"])
    if kind.endswith(_UNREADABLE):
        return MediaError(detail)
    return ServiceError(f"{url}: {detail}", status)


class _Connection(http.client.HTTPConnection):
    def request(self, *arguments: Any, **named: Any) -> None:
        """Send a request, or what of it is taken."""
        # A service that refuses does not read to the end; why it does is there to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            super().request(*arguments, **named)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nowhere: the key would go along, and what is sent would not."""


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an address of HTTP."""
        return self.do_open(_Connection, req)
