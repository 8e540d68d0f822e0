"""``POST /v1/explain``: where in a face its expression was read."""

import base64
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from PIL import Image

from mien.serving.batcher import Explanation
from mien.serving.intake import receive_pictures, while_there
from mien.serving.problems import problem_responses
from mien.serving.schema import ExplainAnswer
from mien.serving.service import Service

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
    async with receive_pictures(request, service, one=True) as (upload,):
        work = service.explain(upload, face, whole_image=whole_image)
        outcome = await while_there(request, work)
    return _answer(outcome)


def _answer(explanation: Explanation) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(explanation.crop_gray).save(file, "PNG")
    return {
        "expression": explanation.expression,
        "crop_png": base64.b64encode(file.getvalue()).decode(),
        "falls": explanation.falls.astype(float).round(4).tolist(),
    }
