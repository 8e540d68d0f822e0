"""fer: ``FER().detect_emotions`` with its defaults, a quantised TensorFlow Lite network."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from fer.fer import FER


def open_reader(threads: int, folder: Path) -> "FerReader":
    cv2.setNumThreads(threads)
    return FerReader()


class FerReader:
    """``FER``; ready crops are read with ``offsets=(0, 0)``, which by default are 10 pixels.

    Crops lie one below the other in one picture, with their boxes told: its one way to read many
    by one call.
    """

    weights = "own"

    def __init__(self) -> None:
        self._default: Any = FER()
        # The network is shared between the two.
        self._plain: Any = FER(offsets=(0, 0))

    def read_faces(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        return _read(self._plain, faces_gray)

    def read_by_default(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        # One at a time: its margin would hold parts of the next crops.
        return [name for face in faces_gray for name in _read(self._default, face[None])]

    def read_photo(self, path: str) -> int:
        return len(self._default.detect_emotions(cv2.imread(path)))


def _read(reader: Any, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
    count, height, width = faces_gray.shape
    column_gray = faces_gray.reshape(count * height, width)
    column_bgr = cv2.cvtColor(column_gray, cv2.COLOR_GRAY2BGR)
    boxes_xywh = [(0, index * height, width, height) for index in range(count)]
    readings = reader.detect_emotions(column_bgr, face_rectangles=boxes_xywh)
    return [max(each["emotions"], key=each["emotions"].get) for each in readings]
