"""EmotiEffLib on ONNX Runtime, with its default model; it has no face detector."""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from adapters.onnx_threads import limit_onnx_threads
from adapters.weights import settle_weights

_WEIGHTS: Final = ".emotiefflib/enet_b0_8_best_vgaf.onnx"


def open_reader(threads: int, folder: Path) -> "EmotiEffLibReader":
    limit_onnx_threads(threads)
    cv2.setNumThreads(threads)
    return EmotiEffLibReader(settle_weights(_WEIGHTS, folder))


class EmotiEffLibReader:
    """``EmotiEffLibRecognizer(engine="onnx")``."""

    def __init__(self, weights: str) -> None:
        from emotiefflib.facial_analysis import EmotiEffLibRecognizer

        self.weights = weights
        self._recognizer: Any = EmotiEffLibRecognizer(engine="onnx")

    def read_faces(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        faces_rgb = np.repeat(faces_gray[..., None], 3, axis=3)
        names, _ = self._recognizer.predict_emotions(list(faces_rgb))
        return [str(name) for name in names]

    def read_photo(self, path: str) -> int:
        self._recognizer.predict_emotions(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB))
        return 1
