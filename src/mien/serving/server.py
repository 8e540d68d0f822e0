"""Running the service: the port, the processes, and an end that loses nothing."""

import errno
import functools
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from mien.analysis.analyzer import Analyzer
from mien.errors import ServiceError
from mien.serving.app import create_app
from mien.serving.metrics import SHARED_FOLDER, forget_dead_workers
from mien.serving.private_folder import private_folder
from mien.serving.settings import ServiceSettings

logger = logging.getLogger(__name__)

#: Seconds beyond a request's own limit until one that still runs is given up at the end.
_GRACE_S: Final = 5
#: Largest request line and headers together.
_MAX_HEADER_BYTES: Final = 65_536
#: Seconds that a worker may take to load and to answer its supervisor, which else replaces it; on a
#: busy machine the default of 5 let none come up.
_WORKER_S: Final = 60


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; callers wait in it until the service answers.

    Args:
        host: An address or name of this machine; ``0.0.0.0`` or ``::`` for all its addresses.
        port: The port; 0 for any free one.

    Raises:
        ServiceError: The address is not to be had; the message says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(
                f"port {port} of {host} is in use: name another with --port, 0 for any free one"
            ) from error
        raise ServiceError(f"{host}, port {port}: {error.strerror or error}") from error
    except (UnicodeError, TypeError) as error:  # as the name is or is not ASCII
        raise ServiceError(f"{host}: no name of a machine; 127.0.0.1 is this one") from error


def address_of(listener: socket.socket) -> str:
    """Return the URL that a socket listens at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: ServiceSettings, listener: socket.socket, analyzer: Analyzer, *, workers: int = 1
) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; then finish what was taken on, and return.

    Args:
        settings: The limits, of each worker.
        listener: Where, from :func:`bind`.
        analyzer: Used by the only worker; several open their own.
        workers: Processes.

    Raises:
        OSError: There is no temporary folder that can be written.
        ServiceError: A worker could not be started, or several cannot be on this system.
    """
    if workers > 1 and sys.platform == "win32":
        raise ServiceError("several workers need Linux or macOS: use one, with more --threads")
    # Made here, since what fails as the app starts ends in a traceback; and shared, so that each
    # worker can tell of a video that another one reads.
    place = settings.video_folder
    with private_folder("videos") if place is None else nullcontext(place) as videos:
        settings = replace(settings, video_folder=videos)
        if workers == 1:
            _serve_here(settings, listener, analyzer)
        else:
            _serve_by_workers(settings, listener, workers)


def _serve_by_workers(settings: ServiceSettings, listener: socket.socket, workers: int) -> None:
    with private_folder("metrics") as figures:
        os.environ[SHARED_FOLDER] = str(figures)
        config = _config(functools.partial(_app_of_process, settings), settings, workers=workers)
        _log_to_stderr()
        supervisor = _Supervisor(config, [listener])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise ServiceError("a worker could not be started; the reason is above")


class _Supervisor(Multiprocess):
    """Has another worker take the place of one that died, at once, and tells of it."""

    def keep_subprocess_alive(self) -> None:
        before = list(self.processes)
        for process in before:
            # The worker's end of the pipe: open here too, it would hide that the worker is gone
            # from whoever waits for an answer.
            process.child_conn.close()
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if new is not old:
                logger.warning(
                    "worker %s died, exit code %s: %s takes its place",
                    old.pid,
                    old.exitcode,
                    new.pid,
                )


def _serve_here(settings: ServiceSettings, listener: socket.socket, analyzer: Analyzer) -> None:
    # Uvicorn ends by raising the signal again that stopped it; after a good end that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = _config(functools.partial(_app_of_process, settings, analyzer), settings)
    try:
        uvicorn.Server(config).run([listener])
    except KeyboardInterrupt:
        return


def _config(app: Any, settings: ServiceSettings, *, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=True,
        # The other implementation keeps headers without end, of anyone, in memory.
        http="h11",
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        workers=workers,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        # Pictures are compressed already, and what is not inflated cannot be a bomb.
        ws_per_message_deflate=False,
        ws_max_size=settings.max_picture_bytes,
        ws_max_queue=2,
        timeout_worker_healthcheck=_WORKER_S,
        timeout_graceful_shutdown=round(settings.timeout_s) + _GRACE_S,
    )


def _app_of_process(settings: ServiceSettings, analyzer: Analyzer | None = None) -> FastAPI:
    """Return the app of this process, whose signals and log are its own."""
    _log_to_stderr()
    app = create_app(settings, analyzer=analyzer)
    for number in (signal.SIGTERM, signal.SIGINT):
        _close_door_on(number, app)
    _join_supervisor()
    return app


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("mien.serving").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_is_true)


def _is_true(record: logging.LogRecord) -> bool:
    """Return whether the server's log is to be believed.

    Of a handshake that was refused with a whole answer it says that there was none.
    """
    return record.getMessage() != "ASGI callable returned without completing handshake."


def _join_supervisor() -> None:
    """Let a worker take the place of a dead one, and end when its supervisor was killed.

    It would else keep the port.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return
    # It may stand in for one that was killed, whose waiting pictures nobody reads.
    forget_dead_workers()

    def watch() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="mien-supervisor", daemon=True).start()


def _close_door_on(number: int, app: FastAPI) -> None:
    """Refuse new work from the moment of a signal on; the server's own handler does the rest."""
    handler = signal.getsignal(number)

    def close_door(received: int, frame: FrameType | None) -> None:
        app.state.service.close_door()
        if callable(handler):
            handler(received, frame)

    signal.signal(number, close_door)
