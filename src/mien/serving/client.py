"""A client of the service; it needs nothing but Python's standard library.

>>> client = Client("http://127.0.0.1:8000")  # doctest: +SKIP
>>> client.analyze("photo.jpg").expression  # doctest: +SKIP
'happy'
"""

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mien.analysis.arrow_tables import valid_text
from mien.errors import MediaError
from mien.results import FrameResult
from mien.serving.client_transport import Body, Transport
from mien.serving.client_video import RemoteVideo, video_body


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
        self._transport = Transport(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self.url = self._transport.url

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
        data = json.dumps({"pictures": pictures}).encode()
        body = Body(media_type="application/json", size=len(data), pieces=lambda: [data])
        query = "?whole_image=true" if whole_image else ""
        answer = self._transport.ask("POST", f"/v1/analyze{query}", body)
        try:
            read = [_result(picture) for picture in answer["pictures"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._transport.odd_answer() from error
        if len(read) != len(pictures):
            raise self._transport.odd_answer()
        return read

    def send_video(
        self, source: str | os.PathLike[str] | bytes, *, fps: float | None = None
    ) -> RemoteVideo:
        """Have the service read a clip; it does so in the background.

        Args:
            source: A path, whose file is read while it is sent, or the bytes of a video file.
            fps: Frames a second to read, at most; all by default.

        Raises:
            MediaError: The clip cannot be read.
            ServiceError: The service cannot be reached, or refuses.
            ValueError: ``fps`` is not above 0.
        """
        if fps is not None and not fps > 0:
            raise ValueError(f"fps must be above 0, got {fps}")
        query = "" if fps is None else f"?fps={fps:g}"
        answer = self._transport.ask("POST", f"/v1/video{query}", video_body(source))
        if not isinstance(answer.get("id"), str):
            raise self._transport.odd_answer()
        return self.video(answer["id"])

    def video(self, video_id: str) -> RemoteVideo:
        """Return a clip that was sent before, by its id."""
        return RemoteVideo(self._transport, video_id)

    def model(self) -> dict[str, Any]:
        """Return the facts of the service's model, and its limits.

        Raises:
            ServiceError: The service cannot be reached, or refuses.
        """
        return self._transport.ask("GET", "/v1/model")


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
    return {"name": valid_text(Path(source).name)[:255], "data": base64.b64encode(data).decode()}
