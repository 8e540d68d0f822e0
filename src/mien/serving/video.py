"""``/v1/video``: a clip in, read in the background; what was read out."""

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from mien.serving.intake import until
from mien.serving.problems import Problem, problem_responses
from mien.serving.schema import VideoAnswer, VideoSummary
from mien.serving.service import Service
from mien.serving.video_job import JobFolder, JobState, VideoOptions
from mien.serving.video_upload import receive_video

_MEDIA_TYPES: Final = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_FORM: Final = {
    "type": "object",
    "required": ["video"],
    "properties": {"video": {"type": "string", "format": "binary"}},
}

router = APIRouter(prefix="/v1/video", tags=["videos"])


@router.post(
    "",
    summary="Have a clip read",
    status_code=202,
    response_model=VideoAnswer,
    responses=problem_responses(400, 401, 408, 413, 415, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _FORM},
                "application/octet-stream": _BINARY,
                "video/*": _BINARY,
            },
        }
    },
)
async def start(
    request: Request,
    fps: Annotated[
        float | None, Query(gt=0, le=240, description="Frames a second to read; all by default.")
    ] = None,
) -> Any:
    """Take a clip, sent as a form's file or as the body itself, and read it in the background.

    The header ``Location`` tells where to ask how far it is. The clip is deleted as soon as it is
    read; what was read is kept for some minutes.
    """
    service: Service = request.app.state.service
    deadline = asyncio.get_running_loop().time() + service.settings.upload_timeout_s
    with service.admission.claim(), service.videos.place() as job_id:
        folder = service.videos.folder(job_id)
        async with until(deadline, 408, "the video did not arrive in time"):
            source = await receive_video(request, folder.upload, service.settings.max_video_bytes)
        await service.videos.check(job_id, source)
        state = service.videos.start(job_id, VideoOptions(source=source, fps=fps))
    location = f"{request.scope.get('root_path', '')}/v1/video/{job_id}"
    return JSONResponse(_answer(service, job_id, state), 202, headers={"Location": location})


@router.get(
    "/{job_id}",
    summary="How far a clip is",
    response_model=VideoAnswer,
    responses=problem_responses(401, 404, 422, 503),
)
async def state(request: Request, job_id: str) -> Any:
    """Return the state of a clip: queued, running, done or failed."""
    service: Service = request.app.state.service
    _, found = service.videos.find(job_id)
    return _answer(service, job_id, found)


@router.get(
    "/{job_id}/result",
    summary="What was read in a clip, frame by frame",
    response_class=FileResponse,
    responses={
        200: {
            "content": {
                kind.partition(";")[0]: {} if kind == "application/json" else _BINARY
                for kind in _MEDIA_TYPES.values()
            }
        },
        **problem_responses(401, 404, 409, 422, 503),
    },
)
async def result(
    request: Request,
    job_id: str,
    table_format: Annotated[
        Literal["json", "csv", "parquet"], Query(alias="format", description="Of the table.")
    ] = "json",
) -> Any:
    """Return the table of a clip: one item a frame in JSON, one row a face and frame else."""
    folder = _done(request, job_id)
    path = folder.table(table_format)
    name = f"expressions.{table_format}"
    return FileResponse(path, media_type=_MEDIA_TYPES[table_format], filename=name)


@router.get(
    "/{job_id}/summary",
    summary="Who showed what, when and for how long",
    response_model=VideoSummary,
    responses=problem_responses(401, 404, 409, 422, 503),
)
async def summary(request: Request, job_id: str) -> Any:
    """Return a clip's people, what each of them showed, and the times of it."""
    folder = _done(request, job_id)
    return Response(folder.summary.read_bytes(), media_type="application/json")


@router.delete(
    "/{job_id}",
    summary="Stop reading a clip, or delete what was read",
    status_code=204,
    responses=problem_responses(401, 404, 422, 503),
)
async def delete(request: Request, job_id: str) -> Response:
    """Stop a clip where it is being read, and delete all that there is of it."""
    service: Service = request.app.state.service
    service.videos.delete(job_id)
    return Response(status_code=204)


def _done(request: Request, job_id: str) -> JobFolder:
    """Return the folder of a clip that is read.

    Raises:
        Problem: There is none, it is not finished, or it failed.
    """
    service: Service = request.app.state.service
    folder, found = service.videos.find(job_id)
    if found.problem is not None:
        raise Problem(409, "failed", found.problem["detail"], more={"problem": found.problem})
    if found.state != "done":
        raise Problem(
            409,
            "not-finished",
            "it is not read yet: ask for its state",
            headers={"Retry-After": "1"},
        )
    return folder


def _answer(service: Service, job_id: str, found: JobState) -> dict[str, Any]:
    names = ("state", "source", "progress", "eta_s", "frames", "truncated", "problem")
    return {
        "id": job_id,
        **{name: getattr(found, name) for name in names},
        "expires_in_s": service.videos.expires_in_s(found),
    }
