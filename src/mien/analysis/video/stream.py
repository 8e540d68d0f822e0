"""Frame after frame → persons and their expressions, several times faster than one by one.

Looking for faces in a whole frame takes most of the time, so it is done now and then; in between
the detector only looks where the faces should be. Every face in every frame is classified. What
comes out depends on the frames alone, never on how fast the machine is.
"""

import logging
import math
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mien.analysis.boxes import suppress
from mien.analysis.detector import Detections, faces_within
from mien.analysis.media import Colour, Source, read_picture
from mien.analysis.mtcnn import MtcnnDetector
from mien.analysis.video.appearance import describe_faces
from mien.analysis.video.frames import VideoFrame
from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.analysis.video.scenes import CutFinder
from mien.analysis.video.smoothing import ExpressionSmoother
from mien.analysis.video.tracking import FaceTracker
from mien.results import Face, Probabilities

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer

logger = logging.getLogger(__name__)

ImageRgb = npt.NDArray[np.uint8]

#: Frames decoded ahead of the one being read.
_AHEAD: Final = 4
#: A face is looked for where it should be for so long after it was last seen.
_REFINE_S: Final = 0.2
#: After a face was lost the whole frame is searched at once, but not more often than this; with
#: nothing lost, each time after twice as long, up to ``detect_every_s``.
_SEARCH_AGAIN_S: Final = 0.1
#: Smallest face looked for by default: this part of a frame's shorter side, 30 pixels at 720p, and
#: at least as large as in pictures.
_MIN_FACE_PART: Final = 1 / 24
_MIN_FACE: Final = 24
#: Overlap, in parts of the smaller box, above which two boxes are of one face.
_SAME_FACE: Final = 0.5


