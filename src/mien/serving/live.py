"""``WebSocket /v1/live``: a camera's frames in, expressions out, always of the newest frame."""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from mien.serving.access import check_key, check_origin
from mien.serving.batcher import ReadOptions, Upload
from mien.serving.problems import Problem
from mien.serving.service import Service

#: WebSocket close codes. Source: https://www.iana.org/assignments/websocket
_REFUSED, _RESTARTS, _IDLE = 1008, 1012, 3008

router = APIRouter()


class _Frames:
    """Keeps the newest frame of a connection until it is taken."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()
        self._newest: bytes | None = None
        self._received = 0
        self._taken = 0

    def put(self, frame: bytes | None) -> None:
        """Keep a frame in place of the one before; None for a message that is none."""
        self._newest = frame
        self._received += 1
        self._arrived.set()

    async def take(self) -> tuple[int, int, bytes | None]:
        """Return the newest frame's number, how many were replaced so far, and the frame."""
        await self._arrived.wait()
        self._arrived.clear()
        self._taken += 1
        return self._received - 1, self._received - self._taken, self._newest


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Read the frames of a camera.

    Each binary message is a picture file, a JPEG best; each answer is JSON, as
    :class:`mien.serving.schema.LiveAnswer` says. While one frame is read, the others wait in one
    place, where each replaces the one before: an answer is of the newest frame there is. A
    connection that sends no frame for some time is closed, and its place given to others.
    """
    service: Service = socket.app.state.service
    try:
        _check_entry(socket, service)
    except Problem as problem:
        await _refuse(socket, problem)
        return
    service.live += 1
    try:
        await socket.accept()
        await _converse(socket, service)
    finally:
        service.live -= 1


def _check_entry(socket: WebSocket, service: Service) -> None:
    check_origin(socket, service.settings)
    check_key(socket, service.settings)
    if service.live >= service.settings.max_live:
        headers = {"Retry-After": "5"}
        raise Problem(429, "busy", "too many live connections: try again later", headers=headers)
    if not service.is_ready:
        told = "the service is starting or about to stop: try again soon"
        raise Problem(503, "closing", told, headers={"Retry-After": "1"})


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(problem.to_response())
    else:
        await socket.close(_REFUSED, problem.kind)


async def _converse(socket: WebSocket, service: Service) -> None:
    """Receive and answer until either side ends it."""
    frames = _Frames()
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(_answer(socket, service, frames))
        receiving = group.create_task(_receive(socket, frames))
        answering.add_done_callback(lambda _: receiving.cancel())
        receiving.add_done_callback(lambda _: answering.cancel())


async def _receive(socket: WebSocket, frames: _Frames) -> None:
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        frames.put(message.get("bytes"))


async def _answer(socket: WebSocket, service: Service, frames: _Frames) -> None:
    loop, idle_s = asyncio.get_running_loop(), service.settings.live_idle_s
    until = loop.time() + idle_s
    while True:
        try:
            async with asyncio.timeout_at(until):
                number, dropped, frame = await frames.take()
        except TimeoutError:
            await _close(socket, _IDLE, f"no frame for {idle_s:g} s: connect again")
            return
        answer: dict[str, Any] = {"frame": number, "dropped": dropped}
        answer |= {"result": None, "faces_omitted": 0, "problem": None}
        try:
            answer.update(await _read(service, frame, f"frame {number}"))
        except Problem as problem:
            answer["problem"] = problem.to_dict()
        try:
            # Whoever does not take the answers is gone too.
            async with asyncio.timeout(idle_s):
                await socket.send_json(answer)
        except (RuntimeError, TimeoutError, WebSocketDisconnect):
            return
        if service.admission.closing:
            await _close(socket, _RESTARTS, "the service is about to stop")
            return
        # What is no frame keeps no place.
        if frame is not None:
            until = loop.time() + idle_s


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # the other side has gone
        await socket.close(code, reason)


async def _read(service: Service, frame: bytes | None, name: str) -> dict[str, Any]:
    """Return what was read in a frame.

    Raises:
        Problem: It is no frame, cannot be read, or not now.
    """
    settings = service.settings
    if frame is None:
        raise Problem(415, "not-binary", "send each frame as a binary message, a JPEG best")
    if len(frame) > settings.max_picture_bytes:
        raise Problem(413, "picture-too-large", f"more than {settings.max_picture_bytes:,} bytes")
    with service.admission.claim() as claim:
        claim.add_bytes(len(frame))
        claim.add_pictures(1)
        work = asyncio.gather(
            service.submit(Upload(name=name, data=frame), ReadOptions()), return_exceptions=True
        )
        try:
            async with asyncio.timeout(settings.timeout_s):
                (outcome,) = await work
        except TimeoutError as error:
            raise Problem(504, "too-slow", "the frame was not read in time") from error
    reading = service.conclude(outcome)
    if isinstance(reading, Problem):
        raise reading
    return {"result": reading.result.to_dict(), "faces_omitted": reading.faces_omitted}
