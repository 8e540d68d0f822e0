"""Micro-batching: pictures of many requests, their faces read together.

A few threads decode pictures and find their faces, a picture each: ONNX Runtime lets other threads
run meanwhile. One thread takes what they have found, and reads the faces of all in one batch.
"""

import functools
import io
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.analysis.analyzer import Analyzer, FramedPicture
from mien.analysis.draw import MAX_JPEG, annotated_jpeg
from mien.analysis.media import Picture, read_picture
from mien.analysis.occlusion import occlude
from mien.pictures import decode_picture
from mien.results import FrameResult
from mien.serving.metrics import ServiceMetrics
from mien.serving.settings import ServiceSettings

logger = logging.getLogger(__name__)

#: What is decoded of strangers' files: formats that Pillow and its libraries read themselves.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture that was sent.

    Attributes:
        name: What it is called in the result.
        data: The picture file.
    """

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a picture is read.

    Attributes:
        annotate: Whether to draw what was read.
        whole_image: Whether the picture is a face crop already.
    """

    annotate: bool = False
    whole_image: bool = False


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read in a picture.

    Attributes:
        result: The result.
        faces_omitted: Smaller faces that were found and left out.
        annotated_jpeg: A JPEG file of the picture with boxes, where it was asked for and the
            picture is not too large for one.
        busy_s: Seconds that finding its faces took.
    """

    result: FrameResult
    faces_omitted: int
    annotated_jpeg: bytes | None = field(repr=False)
    busy_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Where in a face its expression was read.

    Attributes:
        expression: The most probable class.
        crop_gray: ``(H, W)`` uint8, the face as the model sees it.
        falls: ``(H, W)`` float32; by how much that class becomes less probable, from -1 to 1,
            where this place is covered.
    """

    expression: str
    crop_gray: npt.NDArray[np.uint8]
    falls: npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class _Job:
    """A picture on its way."""

    upload: Upload | None
    options: ReadOptions
    future: "Future[Any]"
    framed: FramedPicture | None = None
    busy_s: float = 0.0

    @property
    def faces(self) -> int:
        return 0 if self.framed is None else len(self.framed.crops_gray)

    def let_go(self, _: object) -> None:
        """Drop the file once nobody waits for it; what waits for a thread is counted no longer."""
        self.upload = None