@runtime_checkable
class RefiningDetector(Protocol):
    """A detector that finds faces again near where they were; others look at every frame."""

    def refine(
        self, image_rgb: ImageRgb, boxes_xyxy: npt.NDArray[np.floating]
    ) -> tuple[Detections, npt.NDArray[np.intp]]:
        """Find faces near boxes ``(N, 4)``, and which box each came from."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSettings:
    """How a video is read.

    Attributes:
        detect_every_s: Seconds from one search of a whole frame to the next; 0 searches every
            frame. Sooner where a face is lost or the scene changes.
        keep_lost_s: Seconds for which a person out of sight keeps the number.
        smooth_s: Time constant of the average of probabilities; see :class:`ExpressionSmoother`.
        margin: By how much another expression must lead to be shown, 0 to 1.
        hold_s: For how many seconds.

    Raises:
        ValueError: A setting is negative or, but for ``detect_every_s``, infinite; or ``margin``
            is above 1.
    """

    detect_every_s: float = 0.5
    keep_lost_s: float = 1.0
    smooth_s: float = 0.4
    margin: float = 0.1
    hold_s: float = 0.25

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
            if name != "detect_every_s" and math.isinf(value):
                raise ValueError(f"{name} must be finite, got {value}")
        if self.margin > 1:
            raise ValueError(f"margin must be 0 to 1, got {self.margin}")


class FrameReader:
    """Reads the frames of one video in their order.

    Args:
        analyzer: Finds and reads the faces. Its detector refines where it can, as the default one
            does; with another, every frame is searched.
        source: The video's name in the results.
        settings: How to read.

    Attributes:
        searched: Frames searched as a whole so far.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self, analyzer: "Analyzer", *, source: str = "", settings: StreamSettings | None = None
    ) -> None:
        self.source = source
        self.settings = settings or StreamSettings()
        self.searched = 0
        self._analyzer = analyzer
        self._tracker = FaceTracker(keep_lost_s=self.settings.keep_lost_s)
        self._smoother = ExpressionSmoother(
            analyzer.classes,
            uncertain_below=analyzer.uncertain_below,
            time_constant_s=self.settings.smooth_s,
            margin=self.settings.margin,
            hold_s=self.settings.hold_s,
            gap_s=self.settings.keep_lost_s,
        )
        self._cuts = CutFinder()
        self._index = -1
        self._searched_s = -math.inf
        self._wait_s = min(_SEARCH_AGAIN_S, self.settings.detect_every_s)

    def read_image(
        self, image: Source, *, time_s: float, colour: Colour | None = None
    ) -> TrackedFrame:
        """Read the next picture of a video that somebody else decodes.

        Args:
            image: As for :meth:`mien.Analyzer.analyze`; all of one size.
            time_s: When it is shown, in seconds; where that goes back, everybody is forgotten.
            colour: Channel order of a colour array: ``"bgr"`` for OpenCV's, ``"rgb"`` for others.

        Raises:
            MediaError: The picture cannot be read.
            ValueError: An array's shape, type or missing ``colour``.
        """
        picture = read_picture(image, colour=colour)
        return self.read(VideoFrame(self._index + 1, time_s, picture.image_rgb))

    def read(self, frame: VideoFrame) -> TrackedFrame:
        """Read the next frame; frames may be left out, time may not go back.

        Raises:
            ValueError: The frame is not ``(H, W, 3)`` uint8.
        """
        self._index = frame.index
        is_cut = self._cuts.is_cut(frame.image_rgb) or frame.after_cut
        found = self._find(frame, is_cut=is_cut)
        crops = self._analyzer.crop(frame.image_rgb, found)
        probabilities = self._analyzer.classify(crops)
        looks = describe_faces(frame.image_rgb, found.boxes_xyxy, crops)
        numbers = self._tracker.update(frame.time_s, found.boxes_xyxy, looks, is_cut=is_cut)
        faces = self._analyzer.faces(found, probabilities)
        tracked = [
            self._smooth(number, frame.time_s, face, row)
            for number, face, row in zip(numbers, faces, probabilities, strict=True)
        ]
        self._smoother.forget(frame.time_s)
        height, width = frame.image_rgb.shape[:2]
        return TrackedFrame(
            source=self.source,
            index=frame.index,
            time_s=frame.time_s,
            size_wh=(width, height),
            faces=tuple(sorted(tracked, key=lambda face: -face.face.area)),
        )

    def state(self) -> dict[str, Any]:
        """Return what is remembered of the frames so far, as plain JSON types.

        Another reader with the same model and settings that takes it by :meth:`restore` reads the
        frames that follow as this one would.
        """
        return {
            "settings": asdict(self.settings),
            "classes": list(self._analyzer.classes),
            "index": self._index,
            "searched": self.searched,
            "searched_s": None if math.isinf(self._searched_s) else self._searched_s,
            "wait_s": self._wait_s,
            "cuts": self._cuts.state(),
            "tracker": self._tracker.state(),
            "smoother": self._smoother.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned.

        Raises:
            ValueError: It is no such state, or one of other settings or classes.
        """
        try:
            if state["settings"] != asdict(self.settings):
                raise ValueError("the video was read with other settings before")
            if tuple(state["classes"]) != self._analyzer.classes:
                raise ValueError("the video was read by a model with other classes before")
            self._tracker.restore(state["tracker"])
            self._smoother.restore(state["smoother"])
            self._cuts.restore(state["cuts"])
            self._index = state.get("index", -1)
            self.searched = state["searched"]
            searched_s = state["searched_s"]
            self._searched_s = -math.inf if searched_s is None else searched_s
            self._wait_s = state["wait_s"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the state of a reader: {error}") from error

    def _find(self, frame: VideoFrame, *, is_cut: bool) -> Detections:
        """Find the faces of a frame: near where they were, and all over it where that is due."""
        detector = self._analyzer.detector
        if not isinstance(detector, RefiningDetector) or self.settings.detect_every_s == 0:
            return self._search(frame)
        before_s = self._tracker.time_s
        if before_s is None or not 0 <= frame.time_s - before_s <= _REFINE_S:
            return self._search(frame)
        expected = self._tracker.predict(frame.time_s, seen_within_s=_REFINE_S)
        found, kept = detector.refine(frame.image_rgb, expected)
        if len(kept) < len(expected):
            self._wait_s = min(_SEARCH_AGAIN_S, self.settings.detect_every_s)
        if not is_cut and frame.time_s - self._searched_s < self._wait_s:
            return found
        self._wait_s = min(2 * self._wait_s, self.settings.detect_every_s)
        return _join(self._search(frame), found)

    def _search(self, frame: VideoFrame) -> Detections:
        """Find the faces of a whole frame."""
        self.searched += 1
        self._searched_s = frame.time_s
        detector = self._analyzer.detector
        height, width = frame.image_rgb.shape[:2]
        if isinstance(detector, MtcnnDetector) and detector.min_face is None:
            min_face = max(_MIN_FACE, round(min(height, width) * _MIN_FACE_PART))
            return detector.detect(frame.image_rgb, min_face=min_face)
        return faces_within(detector.detect(frame.image_rgb), (width, height))

    def _smooth(
        self, number: int, time_s: float, face: Face, row: npt.NDArray[np.float32]
    ) -> TrackedFace:
        smoothed, expression = self._smoother.update(number, time_s, row)
        values = tuple(round(value, 7) for value in smoothed.tolist())
        return TrackedFace(
            number, face, Probabilities(tuple(face.probabilities), values), expression
        )


def read_video(
    analyzer: "Analyzer",
    frames: Iterable[VideoFrame],
    *,
    source: str,
    settings: StreamSettings | None = None,
    reader: FrameReader | None = None,
) -> Iterator[TrackedFrame]:
    """Read frames, one result each, in order; the next ones are decoded meanwhile.

    Args:
        analyzer: Finds and reads the faces.
        frames: Frames of one video, as a :class:`mien.analysis.video.frames.VideoFile` gives them.
        source: The video's name in the results.
        settings: How to read.
        reader: One to use instead of a new one, as to go on where another stopped. Whenever a
            result was taken, its state is the one after that frame.

    Raises:
        MediaError: The frames cannot be decoded; whatever came before has been given.
        ValueError: Both ``settings`` and ``reader`` are given.
    """
    if reader is not None and settings is not None:
        raise ValueError("settings are the reader's own: give them to it")
    return _read_all(reader or FrameReader(analyzer, source=source, settings=settings), frames)


def read_source(
    analyzer: "Analyzer",
    source: int | str | os.PathLike[str],
    *,
    settings: StreamSettings | None = None,
    every: int = 1,
    fps: float | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Iterator[TrackedFrame]:
    """Read a video file, a camera or a stream; see :meth:`mien.Analyzer.stream`."""
    name = f"camera {source}" if isinstance(source, int) else os.fspath(source)
    if not is_live(source):
        from mien.analysis.video.frames import VideoFile  # noqa: PLC0415

        with VideoFile(name, every=every, fps=fps, start_s=start_s, end_s=end_s) as video:
            yield from read_video(analyzer, video, source=name, settings=settings)
            if video.truncated is not None:
                logger.warning("%s: %s; the frames before were read", name, video.truncated)
            if video.damaged:
                logger.warning("%s: %d frames could not be decoded", name, video.damaged)
        return
    if (every, fps, start_s, end_s) != (1, None, 0.0, None):
        raise ValueError("every, fps, start_s and end_s are for files, not for what is live")
    from mien.analysis.video.camera import LiveSource  # noqa: PLC0415

    with LiveSource(source) as live:
        # Not ahead: a frame decoded while another is read would be old when its turn comes.
        reader = FrameReader(analyzer, source=live.name, settings=settings)
        while (frame := live.newest()) is not None:
            yield reader.read(frame)


def is_live(source: int | str | os.PathLike[str]) -> bool:
    """Return whether a source is a camera's number or device, or a URL, and not a file."""
    if isinstance(source, int):
        return True
    path = Path(source)
    text = os.fspath(source)
    if "://" in text or path.is_char_device():
        return True
    return text.isdecimal() and not path.exists()


def _read_all(reader: FrameReader, frames: Iterable[VideoFrame]) -> Iterator[TrackedFrame]:
    with closing(_decode_ahead(frames)) as decoded:
        for frame in decoded:
            yield reader.read(frame)


def _decode_ahead(frames: Iterable[VideoFrame]) -> Generator[VideoFrame, None, None]:
    """Yield frames that a thread of its own takes a few ahead, in order."""
    iterator = iter(frames)
    with ThreadPoolExecutor(1, thread_name_prefix="decoding") as pool:
        coming = deque(pool.submit(next, iterator, None) for _ in range(_AHEAD))
        try:
            while (frame := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, iterator, None))
                yield frame
        finally:
            for future in coming:
                future.cancel()


def _join(found: Detections, others: Detections) -> Detections:
    """Return faces found, and of others those that are not among them."""
    boxes = np.concatenate((found.boxes_xyxy, others.boxes_xyxy))
    scores = np.concatenate((found.scores, others.scores))
    landmarks = None
    if found.landmarks is not None and others.landmarks is not None:
        landmarks = np.concatenate((found.landmarks, others.landmarks))
    # Those found come first whatever their scores.
    ranks = np.arange(len(scores), 0, -1, dtype=np.float32)
    kept = np.sort(suppress(boxes, ranks, threshold=_SAME_FACE, relative_to="smaller"))
    return Detections(boxes, scores, landmarks).take(kept)
