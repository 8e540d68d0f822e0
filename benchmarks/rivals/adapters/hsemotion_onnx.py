"""hsemotion-onnx with its default model; it has no face detector."""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from adapters.onnx_threads import limit_onnx_threads
from adapters.weights import settle_weights

_WEIGHTS: Final = ".hsemotion/enet_b0_8_best_vgaf.onnx"


def open_reader(threads: int, folder: Path) -> "HsEmotionReader":
    limit_onnx_threads(threads)
    cv2.setNumThreads(threads)
    return HsEmotionReader(settle_weights(_WEIGHTS, folder))


class HsEmotionReader:
    """``HSEmotionRecognizer``."""

    def __init__(self, weights: str) -> None:
        from hsemotion_onnx.facial_emotions import HSEmotionRecognizer

        self.weights = weights
        self._recognizer: Any = HSEmotionRecognizer()

    def read_faces(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        faces_rgb = np.repeat(faces_gray[..., None], 3, axis=3)
        names, _ = self._recognizer.predict_multi_emotions(list(faces_rgb))
        return [str(name) for name in names]

    def read_photo(self, path: str) -> int:
        self._recognizer.predict_emotions(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB))
        return 1
