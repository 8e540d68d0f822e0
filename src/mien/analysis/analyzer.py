"""Pictures → faces → expressions: the pieces of this package put together.

>>> analyzer = Analyzer()  # doctest: +SKIP
>>> analyzer.analyze("photo.jpg").expression  # doctest: +SKIP
'happy'
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.analysis.classifier import ExpressionClassifier
from mien.analysis.detector import Detections, Detector, WholeImageDetector, faces_within
from mien.analysis.media import (
    FILE_BYTES,
    Colour,
    Picture,
    Source,
    find_pictures,
    kind_of,
    read_picture,
)
from mien.analysis.sessions import check_threads
from mien.errors import MediaError
from mien.expressions import check_uncertain_below
from mien.metadata import model_path
from mien.preprocess import crop_face
from mien.results import Face, FrameResult, Probabilities

if TYPE_CHECKING:
    from mien.analysis.video.results import TrackedFrame
    from mien.analysis.video.stream import FrameReader, StreamSettings

_BATCH_SIZE: Final = 32
_NO_FACES: Final = np.empty((0, 0), np.float32)

#: Told of a picture that cannot be read, by its name and the reason.
OnError = Callable[[str, MediaError], None]


@dataclass(frozen=True, slots=True, eq=False)
class FramedPicture:
    """A picture's faces, found and cropped, that wait for the classifier.

    Attributes:
        source: The picture's name.
        size_wh: Its width and height in pixels.
        detections: Its faces, largest first.
        crops_gray: One ``(H, W)`` uint8 crop a face.
        omitted: How many smaller faces were found beside these, and left out.
    """

    source: str
    size_wh: tuple[int, int]
    detections: Detections
    crops_gray: list[npt.NDArray[np.uint8]]
    omitted: int = 0


class Analyzer:
    """Finds faces and reads their expressions; make one and use it for many pictures.

    Args:
        model: An ONNX file written by ``mien export``, or a classifier; by default the model in
            the package.
        detector: Anything with a ``detect`` method as in :class:`Detector`; MTCNN by default.
        min_face: Side in pixels of the smallest face to look for; see :class:`MtcnnDetector`.
        batch_size: Faces that go through the model at once, at most 256; 32 by default.
        threads: Processor threads of what is opened here, model and detector; by default, or 0,
            as many as there are cores to use.
        uncertain_below: Probability, 0 to 1, below which a face's most probable expression is too
            improbable to be told, and the face is called ``uncertain``; 0 tells it always. By
            default what the model itself says.
        tta: ``flip`` averages each face with its mirror image, for twice the classifier's time; by
            default each face is read once.

    Attributes:
        classifier: The classifier in use.
        uncertain_below: The probability in use.

    Raises:
        ModelError: The model or the detector's weights cannot be used, or ``uncertain_below`` with
            a model that has a class of that name.
        ValueError: An argument is out of range, or is a setting of what is given ready:
            ``min_face`` with a detector, ``batch_size`` and ``tta`` with a classifier, ``threads``
            with both.
        TypeError: ``detector`` has no method ``detect``.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | ExpressionClassifier | None = None,
        *,
        detector: Detector | None = None,
        min_face: int | None = None,
        batch_size: int | None = None,
        threads: int | None = None,
        uncertain_below: float | None = None,
        tta: Literal["flip"] | None = None,
    ) -> None:
        if detector is not None and not callable(getattr(detector, "detect", None)):
            raise TypeError(
                f"detector must have a method detect(image_rgb) that returns Detections, got "
                f"{detector!r}; leave it out for MTCNN, the only one built in"
            )
        ready = isinstance(model, ExpressionClassifier)
        if detector is not None and min_face is not None:
            raise ValueError("min_face is a setting of the default detector: give it to yours")
        if ready and batch_size is not None:
            raise ValueError("batch_size is a setting of the classifier: give it to yours")
        if ready and tta is not None:
            raise ValueError("tta is a setting of the classifier: give it to yours")
        if ready and detector is not None and threads is not None:
            raise ValueError("threads is a setting of classifier and detector: give it to yours")
        threads = threads or 0
        check_threads(threads)
        if isinstance(model, ExpressionClassifier):
            self.classifier = model
        else:
            self.classifier = ExpressionClassifier(
                None if model is None else Path(model),
                batch_size=_BATCH_SIZE if batch_size is None else batch_size,
                threads=threads,
                tta=tta,
            )
        if uncertain_below is None:
            uncertain_below = self.classifier.metadata.uncertain_below
        check_uncertain_below(uncertain_below, self.classes)
        self.uncertain_below = uncertain_below
        self._detector = detector
        self._make_detector = functools.partial(_make_mtcnn, min_face, threads)

    def __repr__(self) -> str:
        return f"Analyzer({str(self.classifier.path)!r})"

    @property
    def detector(self) -> Detector:
        """The face detector; the default one is opened when first needed."""
        if self._detector is None:
            self._detector = self._make_detector()
        return self._detector

    @property
    def classes(self) -> tuple[str, ...]:
        """The expressions' names, in the order of the columns of :meth:`classify`."""
        return self.classifier.classes

    def analyze(
        self, source: Source, *, colour: Colour | None = None, whole_image: bool = False
    ) -> FrameResult:
        """Read the expressions in one picture.

        Args:
            source: A path, the bytes of a picture file, a Pillow image, or an array of shape
                ``(H, W)`` or ``(H, W, 3)``.
            colour: Channel order of a colour array: ``"rgb"``, or ``"bgr"`` as OpenCV has it.
            whole_image: The picture is a face crop already: do not look for faces in it.

        Returns:
            The faces, largest first; none is an empty result.

        Raises:
            MediaError: The picture cannot be read.
            ValueError: An array's shape, type or missing ``colour``.
        """
        picture = read_picture(source, colour=colour)
        return self.read([self.frame(picture, whole_image=whole_image)])[0]

    def analyze_many(
        self,
        sources: Iterable[Source] | Source,
        *,
        colour: Colour | None = None,
        whole_image: bool = False,
        on_error: OnError | None = None,
    ) -> Iterator[FrameResult]:
        """Read the expressions in many pictures, one result each, in order.

        Pictures are read while results are taken, and their faces gathered into full batches, so
        results come in groups, and memory does not grow with the number of pictures.

        Args:
            sources: Pictures as for :meth:`analyze`, folders and patterns such as ``"*.jpg"``;
                or one of these. An array ``(N, H, W)`` or ``(N, H, W, 3)`` is N pictures.
            colour: Channel order of colour arrays, among which may be grey ones.
            whole_image: The pictures are face crops already.
            on_error: Called for each picture that cannot be read, which is then left out; what is
                no picture at all is one of these. Without it the first such picture ends the
                reading, after the results of those before.

        Raises:
            MediaError: A picture cannot be read, and there is no ``on_error``.
            TypeError: One is none, such as ``None``; likewise.
            ValueError: An array's shape, type or missing ``colour``; likewise.
        """
        waiting: list[FramedPicture] = []
        try:
            for picture in _read_all(_listed(sources), colour, on_error):
                waiting.append(self.frame(picture, whole_image=whole_image))
                faces = sum(len(framed.crops_gray) for framed in waiting)
                if max(faces, len(waiting)) >= self.classifier.batch_size:
                    yield from self.read(waiting)
                    waiting = []
        except (MediaError, TypeError, ValueError):
            yield from self.read(waiting)
            raise
        yield from self.read(waiting)

    def stream(
        self,
        source: int | str | os.PathLike[str],
        *,
        settings: "StreamSettings | None" = None,
        every: int = 1,
        fps: float | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> "Iterator[TrackedFrame]":
        """Follow people and their expressions through a video, one result each frame, in order.

        Of a file every frame is read, and the result is the same each time. Of a camera or a
        stream the newest frame is read, and those that come meanwhile are left out. A file that
        breaks off gives what there is of it, and a warning in the log.

        Args:
            source: A video file, a camera's number or device, or an ``rtsp`` or ``http`` address.
            settings: How often to search for faces, how long to smooth; see
                :class:`mien.analysis.video.stream.StreamSettings`.
            every: Read each so many-th frame of a file.
            fps: Read at most so many frames a second of a file.
            start_s: Leave out what a file shows before.
            end_s: Leave out what a file shows from then on.

        Raises:
            MediaError: The source cannot be read, is unplugged or breaks off.
            MissingExtraError: PyAV is not installed.
            ValueError: An option is out of range, or for files alone.
        """
        from mien.analysis.video.stream import read_source  # noqa: PLC0415

        return read_source(
            self, source, settings=settings, every=every, fps=fps, start_s=start_s, end_s=end_s
        )

    def follow(
        self, *, source: str = "frames", settings: "StreamSettings | None" = None
    ) -> "FrameReader":
        """Follow people and their expressions through frames that your own program decodes.

        Give each frame to :meth:`~mien.analysis.video.stream.FrameReader.read_image` of what is
        returned, in order and with its time.

        Args:
            source: What the frames are called in the results.
            settings: As for :meth:`stream`.
        """
        from mien.analysis.video.stream import FrameReader  # noqa: PLC0415

        return FrameReader(self, source=source, settings=settings)

    def classify(self, faces_gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, classes)`` probabilities of ``(N, H, W)`` uint8 ready face crops."""
        return self.classifier.classify(faces_gray)

    def crop(self, image: npt.NDArray[np.uint8], found: Detections) -> npt.NDArray[np.uint8]:
        """Cut out faces found in an ``(H, W, 3)`` RGB or ``(H, W)`` grey picture, for the model.

        Returns:
            ``(N, size, size)`` uint8, for :meth:`classify`.
        """
        crop, size = self.classifier.metadata.crop, self.classifier.metadata.input_size
        crops = np.empty((len(found), size, size), np.uint8)
        for index, box_xyxy in enumerate(found.boxes_xyxy):
            landmarks = None if found.landmarks is None else found.landmarks[index]
            crops[index] = crop_face(image, box_xyxy, landmarks, crop, size=size)
        return crops

    def faces(self, found: Detections, probabilities: npt.NDArray[np.float32]) -> tuple[Face, ...]:
        """Return faces found as results, with their ``(N, classes)`` probabilities."""
        rows = _seven_digits(probabilities)
        return tuple(self._face(found, index, tuple(row)) for index, row in enumerate(rows))

    def frame(
        self, picture: Picture, *, whole_image: bool = False, max_faces: int | None = None
    ) -> FramedPicture:
        """Find and crop a picture's faces: the first half of :meth:`analyze`, for own batches.

        Several threads may do so at once, if the detector allows it, as the default one does.

        Args:
            picture: The picture.
            whole_image: The picture is a face crop already.
            max_faces: How many of the faces to take, the largest ones; all by default.
        """
        detector = WholeImageDetector() if whole_image else self.detector
        found = faces_within(detector.detect(picture.image_rgb), picture.size_wh)
        sides_wh = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
        order = np.argsort(-sides_wh.prod(axis=1), kind="stable")[:max_faces]
        omitted = len(found) - len(order)
        found = found.take(order)
        crops = list(self.crop(picture.image_rgb, found))
        return FramedPicture(picture.source, picture.size_wh, found, crops, omitted)

    def read(self, waiting: Sequence[FramedPicture]) -> list[FrameResult]:
        """Classify the faces of several pictures together: the second half of :meth:`analyze`."""
        if not waiting:
            return []
        crops = [crop for framed in waiting for crop in framed.crops_gray]
        probabilities = self.classifier.classify(np.stack(crops)) if crops else _NO_FACES
        ends = np.cumsum([len(framed.crops_gray) for framed in waiting])[:-1]
        parts: list[npt.NDArray[np.float32]] = np.split(probabilities, ends)
        return [
            FrameResult(framed.source, framed.size_wh, self.faces(framed.detections, rows))
            for framed, rows in zip(waiting, parts, strict=True)
        ]

    def _face(self, found: Detections, index: int, probabilities: tuple[float, ...]) -> Face:
        """Return one detection as a result, in hundredths of a pixel."""
        left, top, right, bottom = found.boxes_xyxy[index].astype(float).round(2).tolist()
        landmarks = None
        if found.landmarks is not None:
            points = found.landmarks[index].astype(float).round(2).tolist()
            landmarks = tuple((x, y) for x, y in points)
        return Face(
            box_xyxy=(left, top, right, bottom),
            score=round(float(found.scores[index]), 7),
            landmarks=landmarks,
            probabilities=Probabilities(self.classes, probabilities),
            uncertain_below=self.uncertain_below,
        )


def analyze(
    source: Source,
    *,
    colour: Colour | None = None,
    whole_image: bool = False,
    model: str | os.PathLike[str] | None = None,
    uncertain_below: float | None = None,
) -> FrameResult:
    """Read the expressions in one picture.

    The first call opens the model and the detector, later ones use them again as long as the
    model's file stays the same. For settings, and
    for many pictures, make an :class:`Analyzer`.

    Args:
        source: A path, the bytes of a picture file, a Pillow image, or an array of shape
            ``(H, W)`` or ``(H, W, 3)``.
        colour: Channel order of a colour array: ``"rgb"``, or ``"bgr"`` as OpenCV has it.
        whole_image: The picture is a face crop already: do not look for faces in it.
        model: An ONNX file written by ``mien export``; by default the model in the package.
        uncertain_below: As for :class:`Analyzer`.

    Returns:
        The faces, largest first; none is an empty result.

    Raises:
        MediaError: The picture cannot be read.
        ModelError: The model or the detector's weights cannot be used.
        ValueError: An array's shape, type or missing ``colour``; ``uncertain_below`` is not 0 to 1.
    """
    analyzer = _shared_analyzer(*_file_state(model))
    if uncertain_below is not None:
        # Both are open already, the detector as soon as it is needed; a ready crop needs none.
        detector = None if whole_image else analyzer.detector
        analyzer = Analyzer(analyzer.classifier, detector=detector, uncertain_below=uncertain_below)
    return analyzer.analyze(source, colour=colour, whole_image=whole_image)


def _file_state(model: str | os.PathLike[str] | None) -> tuple[Path | None, int, int]:
    """Return a model's file, when it was written and its size, which tell another one there."""
    if model is None:
        return None, 0, 0
    path = model_path(model).resolve()
    try:
        status = path.stat()
    except OSError:
        return path, 0, 0  # opening it says what is wrong
    return path, status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=4)
