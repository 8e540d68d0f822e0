"""Every answer watched: logged in one line, counted, and given the headers that keep it safe.

A line tells the route, not the address as called, and numbers: nothing of a picture, no name, no
key, nobody's address.
"""

import logging
import time
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.serving.metrics import ServiceMetrics
from mien.serving.problems import failed

logger = logging.getLogger("mien.serving.access")

#: For answers that are no page; a page sets its own policy, which is then left as it is.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
#: How a WebSocket that was accepted is told in place of a status.
_SWITCHED: Final = 101
#: What a server answers where a WebSocket is closed in place of being accepted.
#: Source: https://asgi.readthedocs.io/en/latest/specs/www.html#close-send-event
_SHUT: Final = 403


class Watch:
    """ASGI middleware around a whole app.

    Args:
        app: The app.
        metrics: Where answers are counted.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        start, status, started = time.perf_counter(), 500, False

        async def send_noted(message: Message) -> None:
            nonlocal status, started
            started = True
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "websocket.accept":
                status = _SWITCHED
            elif message["type"] == "websocket.close" and status != _SWITCHED:
                status = _SHUT
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            if started or scope["type"] != "http":
                raise
            logger.exception("a request failed")
            await failed().to_response()(scope, receive, send_noted)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern; what is called beside all routes would be names without end.
        route = getattr(scope.get("route"), "path", "other")
        state = scope.get("state", {})
        if status != _SWITCHED:
            self._metrics.note_request(route, status, seconds)
        logger.info(
            "route=%s status=%d ms=%.1f pictures=%d faces=%d",
            *(route, status, seconds * 1e3, state.get("pictures", 0), state.get("faces", 0)),
        )
