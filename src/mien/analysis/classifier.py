"""The classifier: aligned grey faces → probabilities, by an ONNX model.

Class names, input size, mean, standard deviation and framing are read from the model's own
metadata; see :class:`mien.metadata.ModelMetadata`.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from mien.analysis.options import check_tta
from mien.analysis.sessions import check_threads, open_session
from mien.errors import ModelError
from mien.metadata import ModelMetadata, model_path
from mien.preprocess import resize_face, standardise

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Most faces that go through the model at once; bounds the memory that a crowd takes.
_MAX_BATCH: Final = 256


class ExpressionClassifier:
    """Reads expressions from face crops.

    Args:
        path: An ONNX file written by ``mien export``; by default the model in the package.
        batch_size: Faces that go through the model at once, at most 256.
        threads: Processor threads; 0 for as many as there are cores to use.
        tta: Test-time augmentation: ``flip`` averages the probabilities of each face and of its
            mirror image, for twice the time; None reads each face once.

    Attributes:
        path: The file in use.
        batch_size: Faces that go through the model at once.
        tta: The test-time augmentation in use.
        metadata: The facts that the file carries, class names among them.

    Raises:
        ModelError: The file is missing, is not an ONNX model, or is not one of mien's.
        ValueError: ``batch_size`` is not 1 to 256, ``threads`` is negative, or ``tta`` unknown.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        batch_size: int = 32,
        threads: int = 0,
        tta: Literal["flip"] | None = None,
    ) -> None:
        if not 1 <= batch_size <= _MAX_BATCH:
            raise ValueError(f"batch_size must be 1 to {_MAX_BATCH}, got {batch_size}")
        check_tta(tta)
        check_threads(threads)
        self.path = model_path(path)
        self.batch_size = batch_size
        self.tta = tta
        self._threads = threads
        self._session = _open(self.path, threads)
        strings = self._session.get_modelmeta().custom_metadata_map
        try:
            self.metadata = ModelMetadata.from_strings(strings)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from error
        self._input = _check_signature(self._session, self.metadata, self.path)

    def __repr__(self) -> str:
        return f"ExpressionClassifier({str(self.path)!r}, name={self.metadata.name!r})"

    def __reduce__(self) -> tuple[Callable[..., "ExpressionClassifier"], tuple[Path]]:
        """Let another process open the same file: a session of ONNX Runtime cannot be sent."""
        again = functools.partial(
            type(self), batch_size=self.batch_size, threads=self._threads, tta=self.tta
        )
        return again, (self.path,)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of the columns of :meth:`classify`."""
        return self.metadata.classes

    def classify(self, faces_gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the probabilities of every class for every face.

        They are calibrated where the model is: its temperature is in its metadata. With ``tta``
        they are the mean of those of each face and of its mirror image, which is a little less
        sure: the temperature was fitted to single readings.

        Args:
            faces_gray: As for :meth:`logits`.

        Returns:
            ``(N, classes)`` float32; rows sum to 1.

        Raises:
            ValueError: The array is not of that shape and type.
        """
        if self.tta is None:
            return softmax(self.logits(faces_gray))
        _check_faces(faces_gray)  # before it is twice as long
        both = softmax(self.logits(np.concatenate([faces_gray, faces_gray[..., ::-1]])))
        mean: npt.NDArray[np.float32] = np.mean(np.split(both, 2), axis=0)
        return mean

    def logits(self, faces_gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the network answers for every face, divided by the model's temperature.

        ``tta`` has no part in it.

        Args:
            faces_gray: ``(N, H, W)`` uint8 face crops, framed as the model's metadata say; of any
                size, scaled where it is not the model's.

        Returns:
            ``(N, classes)`` float32.

        Raises:
            ValueError: The array is not of that shape and type.
        """
        _check_faces(faces_gray)
        size = self.metadata.input_size
        logits = np.empty((len(faces_gray), len(self.classes)), np.float32)
        for start in range(0, len(faces_gray), self.batch_size):
            batch = faces_gray[start : start + self.batch_size]
            if batch.shape[1:] != (size, size):
                batch = np.stack([resize_face(face, size=size) for face in batch])
            inputs = standardise(batch, mean=self.metadata.mean, std=self.metadata.std)
            logits[start : start + len(batch)] = self.standardised_logits(inputs)
        return logits

    def standardised_logits(self, faces: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the same for faces that are standardised already, all in one batch.

        Args:
            faces: ``(N, 1, H, W)`` float32, of the model's size, standardised with its mean and
                standard deviation.

        Returns:
            ``(N, classes)`` float32.
        """
        (logits,) = self._session.run(None, {self._input: faces})
        scaled: npt.NDArray[np.float32] = logits / np.float32(self.metadata.temperature)
        return scaled


def _check_faces(faces_gray: npt.NDArray[np.uint8]) -> None:
    if not isinstance(faces_gray, np.ndarray):
        raise TypeError(f"expected a uint8 array (N, H, W), got {type(faces_gray).__name__}")
    if faces_gray.ndim != 3 or faces_gray.dtype != np.uint8:
        raise ValueError(f"expected uint8 (N, H, W), got {faces_gray.dtype} {faces_gray.shape}")


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn ``(N, classes)`` logits into probabilities; rows sum to 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _open(path: Path, threads: int) -> "InferenceSession":
    if not path.is_file():
        raise ModelError(f"no model at {path}: expected an ONNX file written by 'mien export'")
    try:
        return open_session(path, threads=threads)
    except Exception as error:
        # onnxruntime raises a class of its own for each kind of damage, with no common root.
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path} is not an ONNX model that can be used: {reason}") from error


def _check_signature(session: "InferenceSession", metadata: ModelMetadata, path: Path) -> str:
    """Return the input's name after checking that shapes are what the metadata say."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    size, count = metadata.input_size, len(metadata.classes)
    if metadata.colour != "gray":
        raise ModelError(f"{path} wants {metadata.colour!r} input; only 'gray' is known: update")
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs, not 1 and 1")
    wanted = [
        (inputs[0].shape, (1, size, size), f"(N, 1, {size}, {size}) in"),
        (outputs[0].shape, (count,), f"(N, {count}) out"),
    ]
    for shape, tail, words in wanted:
        if tuple(shape[1:]) != tail or isinstance(shape[0], int):
            raise ModelError(f"{path} has the shape {shape}, expected {words}")
    name: str = inputs[0].name
    return name