def _shared_analyzer(model: Path | None, _written_ns: int, _size: int) -> Analyzer:
    return Analyzer(model)


def _make_mtcnn(min_face: int | None, threads: int) -> Detector:
    from mien.analysis.mtcnn import MtcnnDetector  # noqa: PLC0415

    return MtcnnDetector(min_face=min_face, threads=threads)


def _listed(sources: Iterable[Source] | Source) -> Iterable[Source]:
    """Return pictures one by one: an array of three or four dimensions may hold one or many."""
    is_one = isinstance(sources, (str, os.PathLike, Image.Image, *FILE_BYTES))
    is_one |= hasattr(sources, "read")  # a file, which as an iterable is its lines
    if isinstance(sources, np.ndarray):
        is_one = sources.ndim == 2 or (sources.ndim == 3 and sources.shape[2] in (1, 3, 4))
    return cast("Iterable[Source]", [sources] if is_one else sources)


def _read_all(
    sources: Iterable[Source], colour: Colour | None, on_error: OnError | None
) -> Iterator[Picture]:
    """Yield the pictures of sources that are paths, folders, patterns or pictures themselves."""
    for number, source in enumerate(sources):
        if not isinstance(source, str | os.PathLike):
            name = f"picture {number}"
            try:
                name = f"{kind_of(source)} {number}"
                yield read_picture(source, colour=colour, name=name)
            except MediaError as error:
                _tell(name, error, on_error)
            except (TypeError, ValueError) as error:
                if on_error is None:
                    kind = TypeError if isinstance(error, TypeError) else ValueError
                    raise kind(f"{name}: {error}") from error
                on_error(name, MediaError(f"{name}: {error}"))
            continue
        try:
            paths = list(find_pictures([source]))
        except MediaError as error:
            _tell(os.fspath(source), error, on_error)
            continue
        for path in paths:
            try:
                yield read_picture(path)
            except MediaError as error:
                _tell(path, error, on_error)


def _tell(source: str, error: MediaError, on_error: OnError | None) -> None:
    if on_error is None:
        raise error
    on_error(source, error)


def _seven_digits(probabilities: npt.NDArray[np.float32]) -> list[list[float]]:
    """Return rows of Python numbers with the digits that float32 holds, and no more to print."""
    rows: list[list[float]] = probabilities.astype(np.float64).round(7).tolist()
    return rows
