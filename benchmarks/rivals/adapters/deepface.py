"""deepface: the emotion network of ``DeepFace.analyze``, on ONNX Runtime as installed plainly."""

import os
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from adapters.onnx_threads import limit_onnx_threads
from adapters.weights import settle_weights

_WEIGHTS: Final = ".deepface/weights/facial_expression_model_weights.onnx"


def open_reader(threads: int, folder: Path) -> "DeepfaceReader":
    limit_onnx_threads(threads)
    cv2.setNumThreads(threads)
    os.environ.pop("DEEPFACE_HOME", None)
    return DeepfaceReader(settle_weights(_WEIGHTS, folder))


class DeepfaceReader:
    """``DeepFace.analyze`` for pictures; for ready crops the network behind it."""

    def __init__(self, weights: str) -> None:
        from deepface import DeepFace
        from deepface.models.demography.DemographyUtils import EMOTION_LABELS
        from deepface.modules.modeling import build_model

        self.weights = weights
        self._analyze: Any = DeepFace.analyze
        self._labels: list[str] = EMOTION_LABELS
        self._network = build_model(task="facial_attribute", model_name="Emotion")

    def read_faces(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        rows = np.atleast_2d(self._network.predict(_as_bgr(faces_gray)))
        return [self._labels[column] for column in rows.argmax(axis=1)]

    def read_by_default(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        return [self._read_whole(face) for face in _as_bgr(faces_gray)]

    def _read_whole(self, face_bgr: npt.NDArray[np.uint8]) -> str:
        (reading,) = self._analyze(
            face_bgr, actions=["emotion"], detector_backend="skip", silent=True
        )
        return str(reading["dominant_emotion"])

    def read_photo(self, path: str) -> int:
        readings = self._analyze(path, actions=["emotion"], enforce_detection=False, silent=True)
        # Where it finds no face it reads the whole picture, with a confidence of 0.
        return sum(reading["face_confidence"] > 0 for reading in readings)


def _as_bgr(faces_gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(faces_gray[..., None], 3, axis=3)
