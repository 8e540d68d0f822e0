"""Predictors: whatever turns faces into logits, behind one small protocol.

A new kind of model is an implementation of :class:`Predictor` and a line in :func:`open_predictor`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mien.analysis.classifier import ExpressionClassifier, softmax
from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.protocol import seen_breach
from mien.data.seen_faces import SeenFaces, read_seen
from mien.errors import DataError, ModelError
from mien.evaluation.calibration.model_calibration import ModelCalibration, read_calibration
from mien.machine import usable_cores
from mien.metadata import CLASSICAL_FILE, ModelMetadata, model_file
from mien.preprocess import FACE_SIZE, standardise


class Predictor(Protocol):
    """A model that can be measured; what is not known of it is None.

    Attributes:
        classes: Class names in the order of the logits.
        parameters: Numbers that were learned.
        multiply_adds: Multiply-adds of convolutions and dense layers for one face.
        file_bytes: Size of its file.
        threads: Processor threads it computes with.
        recipe: The recipe it was trained by, as plain types; empty where not known.
        data: What it was trained, chosen and calibrated on, as plain types; empty where not known.
        seen: The faces that it learned from.
        temperature: What its network's answers were divided by to make the logits; 1 where it was
            not calibrated, None for several models as one.
        uncertain_below: Probability below which it tells no expression; 0 where it always does,
            None for several models as one.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102 - described above

    @property
    def parameters(self) -> int | None: ...  # noqa: D102

    @property
    def multiply_adds(self) -> int | None: ...  # noqa: D102

    @property
    def file_bytes(self) -> int | None: ...  # noqa: D102

    @property
    def threads(self) -> int: ...  # noqa: D102

    @property
    def recipe(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def data(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def seen(self) -> SeenFaces | None: ...  # noqa: D102

    @property
    def temperature(self) -> float | None: ...  # noqa: D102

    @property
    def uncertain_below(self) -> float | None: ...  # noqa: D102

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` grey faces, N at least 1."""
        ...


def open_predictor(model: str | Path, *, threads: int | None = None) -> Predictor:
    """Open a run's folder, a checkpoint, a classical baseline or an ONNX file.

    Args:
        model: The folder or file.
        threads: Processor threads to compute with; by default as many as there are cores, or as
            ``OMP_NUM_THREADS`` says.

    Raises:
        CheckpointError: The run, checkpoint or baseline cannot be used.
        ModelError: The ONNX file cannot be used.
        ValueError: ``threads`` is less than 1.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    file = model_file(model)
    if file.suffix == ".onnx":
        return OnnxPredictor(file, threads=threads)
    if file.suffix == Path(CLASSICAL_FILE).suffix:
        return ClassicalPredictor(file, threads=threads)
    return CheckpointPredictor(file, threads=threads)


def faces_as_trained(predictor: Predictor, dataset: ExpressionDataset) -> ExpressionDataset:
    """Return the data set as the model's recipe prepares it: classes merged, faces held out.

    Faces are held out, and left out as not worth learning from, only where the model was trained
    on them: of others it has learned none, and all are there to be measured.

    Raises:
        DataError: The recipe merges classes that the data does not have.
        RecipeError: The model's recipe is not one of this version.
    """
    wanted: Mapping[str, Any] = predictor.recipe.get("data", {})
    if not (wanted.get("classes") or wanted.get("hold_out")):
        return dataset
    from mien.training.recipe_file import recipe_from_dict  # noqa: PLC0415 - brings torch
    from mien.training.splits import prepare_splits  # noqa: PLC0415

    recipe = recipe_from_dict(predictor.recipe)
    if dataset.classes == predictor.classes:  # merged before, or never to be
        recipe = replace(recipe, data=replace(recipe.data, classes=()))
    leaves_out = recipe.data.clean or recipe.data.hold_out > 0
    if leaves_out and not _was_trained_on(predictor, dataset, recipe.data.train):
        recipe = replace(recipe, data=replace(recipe.data, clean=False, hold_out=0.0))
    return prepare_splits(recipe, dataset)


def default_split(dataset: ExpressionDataset) -> str:
    """Return the split to measure on where none is named: PublicTest, or the only one there is.

    Args:
        dataset: As :func:`faces_as_trained` returns it.
    """
    return dataset.splits[0] if len(dataset.splits) == 1 else SPLITS[1]


class CheckpointPredictor:
    """A checkpoint, run by torch on the processor."""

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        import torch  # noqa: PLC0415 - an ONNX file is measured without it

        from mien.models import count_multiply_adds, count_parameters  # noqa: PLC0415
        from mien.training.checkpoint import load_checkpoint  # noqa: PLC0415

        checkpoint = load_checkpoint(file)
        network = checkpoint.build_network()
        self.classes = checkpoint.classes
        self.parameters = count_parameters(network)
        self.multiply_adds = count_multiply_adds(network, FACE_SIZE)
        self.file_bytes = file.stat().st_size
        self.threads: int = threads or torch.get_num_threads()
        self.recipe: Mapping[str, Any] = checkpoint.recipe.to_dict()
        calibration = read_calibration(file)
        self.data = _data_facts(checkpoint.data, checkpoint.breaches, calibration)
        self.seen = checkpoint.seen
        self.temperature = calibration.temperature if calibration else 1.0
        self.uncertain_below = calibration.uncertain_below if calibration else 0.0
        self._network = network.to(memory_format=torch.channels_last)
        self._standard = {"mean": checkpoint.mean, "std": checkpoint.std}

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` grey faces, N at least 1."""
        import torch  # noqa: PLC0415

        from mien.training.module import EVALUATION_BATCH  # noqa: PLC0415

        parts = []
        with torch.inference_mode(), _torch_threads(self.threads):
            for start in range(0, len(images), EVALUATION_BATCH):
                faces = standardise(images[start : start + EVALUATION_BATCH], **self._standard)
                parts.append(self._network(torch.from_numpy(faces)).numpy())
        return _divide(np.concatenate(parts), self.temperature)


class OnnxPredictor:
    """An exported model, run as :func:`mien.analyze` runs it."""

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        from mien.evaluation.onnx_graph import count_operations  # noqa: PLC0415

        self.threads = threads or _default_threads()
        self._classifier = ExpressionClassifier(file, batch_size=64, threads=self.threads)
        self.classes = self._classifier.classes
        self.parameters, self.multiply_adds = count_operations(file)
        self.file_bytes = file.stat().st_size
        metadata = self._classifier.metadata
        self.recipe: Mapping[str, Any] = metadata.recipe
        self.data: Mapping[str, Any] = metadata.data
        self.seen = _read_seen(metadata, file)
        self.temperature = metadata.temperature
        self.uncertain_below = metadata.uncertain_below

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` grey faces, N at least 1."""
        return self._classifier.logits(images)


class ClassicalPredictor:
    """A classical baseline, run by scikit-learn."""

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        # It comes with scikit-learn and without types.
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # noqa: PLC0415

        from mien.training.classical import load_classical, read_card  # noqa: PLC0415 - brings torch

        model, recipe = load_classical(file)
        card = read_card(file)
        self.classes = model.classes
        self.parameters = model.parameters
        self.multiply_adds = None
        self.file_bytes = file.stat().st_size
        self.threads = threads or _default_threads()
        self.recipe: Mapping[str, Any] = recipe.to_dict()
        calibration = read_calibration(file)
        self.data = _data_facts(card["data"], card.get("breaches", ()), calibration)
        self.seen = SeenFaces.from_text(card["seen"]) if "seen" in card else None
        self.temperature = calibration.temperature if calibration else 1.0
        self.uncertain_below = calibration.uncertain_below if calibration else 0.0
        self._model = model
        self._pools = ThreadpoolController()  # found once, since looking for them takes ms

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` grey faces, N at least 1."""
        with self._pools.limit(limits=self.threads):
            return _divide(self._model.logits(images), self.temperature)


class MirrorPredictor:
    """A predictor that is asked twice, for the face and for its mirror image.

    Its probabilities are the mean of the two; it takes twice the multiply-adds.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.classes = predictor.classes
        self.parameters = predictor.parameters
        self.multiply_adds = _sum([predictor.multiply_adds, predictor.multiply_adds])
        self.file_bytes = predictor.file_bytes
        self.threads = predictor.threads
        self.recipe = predictor.recipe
        self.data = predictor.data
        self.seen = predictor.seen
        self.temperature = predictor.temperature
        self.uncertain_below = predictor.uncertain_below

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logarithms of the mean probabilities."""
        mirrored = np.ascontiguousarray(images[:, :, ::-1])
        return _log_mean([self._predictor.logits(faces) for faces in (images, mirrored)])


class EnsemblePredictor:
    """Several predictors as one, whose probabilities are the mean of theirs.

    Args:
        predictors: At least one.

    Raises:
        DataError: They do not know the same classes in the same order.
    """

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        self._predictors = tuple(predictors)
        self.classes = self._predictors[0].classes
        for other in self._predictors[1:]:
            if other.classes != self.classes:
                raise DataError(
                    f"the models of an ensemble must know the same classes: one knows "
                    f"{', '.join(self.classes)}, another {', '.join(other.classes)}"
                )
        self.parameters = _sum([p.parameters for p in self._predictors])
        self.multiply_adds = _sum([p.multiply_adds for p in self._predictors])
        self.file_bytes = _sum([p.file_bytes for p in self._predictors])
        self.threads = max(p.threads for p in self._predictors)
        self.recipe = self._predictors[0].recipe
        self.data = self._predictors[0].data
        self.seen = self._predictors[0].seen
        self.temperature = None
        self.uncertain_below = None

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logarithms of the mean probabilities."""
        return _log_mean([predictor.logits(images) for predictor in self._predictors])


def _was_trained_on(predictor: Predictor, dataset: ExpressionDataset, split: str) -> bool:
    """Return whether a model learned from a split; one of an older version is taken to have."""
    told = predictor.data.get("fingerprint")
    if predictor.seen is None or (told and told == dataset.fingerprint):
        return True
    return bool(seen_breach(predictor.seen.contains(dataset.split(split).images), split))


def _data_facts(
    data: Mapping[str, Any], breaches: Sequence[str], calibration: ModelCalibration | None
) -> Mapping[str, Any]:
    """Return what a model was trained, chosen and calibrated on, as an exported one tells it."""
    facts = {**data, "breaches": breaches}
    return facts if calibration is None else {**facts, "calibration": calibration.fitted_on}


def _read_seen(metadata: ModelMetadata, file: Path) -> SeenFaces | None:
    try:
        return read_seen(metadata)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error


def _divide(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    return logits / np.float32(temperature)


def _log_mean(logits: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    return _log(np.mean([softmax(part) for part in logits], axis=0, dtype=np.float32))


def _log(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    logarithms: npt.NDArray[Any] = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return logarithms


def _sum(values: Sequence[int | None]) -> int | None:
    """Return the sum, or None where a part of it is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads inside the block; what was set is set again."""
    import torch  # noqa: PLC0415

    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _default_threads() -> int:
    """Return the cores that this process may use, torch's limit on threads respected.

    torch reads ``OMP_NUM_THREADS`` by itself; the others must too, or their times do not compare.
    """
    cores = usable_cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) else cores
