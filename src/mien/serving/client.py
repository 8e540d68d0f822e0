"""A client of the service; it needs nothing but Python's standard library.

>>> client = Client("http://127.0.0.1:8000")  # doctest: +SKIP
>>> client.analyze("photo.jpg").expression  # doctest: +SKIP
'happy'
"""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from mien.errors import MediaError, ServiceError
from mien.results import FrameResult

#: Answers after which the same request may succeed a little later.
_TRY_AGAIN: Final = (429, 503)


class Client:
    """Asks a service of ``mien serve``.

    Args:
        url: Where it is, such as ``http://127.0.0.1:8000``.
        api_key: Its key, where it wants one.
        timeout_s: Seconds to wait for an answer.
        retries: How often a request is sent again that the service was too busy for, each time
            after as long as the service says.

    Raises:
        ValueError: The address is not of HTTP, or a number is out of range.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout_s: float = 60.0, retries: int = 5
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {url!r}")
        if timeout_s <= 0 or retries < 0:
            raise ValueError("timeout_s must be above 0, and retries 0 or more")
        self.url = url.rstrip("/")
        self._headers = {} if api_key is None else {"X-API-Key": api_key}
        self._timeout_s = timeout_s
        self._retries = retries

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def analyze(
        self, source: str | os.PathLike[str] | bytes, *, whole_image: bool = False
    ) -> FrameResult:
        """Read the expressions in one picture.

        Args:
            source: A path, or the bytes of a picture file.
            whole_image: The picture is a face crop already.

        Raises:
            MediaError: The picture cannot be read.
            ServiceError: The service cannot be reached, or refuses.
        """
        return self.analyze_many([source], whole_image=whole_image)[0]

    def analyze_many(
        self, sources: Iterable[str | os.PathLike[str] | bytes], *, whole_image: bool = False
    ) -> list[FrameResult]:
        """Read the expressions in several pictures by one request.

        Returns:
            One result a picture, in order.

        Raises:
            MediaError: A picture cannot be read.
            ServiceError: The service cannot be reached, or refuses.
        """
        pictures = [_encode(source, number) for number, source in enumerate(sources)]
        body = json.dumps({"pictures": pictures}).encode()
        query = "?whole_image=true" if whole_image else ""
        answer = self._ask(f"/v1/analyze{query}", body)
        try:
            read = [_result(picture) for picture in answer["pictures"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._odd_answer() from error
        if len(read) != len(pictures):
            raise self._odd_answer()
        return read

    def model(self) -> dict[str, Any]:
        """Return the facts of the service's model, and its limits.

        Raises:
            ServiceError: The service cannot be reached, or refuses.
        """
        return self._ask("/v1/model", None)

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        """Send a request, again and again where the service is busy, and return its answer."""
        headers = {**self._headers, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        for attempt in range(self._retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                    return self._table(response.read())
            except urllib.error.HTTPError as error:
                if error.code not in _TRY_AGAIN or attempt == self._retries:
                    raise self._refusal(error) from error
                wait_s = error.headers.get("Retry-After", "1")
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                raise ServiceError(f"{self.url}: cannot be reached: {reason}") from error
            time.sleep(float(wait_s) if wait_s.isdecimal() else 1.0)
        raise AssertionError("the last attempt returns or raises")

    def _refusal(self, error: urllib.error.HTTPError) -> MediaError | ServiceError:
        try:
            problem = self._table(error.read())
            kind, detail = str(problem["type"]), str(problem["detail"])
        except (KeyError, OSError, ServiceError):
            return ServiceError(f"{self.url}: {error.code} {error.reason}", error.code)
        if kind.endswith(":picture-unreadable"):
            return MediaError(detail)
        return ServiceError(f"{self.url}: {detail}", error.code)

    def _table(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self._odd_answer() from error
        if not isinstance(answer, dict):
            raise self._odd_answer()
        return answer

    def _odd_answer(self) -> ServiceError:
        return ServiceError(f"{self.url}: not an answer of mien's service")


def _result(picture: dict[str, Any]) -> FrameResult:
    """Return one picture's result from an answer.

    Raises:
        MediaError: The service could not read it.
    """
    if picture["problem"] is not None:
        raise MediaError(str(picture["problem"]["detail"]))
    return FrameResult.from_dict(picture["result"])


def _encode(source: str | os.PathLike[str] | bytes, number: int) -> dict[str, str]:
    if isinstance(source, bytes):
        return {"name": f"bytes {number}", "data": base64.b64encode(source).decode()}
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise MediaError(f"{os.fspath(source)}: cannot be read: {error.strerror}") from error
    return {"name": Path(source).name[:255], "data": base64.b64encode(data).decode()}
