"""``POST /v1/explain``: where in a face its expression was read."""

import asyncio
import base64
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from PIL import Image
from starlette.requests import ClientDisconnect

from mien.serving.analyze import CLIENT_GONE, problem_responses, until
from mien.serving.batcher import Explanation
from mien.serving.problems import Problem
from mien.serving.schema import ExplainAnswer
from mien.serving.service import Service
from mien.serving.uploads import read_uploads

router = APIRouter(prefix="/v1", tags=["pictures"])


@router.post(
    "/explain",
    summary="Show where in a face its expression was read",
    response_model=ExplainAnswer,
    responses=problem_responses(400, 401, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["picture"],
                        "properties": {"picture": {"type": "string", "format": "binary"}},
                    }
                },
                "application/json": {"schema": {"$ref": "#/components/schemas/AnalyzeBody"}},
            },
        }
    },
)
async def explain(
    request: Request,
    face: Annotated[int, Query(ge=0, description="Which face; 0 is the largest.")] = 0,
    whole_image: Annotated[bool, Query(description="The picture is a face crop already.")] = False,
) -> Any:
    """Cover parts of one face in a picture, and tell by how much that changes the answer."""
    service: Service = request.app.state.service
    deadline = asyncio.get_running_loop().time() + service.settings.timeout_s
    try:
        with service.admission.claim() as claim:
            async with until(deadline, 408, "the request did not arrive in time"):
                uploads = await read_uploads(request, service.settings, claim)
            if len(uploads) > 1:
                raise Problem(422, "too-many-pictures", "one picture in a request, please")
            claim.add_pictures(1)
            async with until(deadline, 504, "the picture was not read in time"):
                outcome = await service.explain(uploads[0], face, whole_image=whole_image)
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    return _answer(outcome)


def _answer(explanation: Explanation) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(explanation.crop_gray).save(file, "PNG")
    return {
        "expression": explanation.expression,
        "crop_png": base64.b64encode(file.getvalue()).decode(),
        "falls": explanation.falls.astype(float).round(4).tolist(),
    }
