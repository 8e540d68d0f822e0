"""What requests with pictures go through: taken on, received and read in time, or put off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from mien.serving.batcher import Upload
from mien.serving.problems import Problem
from mien.serving.service import Service
from mien.serving.uploads import read_uploads

#: What is logged of a client that left; nobody receives it. Source: nginx's name for it.
_CLIENT_GONE: Final = 499

_T = TypeVar("_T")


@asynccontextmanager
async def receive_pictures(
    request: Request, service: Service, *, one: bool = False
) -> AsyncIterator[list[Upload]]:
    """Yield a request's pictures, for which there is room and time as long as the block lasts.

    Args:
        request: The request, its body not read yet.
        service: What takes them on.
        one: Whether it must be a single picture.

    Raises:
        ClientDisconnect: The sender has left.
        Problem: They cannot be taken on, did not arrive in time, or the block took too long.
    """
    deadline = asyncio.get_running_loop().time() + service.settings.timeout_s
    with service.admission.claim() as claim:
        async with until(deadline, 408, "the request did not arrive in time"):
            uploads = await read_uploads(request, service.settings, claim)
        if one and len(uploads) > 1:
            raise Problem(422, "too-many-pictures", "one picture in a request, please")
        claim.add_pictures(len(uploads))
        async with until(deadline, 504, "not read in time: send fewer or smaller pictures"):
            yield uploads


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


async def while_there(request: Request, work: Awaitable[_T]) -> _T:
    """Return what work gives, which goes on as long as its sender is there.

    Raises:
        ClientDisconnect: The sender has left; the work is cancelled.
    """
    working = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, left), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        left.cancel()
        working.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def note_who_leaves(app: FastAPI) -> None:
    """Let an app end the request of a client that left without calling it a failure."""
    app.add_exception_handler(ClientDisconnect, _end)


async def _end(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_GONE)
