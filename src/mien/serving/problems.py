"""What goes wrong, told to clients as problem details.

Source: RFC 9457, Problem Details for HTTP APIs, https://www.rfc-editor.org/rfc/rfc9457
"""

import http
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"
#: Types of problems are names, not addresses: there is nothing to fetch.
_TYPE: Final = "urn:mien:problem:"

_PROBLEMS: Final = {
    400: "The body is malformed.",
    401: "The key is missing or wrong.",
    404: "There is none of this name, or no longer.",
    408: "The body did not arrive in time.",
    409: "It is not finished, or failed.",
    413: "The request or one of its pictures is too large.",
    415: "The body is of another kind.",
    422: "Nothing could be read, or something is not as the schema says.",
    429: "The service is busy: try again when Retry-After says.",
    503: "The service is starting or about to stop.",
    504: "It was not read in time.",
}


class Problem(Exception):  # noqa: N818 - the RFC calls it so
    """Something that a client is told, and that ends its request.

    Args:
        status: The HTTP status.
        kind: What it is in a word or two, the same each time, such as ``picture-too-large``.
        detail: What was found, what was expected, what to do.
        headers: Headers of the answer.
        more: Further members of the problem's JSON.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as plain JSON types."""
        return {
            "type": f"{_TYPE}{self.kind}",
            "title": _title(self.status),
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }

    def to_response(self) -> Response:
        """Return the answer that tells it."""
        return JSONResponse(
            self.to_dict(), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how OpenAPI tells of the problems that a route may answer with."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Make an app tell what it refuses as a problem; failures are told by the watch around it."""
    app.add_exception_handler(Problem, _tell_problem)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_http)


async def _tell_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.to_response()


async def _tell_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(error.errors()).to_response()


def invalid(errors: Any) -> Problem:
    """Return the problem of values that a schema does not allow, without repeating them.

    Args:
        errors: Pydantic's, with ``loc`` and ``msg``.
    """
    told = [
        {"where": ".".join(str(part) for part in error["loc"]), "detail": error["msg"]}
        for error in errors[:20]
    ]
    first = f"{told[0]['where']}: {told[0]['detail']}" if told else "not as the schema says"
    return Problem(422, "invalid", first, more={"errors": told})


async def _tell_http(_: Request, error: Exception) -> Response:
    """Answer what the framework refuses: paths and methods that are not there."""
    assert isinstance(error, HTTPException)
    kind = _title(error.status_code).lower().replace(" ", "-")
    details = {
        404: "there is nothing at this path; /openapi.json tells what there is",
        405: "this path does not know this method; the Allow header tells which it does",
    }
    detail = details.get(error.status_code, str(error.detail))
    return Problem(error.status_code, kind, detail, headers=error.headers).to_response()


def failed() -> Problem:
    """Return the problem of a failure of the service; what failed is no client's business."""
    return Problem(500, "failed", "the service failed at this; it is logged")


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
