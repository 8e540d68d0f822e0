"""Networks that can be asked where an answer comes from, opened from runs and ONNX files alike."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.dequantization import float_form
from mien.errors import CheckpointError, ModelError
from mien.metadata import CLASSICAL_FILE, model_file
from mien.preprocess import standardise
from mien.training.checkpoint import load_checkpoint
from mien.training.initial import Initial, Start, build_network, load_initial

#: Largest difference of a logit between a rebuilt network and ONNX Runtime.
_TOLERANCE: Final = 1e-3

#: Faces that go through a network at once.
_BATCH: Final = 64

#: What to do where a model has no gradients.
_NO_GRADIENTS: Final = "occlusion needs no gradients: --method occlusion"


class FaceReader(Protocol):
    """Whatever turns faces into logits; each :class:`mien.evaluation.Predictor` does."""

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102 - class names in the logits' order

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` grey faces, N at least 1."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class DifferentiableModel:
    """A torch network and how faces are brought to it; a :class:`FaceReader`.

    Attributes:
        network: ``(N, 1, 48, 48)`` float → ``(N, C)`` logits, in evaluation mode.
        classes: Class names in the order of the logits.
        mean: Mean of the training pixels on the scale 0 to 1; subtracted first.
        std: Standard deviation of the training pixels on that scale; divided by.
    """

    network: nn.Module
    classes: tuple[str, ...]
    mean: float
    std: float

    def to_input(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Return ``(N, 1, 48, 48)`` standardised faces."""
        return torch.from_numpy(standardise(images, mean=self.mean, std=self.std))

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` grey faces, N at least 1."""
        with torch.inference_mode():
            parts = [
                self.network(self.to_input(images[start : start + _BATCH])).numpy()
                for start in range(0, len(images), _BATCH)
            ]
        return np.concatenate(parts)


def open_differentiable(model: str | Path) -> DifferentiableModel:
    """Open the network of a run, of a checkpoint, or of an ONNX file of mien.

    An ONNX file holds no gradients, but its weights and the recipe of its network: the network is
    built anew, and its answers are compared with ONNX Runtime's. Of a quantized file it has the
    same weights and leaves out the rounding of activations, which has no gradient; so it is
    compared with the file's float form, and differs from the file itself by that rounding.

    Raises:
        CheckpointError: The run or checkpoint cannot be used, or is no network's.
        ModelError: The ONNX file is not one of mien, or its network cannot be rebuilt.
    """
    file = model_file(model)
    if file.suffix == Path(CLASSICAL_FILE).suffix:
        raise CheckpointError(f"{model}: a classical baseline is no network; {_NO_GRADIENTS}")
    if file.suffix == ".onnx":
        opened = _rebuild(file)
        _check_parity(opened, file)
        return opened
    found = load_checkpoint(file)
    network = found.build_network().to(memory_format=torch.channels_last)
    return DifferentiableModel(
        network=network, classes=found.classes, mean=found.mean, std=found.std
    )


def _rebuild(file: Path) -> DifferentiableModel:
    if not file.is_file():
        raise ModelError(f"no model at {file}: expected an ONNX file written by 'mien export'")
    try:
        # Building seeds torch's generator, which is the caller's.
        with torch.random.fork_rng(devices=[]):
            initial = load_initial(str(file))
            recipe = replace(initial.recipe, initial=str(file))
            start = Start(mean=initial.mean, std=initial.std, initial=initial)
            network = build_network(recipe, _any_faces(initial), start)
    except (CheckpointError, ModelError) as error:
        raise ModelError(f"{error}; {_NO_GRADIENTS}") from error
    return DifferentiableModel(
        network=network.eval(), classes=initial.classes, mean=initial.mean, std=initial.std
    )


def _any_faces(initial: Initial) -> ExpressionDataset:
    """Return faces to unfold normalisations on, which changes no answer, whatever they show."""
    faces = synthetic_faces(64)
    return replace(faces, classes=initial.classes, labels=np.zeros_like(faces.labels))


def _check_parity(opened: DifferentiableModel, file: Path) -> None:
    """Raise where a rebuilt network does not answer as ONNX Runtime does.

    Raises:
        ModelError: It does not.
    """
    import onnx  # noqa: PLC0415 - checkpoints do without it

    from mien.analysis.sessions import open_session  # noqa: PLC0415

    images = synthetic_faces(16, seed=1).images
    faces = standardise(images, mean=opened.mean, std=opened.std)
    session = open_session(float_form(onnx.load(file)).SerializeToString(), threads=1)
    (expected,) = session.run(None, {session.get_inputs()[0].name: faces})
    difference = float(np.abs(opened.logits(images) - expected).max())
    if not difference <= _TOLERANCE:  # NaN as well
        raise ModelError(
            f"{file}: its network, built anew, gives other logits by up to {difference:.1g}; "
            f"explain the run that it was exported from, or {_NO_GRADIENTS}"
        )
