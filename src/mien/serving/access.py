"""Who may come in: the API key, and the origins of web pages."""

import hmac

from starlette.requests import HTTPConnection

from mien.serving.problems import Problem
from mien.serving.settings import ServiceSettings


def check_key(connection: HTTPConnection, settings: ServiceSettings) -> None:
    """See that a request brings the API key, if the service has one.

    It comes as ``X-API-Key: KEY`` or ``Authorization: Bearer KEY``.

    Raises:
        Problem: It does not.
    """
    if settings.api_key is None:
        return
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    given = connection.headers.get("x-api-key", token if scheme.lower() == "bearer" else "")
    # In constant time, so that how long it takes tells nothing of the key.
    if not hmac.compare_digest(given.strip().encode(), settings.api_key.encode()):
        raise Problem(
            401,
            "no-key",
            "this service wants its key in the header X-API-Key or Authorization: Bearer",
            headers={"WWW-Authenticate": "Bearer", "Connection": "close"},
        )


def check_origin(connection: HTTPConnection, settings: ServiceSettings) -> None:
    """See that a WebSocket is opened by the service's own page, an allowed one, or no page.

    Browsers hold back what other origins' pages read by HTTP, but not their WebSockets.

    Raises:
        Problem: Another origin's page opens it.
    """
    origin = connection.headers.get("origin")
    if origin is None or "*" in settings.allow_origins or origin in settings.allow_origins:
        return
    if origin.partition("://")[2] != connection.headers.get("host"):
        raise Problem(403, "origin", "pages of this origin may not use the service")
