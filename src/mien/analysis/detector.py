"""Face detectors: what one must do, what it returns, and the one that needs no search.

Every detector takes an upright RGB picture and returns :class:`Detections`. The default one is
:class:`mien.analysis.mtcnn.MtcnnDetector`.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

#: By which a score that was computed may exceed 1.
_ROUNDING: Final = 1e-5
#: A box's side in those of the picture, at most: a cut takes memory by its area.
_LARGEST_BOX: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces found in one picture, in pixels of it.

    Attributes:
        boxes_xyxy: ``(N, 4)`` float32 left, top, right, bottom; may reach outside the picture.
        scores: ``(N,)`` float32 confidence, 0 to 1.
        landmarks: ``(N, 5, 2)`` float32 x, y of left eye, right eye, nose, left and right mouth
            corner, left as seen in the picture; None where the detector gives none.

    Raises:
        ValueError: The shapes do not fit, or a number is none or out of range.
        TypeError: One is no array.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        wanted = {"boxes_xyxy": (count, 4), "scores": (count,)}
        if self.landmarks is not None:
            wanted["landmarks"] = (count, 5, 2)
        for name, shape in wanted.items():
            values = getattr(self, name)
            if not isinstance(values, np.ndarray):
                raise TypeError(f"{name}: expected an array, got {type(values).__name__}")
            if values.shape != shape:
                raise ValueError(f"{name}: expected {shape}, got {values.shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: expected numbers, got {values.tolist()}")
        if not ((self.scores >= 0) & (self.scores <= 1 + _ROUNDING)).all():
            raise ValueError(f"scores: expected 0 to 1, got {self.scores.tolist()}")

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: npt.NDArray[np.integer]) -> "Detections":
        """Return some of the faces, by their indices."""
        landmarks = None if self.landmarks is None else self.landmarks[which]
        return Detections(self.boxes_xyxy[which], self.scores[which], landmarks)

    @classmethod
    def empty(cls) -> "Detections":
        """Return the result of a picture without a face."""
        return cls(
            boxes_xyxy=np.empty((0, 4), np.float32),
            scores=np.empty(0, np.float32),
            landmarks=np.empty((0, 5, 2), np.float32),
        )


class Detector(Protocol):
    """Anything that finds faces; give your own to :class:`mien.Analyzer`."""

    def detect(self, image_rgb: npt.NDArray[np.uint8]) -> Detections:
        """Find the faces in an upright ``(H, W, 3)`` RGB picture."""
        ...


def faces_within(found: Detections, size_wh: tuple[int, int]) -> Detections:
    """Return the faces of which a pixel at least lies in the picture, as any detector found them.

    Args:
        found: What the detector returned.
        size_wh: Width and height of the picture in pixels.

    Raises:
        TypeError: It is something else than detections.
        ValueError: A box is many times as large as the picture.
    """
    if not isinstance(found, Detections):
        raise TypeError(f"the detector must return Detections, got {type(found).__name__}")
    lows, highs = found.boxes_xyxy[:, :2], found.boxes_xyxy[:, 2:]
    largest = _LARGEST_BOX * max(size_wh)
    if len(found) and (highs - lows).max() > largest:
        raise ValueError(f"boxes_xyxy: expected sides of at most {largest} pixels in this picture")
    shown_wh = np.minimum(highs, size_wh) - np.maximum(lows, 0)
    inside = np.flatnonzero((shown_wh >= 1).all(axis=1))
    return found if len(inside) == len(found) else found.take(inside)


class WholeImageDetector:
    """Takes the entire picture as one face, for pictures that are face crops already."""

    def detect(self, image_rgb: npt.NDArray[np.uint8]) -> Detections:
        """Return one box as large as the ``(H, W, 3)`` picture, with score 1, no landmarks."""
        height, width = image_rgb.shape[:2]
        return Detections(
            boxes_xyxy=np.array([[0, 0, width, height]], np.float32),
            scores=np.ones(1, np.float32),
        )
