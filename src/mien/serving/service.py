"""The state of one running service: what its routes share."""

import asyncio
import logging
from concurrent.futures import Future

from mien.analysis.analyzer import Analyzer
from mien.errors import MediaError
from mien.serving.admission import Admission
from mien.serving.batcher import Batcher, Explanation, Reading, ReadOptions, Upload
from mien.serving.metrics import ServiceMetrics
from mien.serving.problems import Problem, failed
from mien.serving.settings import ServiceSettings
from mien.serving.video_jobs import VideoJobs

logger = logging.getLogger(__name__)


def open_analyzer(settings: ServiceSettings) -> Analyzer:
    """Open the model and the detector as a service uses them: one thread for each picture.

    Raises:
        ModelError: One of them cannot be used.
        ValueError: A setting is out of range.
    """
    analyzer = Analyzer(
        settings.model,
        min_face=settings.min_face,
        batch_size=settings.batch_faces,
        threads=1,
        uncertain_below=settings.uncertain_below,
        tta=settings.tta,
    )
    _ = analyzer.detector  # opened now, not by the first request
    return analyzer


class Service:
    """What the routes of an app share.

    Args:
        settings: The limits.
        analyzer: What reads, where it is open already.

    Attributes:
        settings: The limits.
        admission: What was taken on.
        metrics: The figures for Prometheus.
        live: How many live connections there are.
    """

    def __init__(self, settings: ServiceSettings, analyzer: Analyzer | None = None) -> None:
        self.settings = settings
        self.admission = Admission(settings)
        self.metrics = ServiceMetrics(lambda: self.admission.pictures, lambda: self.admission.bytes)
        self.live = 0
        self._given = analyzer
        self._analyzer: Analyzer | None = None
        self._batcher: Batcher | None = None
        self._videos: VideoJobs | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the model is open, and the service not about to stop."""
        return self._batcher is not None and not self.admission.closing

    @property
    def analyzer(self) -> Analyzer:
        """What reads.

        Raises:
            Problem: It is not open yet.
        """
        if self._analyzer is None:
            raise _starting()
        return self._analyzer

    @property
    def videos(self) -> VideoJobs:
        """The videos.

        Raises:
            Problem: The service is not open yet.
        """
        if self._videos is None:
            raise _starting()
        return self._videos

    def open(self) -> None:
        """Open the model, and start to read.

        Raises:
            ModelError: It cannot be used.
        """
        self._analyzer = self._given or open_analyzer(self.settings)
        self._batcher = Batcher(self._analyzer, self.settings, self.metrics)
        self._videos = VideoJobs(self._analyzer, self.settings, self.metrics)

    def close_door(self) -> None:
        """Take on nothing more; what was taken on is finished."""
        self.admission.closing = True

    def close(self) -> None:
        """Finish what was taken on, then stop; videos are not read to their ends."""
        self.close_door()
        if self._videos is not None:
            self._videos.close()
            self._videos = None
        if self._batcher is not None:
            self._batcher.close()
            self._batcher = None

    def submit(self, upload: Upload, options: ReadOptions) -> "asyncio.Future[Reading]":
        """Hand in a picture; cancelled, it is dropped.

        Raises:
            Problem: The service is not open yet.
        """
        if self._batcher is None:
            raise _starting()
        future: Future[Reading] = self._batcher.submit(upload, options)
        return asyncio.wrap_future(future)

    async def explain(self, upload: Upload, face: int, *, whole_image: bool) -> Explanation:
        """Find where in a face its expression was read.

        Raises:
            Problem: The service is not open yet, the picture cannot be read, or has no such face.
        """
        if self._batcher is None:
            raise _starting()
        try:
            future = self._batcher.explain(upload, face, whole_image=whole_image)
            found = await asyncio.wrap_future(future)
        except MediaError as error:
            raise Problem(422, "picture-unreadable", str(error)) from error
        if found is None:
            raise Problem(422, "no-such-face", f"the picture has no face {face}, counted from 0")
        return found

    def conclude(self, outcome: Reading | BaseException) -> Reading | Problem:
        """Count a picture's outcome, and turn an error into what its sender is told.

        Raises:
            Problem: The service itself failed.
        """
        if isinstance(outcome, Reading):
            self.metrics.note_picture(read=True)
            self.admission.note_picture(outcome.busy_s)
            return outcome
        if isinstance(outcome, MediaError):
            self.metrics.note_picture(read=False)
            return Problem(422, "picture-unreadable", str(outcome))
        logger.error("reading a picture failed", exc_info=outcome)
        raise failed()


def _starting() -> Problem:
    return Problem(
        503, "starting", "the model is not open yet: try again soon", headers={"Retry-After": "1"}
    )
