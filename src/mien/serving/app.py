"""The service as an ASGI app: its routes put together.

>>> from mien.serving.app import create_app
>>> app = create_app()  # for any ASGI server; `mien serve` runs it with uvicorn
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic.json_schema import models_json_schema

import mien
from mien.analysis.analyzer import Analyzer
from mien.serving import analyze, explain, live, video
from mien.serving.access import check_key
from mien.serving.intake import note_who_leaves
from mien.serving.problems import Problem, add_problem_handlers, problem_responses
from mien.serving.schema import AnalyzeBody, LiveAnswer, ModelAnswer, State
from mien.serving.service import Service
from mien.serving.settings import ServiceSettings
from mien.serving.watch import Watch

logger = logging.getLogger(__name__)

_DESCRIPTION = """Facial expressions in pictures and clips. Pictures are read in memory and not
kept; a clip is deleted as soon as it is read.

An expression is what a face shows, not what a person feels; how far to trust it is in the model's
card. Frames of a live camera are read by WebSocket at `/v1/live`: a JPEG in each binary message,
and a JSON answer for the newest one."""


class _App(FastAPI):
    """An app whose OpenAPI tells of bodies and messages that the framework does not see itself."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        _, unseen = models_json_schema(
            [(AnalyzeBody, "validation"), (LiveAnswer, "serialization")],
            ref_template="#/components/schemas/{model}",
        )
        schema["components"]["schemas"] |= unseen["$defs"]
        return schema


def create_app(
    settings: ServiceSettings | None = None, *, analyzer: Analyzer | None = None
) -> FastAPI:
    """Return the service as an app, whose model is opened as the app starts.

    Args:
        settings: Its limits; the defaults of :class:`ServiceSettings` when left out.
        analyzer: What reads, where it is open already; by default what the settings name.
    """
    service = Service(settings or ServiceSettings(), analyzer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.open)
        sweeping = asyncio.create_task(_sweep(service))
        yield
        sweeping.cancel()
        await asyncio.to_thread(service.close)

    # The framework's pages of documentation would load scripts from other hosts.
    app = _App(
        title="mien",
        version=mien.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    add_problem_handlers(app)
    note_who_leaves(app)
    keyed = _key_dependencies(service.settings)
    for router in (analyze.router, explain.router, video.router):
        app.include_router(router, dependencies=keyed)
    app.include_router(_facts, dependencies=keyed)
    app.include_router(_probes)
    app.include_router(live.router)
    if service.settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.allow_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Location", "Retry-After"],
        )
    app.add_middleware(Watch, metrics=service.metrics)
    if service.settings.page:
        from mien.serving.page import mount_page  # noqa: PLC0415 - slow to import

        mount_page(app)
    return app


async def _sweep(service: Service) -> None:
    """Remove the results of videos when their time is over, as long as the service runs."""
    while True:
        await asyncio.sleep(min(10.0, service.settings.keep_video_s))
        try:
            service.videos.sweep()
        except OSError:
            logger.exception("results whose time is over could not be removed")


def _require_key(request: Request) -> None:
    check_key(request, request.app.state.service.settings)


def _key_dependencies(settings: ServiceSettings) -> list[Any]:
    """Return what checks the key before a body is read, and tells OpenAPI of it."""
    if settings.api_key is None:
        return []
    told = (APIKeyHeader(name="X-API-Key", auto_error=False), HTTPBearer(auto_error=False))
    return [Depends(_require_key), *(Security(scheme) for scheme in told)]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


_facts = APIRouter(tags=["facts"])
_probes = APIRouter(tags=["probes"])
_Service = Annotated[Service, Depends(_service)]


@_facts.get(
    "/v1/model",
    summary="What the model is",
    response_model=ModelAnswer,
    responses=problem_responses(401, 503),
)
async def model(service: _Service) -> Any:
    """Return the facts that the model's file carries, and the limits of the service."""
    metadata = service.analyzer.classifier.metadata
    names = ("name", "version", "classes", "input_size", "temperature", "recipe", "data", "metrics")
    return {
        **{name: getattr(metadata, name) for name in names},
        "uncertain_below": service.analyzer.uncertain_below,
        "tta": service.analyzer.classifier.tta,
        "limits": service.settings.limits(),
    }


@_facts.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(401),
    },
)
async def metrics(service: _Service) -> Response:
    """Return requests, times, batches and faces as Prometheus reads them."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@_probes.get("/healthz", summary="Whether the service lives", response_model=State)
async def healthz() -> Any:
    """Answer; that is all there is to it."""
    return {"status": "ok"}


@_probes.get(
    "/readyz",
    summary="Whether the service takes on work",
    response_model=State,
    responses=problem_responses(503),
)
async def readyz(service: _Service) -> Any:
    """Answer 200 when the model is open, 503 before and when the service is about to stop."""
    if not service.is_ready:
        raise Problem(503, "not-ready", "the service is starting or about to stop")
    return JSONResponse({"status": "ready"})
