"""``POST /v1/analyze``: pictures in, expressions out."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from mien.serving.batcher import Reading, ReadOptions, Upload
from mien.serving.problems import MEDIA_TYPE, Problem
from mien.serving.schema import AnalyzeAnswer
from mien.serving.service import Service
from mien.serving.uploads import read_uploads

#: What is logged of a client that left; nobody receives it. Source: nginx's name for it.
CLIENT_GONE: Final = 499

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


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how OpenAPI tells of the problems that a route may answer with."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


_MULTIPART: Final = {
    "type": "object",
    "required": ["picture"],
    "properties": {
        "picture": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "format": "binary"},
            "description": "Picture files, one a part; the parts' own names do not matter.",
        }
    },
}

router = APIRouter(prefix="/v1", tags=["pictures"])


@router.post(
    "/analyze",
    summary="Read the expressions in pictures",
    response_model=AnalyzeAnswer,
    responses=problem_responses(400, 401, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _MULTIPART},
                "application/json": {"schema": {"$ref": "#/components/schemas/AnalyzeBody"}},
            },
        }
    },
)
async def analyze(
    request: Request,
    annotate: Annotated[bool, Query(description="Return each picture with boxes too.")] = False,
    whole_image: Annotated[bool, Query(description="Each picture is a face crop already.")] = False,
) -> Any:
    """Read one or many pictures, sent as files or in JSON.

    A picture that cannot be read has a problem in place of a result. If none can be read, the
    whole answer is that problem, with status 422.
    """
    service: Service = request.app.state.service
    options = ReadOptions(annotate=annotate, whole_image=whole_image)
    deadline = asyncio.get_running_loop().time() + service.settings.timeout_s
    try:
        with service.admission.claim() as claim:
            async with until(deadline, 408, "the request did not arrive in time"):
                uploads = await read_uploads(request, service.settings, claim)
            claim.add_pictures(len(uploads))
            async with until(deadline, 504, "the pictures were not read in time: send fewer"):
                outcomes = await _read_all(service, uploads, options, request)
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    return _answer(request, service, [service.conclude(outcome) for outcome in outcomes])


class until:  # noqa: N801 - reads as the context manager that it is
    """Ends a block at a time of the loop's clock, with a problem.

    Args:
        deadline: The time.
        status: The problem's status.
        detail: What its client is told.
    """

    def __init__(self, deadline: float, status: int, detail: str) -> None:
        self._timeout = asyncio.timeout_at(deadline)
        self._problem = Problem(status, "too-slow", detail, headers={"Connection": "close"})

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._timeout.__aexit__(*error)
        except TimeoutError:
            raise self._problem from None


async def _read_all(
    service: Service, uploads: Sequence[Upload], options: ReadOptions, request: Request
) -> list[Reading | BaseException]:
    """Read pictures, as long as their sender is there.

    Raises:
        ClientDisconnect: The sender has left; what is not read yet is dropped.
    """
    work = asyncio.gather(
        *(service.submit(upload, options) for upload in uploads), return_exceptions=True
    )
    left = asyncio.ensure_future(_left(request))
    try:
        both: set[asyncio.Future[Any]] = {work, left}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        left.cancel()
        work.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(
    request: Request, service: Service, outcomes: Sequence[Reading | Problem]
) -> dict[str, Any]:
    problems = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
    request.state.pictures = len(outcomes)
    request.state.faces = sum(len(reading.result.faces) for reading in readings)
    if not readings:
        told = [problem.to_dict() for problem in problems]
        more = {"pictures": told} if len(told) > 1 else {}
        raise Problem(422, problems[0].kind, problems[0].detail, more=more)
    metadata = service.analyzer.classifier.metadata
    return {
        "model": {"name": metadata.name, "version": metadata.version},
        "pictures": [_picture(outcome) for outcome in outcomes],
    }


def _picture(outcome: Reading | Problem) -> dict[str, Any]:
    if isinstance(outcome, Problem):
        empty = {"result": None, "faces_omitted": 0, "annotated_jpeg": None}
        return {**empty, "problem": outcome.to_dict()}
    jpeg = outcome.annotated_jpeg
    return {
        "result": outcome.result.to_dict(),
        "faces_omitted": outcome.faces_omitted,
        "annotated_jpeg": None if jpeg is None else base64.b64encode(jpeg).decode(),
        "problem": None,
    }
