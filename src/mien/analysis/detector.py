"""Face detectors: what one must do, what it returns, and the one that needs no search.

Every detector takes an upright RGB picture and returns :class:`Detections`. The default one is
:class:`mien.analysis.mtcnn.MtcnnDetector`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces found in one picture, in pixels of it.

    Attributes:
        boxes_xyxy: ``(N, 4)`` float32 left, top, right, bottom; may reach outside the picture.
        scores: ``(N,)`` float32 confidence, 0 to 1.
        landmarks: ``(N, 5, 2)`` float32 x, y of left eye, right eye, nose, left and right mouth
            corner, left as seen in the picture; None where the detector gives none.
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
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: expected {shape}, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.scores)

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


class WholeImageDetector:
    """Takes the entire picture as one face, for pictures that are face crops already."""

    def detect(self, image_rgb: npt.NDArray[np.uint8]) -> Detections:
        """Return one box as large as the ``(H, W, 3)`` picture, with score 1, no landmarks."""
        height, width = image_rgb.shape[:2]
        return Detections(
            boxes_xyxy=np.array([[0, 0, width, height]], np.float32),
            scores=np.ones(1, np.float32),
        )
