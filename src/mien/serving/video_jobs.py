"""The videos of a service: so many at once, each for so long, and nothing left behind."""

import asyncio
import logging
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mien.serving.metrics import ServiceMetrics
from mien.serving.private_folder import hold, is_abandoned, private_folder
from mien.serving.problems import Problem
from mien.serving.settings import ServiceSettings
from mien.serving.video_job import (
    Cancelled,
    JobFolder,
    JobState,
    VideoOptions,
    check_video,
    run_job,
)

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer

logger = logging.getLogger(__name__)

_ID_BYTES: Final = 24
_ID: Final = re.compile(r"[A-Za-z0-9_-]{32}")
#: Jobs of a service whose results may be kept at a time, for each that may be active.
_KEPT: Final = 8


class VideoJobs:
    """Reads videos in threads of its own, beside the pictures.

    Args:
        analyzer: What finds and reads the faces.
        settings: The limits.
        metrics: Told of the videos.
    """

    def __init__(
        self, analyzer: "Analyzer", settings: ServiceSettings, metrics: ServiceMetrics
    ) -> None:
        self._analyzer = analyzer
        self._settings = settings
        self._metrics = metrics
        self._leave = ExitStack()
        if settings.video_folder is None:
            self._root = self._leave.enter_context(private_folder("videos"))
        else:
            self._root = Path(settings.video_folder)
            self._root.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(settings.video_readers, thread_name_prefix="mien-video")
        self._active: dict[str, Future[None] | None] = {}
        self._locks: dict[str, IO[str]] = {}
        # A clip that is made to take long keeps others waiting, but they do not add up.
        self._checking = asyncio.Semaphore(settings.video_readers)

    def close(self) -> None:
        """Stop what is being read, whose results nobody could fetch any longer."""
        for job_id in list(self._active):
            self._folder(job_id).cancel()
        self._pool.shutdown(cancel_futures=True)
        self._leave.close()

    @contextmanager
    def place(self) -> Iterator[str]:
        """Yield the id of a new job, for whose video there is a folder.

        The block calls :meth:`start`; if it raises, nothing is left of the job.

        Raises:
            Problem: There are too many already.
        """
        self.sweep()
        kept = sum(1 for path in self._root.iterdir() if path.is_dir())
        if len(self._active) >= self._settings.max_videos:
            raise self._busy("as many videos as the service takes on are waiting or being read")
        if kept >= _KEPT * self._settings.max_videos:
            raise self._busy("too many results are kept: DELETE those that were taken")
        job_id = secrets.token_urlsafe(_ID_BYTES)
        self._active[job_id] = None
        self._note_active()
        try:
            folder = self._folder(job_id).path
            folder.mkdir(mode=0o700)
            self._locks[job_id] = hold(folder)
            yield job_id
        except BaseException:
            self._remove(job_id)
            raise

    def folder(self, job_id: str) -> JobFolder:
        """Return the folder of a new job."""
        return self._folder(job_id)

    async def check(self, job_id: str, source: str) -> None:
        """See that what arrived for a new job is a video within the limits.

        Raises:
            Problem: It is not.
        """
        async with self._checking:
            await check_video(self._folder(job_id).upload, source, self._settings)

    def start(self, job_id: str, options: VideoOptions) -> JobState:
        """Have the video in a job's folder read as soon as its turn comes."""
        folder, state = self._folder(job_id), JobState(source=options.source)
        folder.write_state(state)
        future = self._active[job_id] = self._pool.submit(self._run, job_id, folder, options)
        future.add_done_callback(lambda _: self._forget(job_id))
        return state

    def find(self, job_id: str) -> tuple[JobFolder, JobState]:
        """Return a job's folder and state.

        Raises:
            Problem: There is no such job, or no longer.
        """
        folder = self._folder(job_id) if _ID.fullmatch(job_id) else None
        state = None if folder is None else self._read_state(folder)
        if folder is None or state is None or self._is_over(state):
            raise Problem(404, "no-such-video", "there is no video of this id, or no longer")
        return folder, state

    def expires_in_s(self, state: JobState) -> float | None:
        """Return the seconds until a job's results are removed; None before it ended."""
        if state.ended_s is None:
            return None
        return round(max(0.0, state.ended_s + self._settings.keep_video_s - time.time()), 1)

    def delete(self, job_id: str) -> None:
        """Stop a job where it runs, and remove what there is of it.

        Raises:
            Problem: There is no such job, or no longer.
        """
        folder, state = self.find(job_id)
        folder.cancel()
        future = self._active.get(job_id)
        if state.ended_s is not None:
            self._remove(job_id)
        elif future is not None and future.cancel():
            self._metrics.note_video("cancelled", 0)
            self._remove(job_id)

    def sweep(self) -> None:
        """Remove what has been kept for long enough."""
        for path in self._root.iterdir():
            if path.name in self._active or not path.is_dir():
                continue
            state = self._read_state(JobFolder(path))
            # A folder without a state is cancelled, or of a video that arrives at another worker.
            if is_abandoned(path) if state is None else self._is_over(state):
                self._remove(path.name)

    def _read_state(self, folder: JobFolder) -> JobState | None:
        """Return what is told of a job; one whose worker died has failed."""
        state = folder.read_state()
        if state is None or state.ended_s is not None or not is_abandoned(folder.path):
            return state
        state = folder.read_state()
        if state is None or state.ended_s is not None:  # it ended meanwhile
            return state
        told = "its reader was killed or ran out of disk: send it again"
        state = replace(
            self._failed(folder, state.source, Problem(503, "worker-died", told)),
            ended_s=time.time(),
        )
        folder.upload.unlink(missing_ok=True)
        with suppress(OSError):  # of a full disk, which is logged by whoever fills it
            folder.write_state(state)
        return state

    def _run(self, job_id: str, folder: JobFolder, options: VideoOptions) -> None:
        """Read a job's video, in a thread of the pool."""
        try:
            state = run_job(folder, options, self._analyzer, self._settings)
        except Cancelled:
            self._metrics.note_video("cancelled", 0)
            self._remove(job_id)
            return
        except Problem as problem:
            state = self._failed(folder, options.source, problem)
        except Exception:
            logger.exception("reading a video failed")
            unforeseen = Problem(500, "failed", "the service failed at this; it is logged")
            state = self._failed(folder, options.source, unforeseen)
        self._metrics.note_video(state.state, state.frames)
        # The video itself is not kept a moment longer than it is read.
        folder.upload.unlink(missing_ok=True)
        if folder.is_cancelled:
            self._remove(job_id)
            return
        try:
            folder.write_state(replace(state, ended_s=time.time()))
        except OSError:
            logger.exception("telling of a video's end failed")

    def _failed(self, folder: JobFolder, source: str, problem: Problem) -> JobState:
        state = folder.read_state() or JobState(source=source)
        return replace(state, state="failed", eta_s=None, problem=problem.to_dict())

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._root / job_id)

    def _remove(self, job_id: str) -> None:
        # Its lock is closed first: Windows removes no open file.
        self._forget(job_id)
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    def _forget(self, job_id: str) -> None:
        self._active.pop(job_id, None)
        if (lock := self._locks.pop(job_id, None)) is not None:
            lock.close()
        self._note_active()

    def _note_active(self) -> None:
        self._metrics.note_videos(len(self._active))

    def _is_over(self, state: JobState) -> bool:
        return self.expires_in_s(state) == 0.0

    def _busy(self, detail: str) -> Problem:
        headers = {"Retry-After": "10", "Connection": "close"}
        return Problem(429, "busy", f"{detail}: try again later", headers=headers)