class Batcher:
    """Reads pictures that are handed in one by one, from any thread, in batches.

    Args:
        analyzer: What finds and reads the faces.
        settings: Its limits.
        metrics: Told of batches and faces.
    """

    def __init__(
        self, analyzer: Analyzer, settings: ServiceSettings, metrics: ServiceMetrics
    ) -> None:
        self._analyzer = analyzer
        self._settings = settings
        self._metrics = metrics
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._unfinished = 0
        self._searched = 0
        # Daemons, unlike an executor's: a decoder that is stuck must not keep the process alive.
        targets = [(self._work, f"mien-reader-{number}") for number in range(settings.readers)]
        targets.append((self._run, "mien-batcher"))
        self._threads = [threading.Thread(target=t, name=n, daemon=True) for t, n in targets]
        for thread in self._threads:
            thread.start()

    def submit(self, upload: Upload, options: ReadOptions) -> "Future[Reading]":
        """Hand in a picture.

        Returns:
            What will hold its reading, or the :class:`mien.errors.MediaError` that says why it
            cannot be read. Cancelled, the picture is dropped at its next step.
        """
        job = _Job(upload, options, Future())
        job.future.add_done_callback(job.let_go)
        with self._changed:
            self._unfinished += 1
            self._searched += 1
        self._tasks.put(functools.partial(self._search, job))
        return job.future

    def explain(
        self, upload: Upload, face: int, *, whole_image: bool = False
    ) -> "Future[Explanation | None]":
        """Find where in a face, counted from the largest on, its expression was read.

        Returns:
            What will hold the explanation, or None where there is no such face, or the
            :class:`mien.errors.MediaError` that says why the picture cannot be read. Cancelled
            before a reader has come to it, the picture is dropped.
        """
        job = _Job(upload, ReadOptions(whole_image=whole_image), Future())
        job.future.add_done_callback(job.let_go)
        work = functools.partial(self._explain, job, face)
        self._tasks.put(functools.partial(_complete, job.future, work))
        return job.future

    def close(self) -> None:
        """Finish what was handed in, then stop the threads.

        What is not done when a request would long have been given up is left behind.
        """
        with self._changed:
            is_done = self._changed.wait_for(
                lambda: self._unfinished == 0, self._settings.timeout_s
            )
        self._tasks.put(None)
        self._found.put(None)
        if is_done:
            for thread in self._threads:
                thread.join()
        else:
            logger.error("%d pictures were not finished before the end", self._unfinished)

    def _work(self) -> None:
        """Do what readers have to do, until told to stop by None."""
        while (task := self._tasks.get()) is not None:
            task()
        self._tasks.put(None)  # for the next of them

    def _search(self, job: _Job) -> None:
        """Decode a picture and find its faces, in one of the readers' threads."""
        start = time.perf_counter()
        failure: Exception | None = None
        try:
            if (upload := job.upload) is not None:
                job.framed = self._frame(upload, job.options)
        except Exception as error:
            failure = error
        job.busy_s = time.perf_counter() - start
        # Before the next step, which would else wait for this very picture.
        with self._changed:
            self._searched -= 1
        if failure is not None:
            self._finish(job, failure)
        elif job.faces:
            self._found.put(job)
        else:
            self._read([job])

    def _explain(self, job: _Job, face: int) -> Explanation | None:
        assert job.upload is not None, "a future that runs is not cancelled"
        framed = self._frame(job.upload, job.options)
        if face >= len(framed.crops_gray):
            return None
        crop = framed.crops_gray[face]
        top_class, falls = occlude(self._analyzer.classify, crop)
        name = self._analyzer.classes[top_class]
        return Explanation(expression=name, crop_gray=crop, falls=falls)

    def _frame(self, upload: Upload, options: ReadOptions) -> FramedPicture:
        return self._analyzer.frame(
            self._decode(upload),
            whole_image=options.whole_image,
            max_faces=self._settings.max_faces,
        )

    def _decode(self, upload: Upload) -> Picture:
        image = decode_picture(
            io.BytesIO(upload.data),
            upload.name,
            max_pixels=self._settings.max_pixels,
            formats=FORMATS,
        )
        return read_picture(image, name=upload.name)

    def _run(self) -> None:
        """Read batch after batch, until told to stop by None."""
        while (first := self._found.get()) is not None:
            self._read(self._gather(first))

    def _gather(self, first: _Job) -> list[_Job]:
        """Return a picture and those that come while others are still searched for faces."""
        jobs, faces = [first], first.faces
        until = time.monotonic() + self._settings.batch_wait_ms / 1e3
        while faces < self._settings.batch_faces:
            # Nobody waits for what is not on its way, so a lonely request loses no time.
            wait_s = until - time.monotonic() if self._searched else 0.0
            try:
                job = self._found.get(timeout=max(wait_s, 0.0))
            except queue.Empty:
                break
            if job is None:
                self._found.put(None)
                break
            jobs.append(job)
            faces += job.faces
        return jobs

    def _read(self, jobs: Sequence[_Job]) -> None:
        """Classify the faces of some pictures together, and answer."""
        wanted = [job for job in jobs if job.framed is not None and not job.future.cancelled()]
        for job in jobs:
            if job not in wanted:
                self._finish(job, None)
        framed = [job.framed for job in wanted if job.framed is not None]
        try:
            results = self._analyzer.read(framed)
        except Exception as error:
            for job in wanted:
                self._finish(job, error)
            return
        if faces := sum(job.faces for job in wanted):
            self._metrics.note_batch(faces)
        for job, result in zip(wanted, results, strict=True):
            if job.options.annotate:
                self._tasks.put(functools.partial(self._draw, job, result))
            else:
                self._finish(job, _reading(job, result, None))

    def _draw(self, job: _Job, result: FrameResult) -> None:
        """Draw a picture's result, in one of the readers' threads, and answer."""
        if (upload := job.upload) is None:
            self._finish(job, None)
            return
        try:
            # Decoded once more: kept till now, the pixels of all that wait could fill the memory.
            picture = self._decode(upload)
            fits = max(result.size_wh) <= MAX_JPEG
            jpeg = annotated_jpeg(picture.image_rgb, result, colour="rgb") if fits else None
        except Exception as error:
            self._finish(job, error)
        else:
            self._finish(job, _reading(job, result, jpeg))

    def _finish(self, job: _Job, outcome: Reading | Exception | None) -> None:
        """Answer, unless nobody waits any longer; None is for those alone."""
        if job.future.set_running_or_notify_cancel():
            if isinstance(outcome, Reading):
                job.future.set_result(outcome)
            else:
                job.future.set_exception(outcome or RuntimeError("dropped"))
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()


def _reading(job: _Job, result: FrameResult, jpeg: bytes | None) -> Reading:
    omitted = 0 if job.framed is None else job.framed.omitted
    return Reading(result=result, faces_omitted=omitted, annotated_jpeg=jpeg, busy_s=job.busy_s)


def _complete(result: "Future[Any]", work: Callable[[], Any]) -> None:
    """Do what a future is to hold, unless nobody waits for it any longer."""
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(work())
    except Exception as error:
        result.set_exception(error)
