"""``POST /v1/analyze``: pictures in, expressions out."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from mien.serving.batcher import Reading, ReadOptions
from mien.serving.intake import receive_pictures, while_there
from mien.serving.problems import Problem, problem_responses
from mien.serving.schema import AnalyzeAnswer
from mien.serving.service import Service

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
    async with receive_pictures(request, service) as uploads:
        work = (service.submit(upload, options) for upload in uploads)
        outcomes = await while_there(request, asyncio.gather(*work, return_exceptions=True))
    return _answer(request, service, [service.conclude(outcome) for outcome in outcomes])


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
