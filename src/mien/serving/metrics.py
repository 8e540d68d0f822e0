"""Figures of a running service, for Prometheus."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

#: Where the figures of several processes are gathered; prometheus-client's own name for it.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FACES: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServiceMetrics:
    """The figures of one app; every app counts for itself.

    Args:
        waiting_pictures: Tells how many pictures wait or are being read.
        waiting_bytes: Tells how many bytes they and what is being received have.
    """

    def __init__(
        self, waiting_pictures: Callable[[], float], waiting_bytes: Callable[[], float]
    ) -> None:
        registry = self._registry = CollectorRegistry()
        self._waiting = (waiting_pictures, waiting_bytes)
        self._requests = Counter(
            "mien_requests_total", "Requests.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "mien_request_seconds",
            "Time to answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "mien_batch_faces", "Faces read together.", buckets=_FACES, registry=registry
        )
        self._faces = Counter("mien_faces_total", "Faces read.", registry=registry)
        self._pictures = Counter(
            "mien_pictures_total", "Pictures, read or not.", ("outcome",), registry=registry
        )
        self._videos = Counter(
            "mien_videos_total", "Videos, by what became of them.", ("outcome",), registry=registry
        )
        self._frames = Counter("mien_video_frames_total", "Frames read.", registry=registry)
        self._active = _gauge(
            "mien_waiting_videos", "Videos arriving, waiting or being read.", registry
        )
        self._gauges = (
            _gauge("mien_waiting_pictures", "Pictures waiting or being read.", registry),
            _gauge("mien_waiting_bytes", "Bytes received, waiting or being read.", registry),
        )
        if SHARED_FOLDER not in os.environ:
            ProcessCollector(registry=registry)

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._note_waiting()

    def note_batch(self, faces: int) -> None:
        """Count the faces that were read together."""
        self._batch.observe(faces)
        self._faces.inc(faces)

    def note_picture(self, *, read: bool) -> None:
        """Count a picture that was read, or could not be."""
        self._pictures.labels("read" if read else "unreadable").inc()

    def note_video(self, outcome: str, frames: int) -> None:
        """Count a video that is ``done``, has ``failed`` or was ``cancelled``."""
        self._videos.labels(outcome).inc()
        self._frames.inc(frames)

    def note_videos(self, active: int) -> None:
        """Note how many videos there are to do."""
        self._active.set(active)

    def render(self) -> bytes:
        """Return all figures as Prometheus reads them, of all workers where there are several."""
        self._note_waiting()
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)

    def _note_waiting(self) -> None:
        # At every answer, since the other workers' figures are the last that they set.
        for gauge, waiting in zip(self._gauges, self._waiting, strict=True):
            gauge.set(waiting())


def forget_dead_workers() -> None:
    """Drop what workers that are gone had waiting; what they counted stays counted."""
    for file in Path(os.environ[SHARED_FOLDER]).glob("gauge_live*_*.db"):
        worker = int(file.stem.rpartition("_")[2])
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            mark_process_dead(worker)  # type: ignore[no-untyped-call]


def _gauge(name: str, text: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, registry=registry, multiprocess_mode="livesum")
