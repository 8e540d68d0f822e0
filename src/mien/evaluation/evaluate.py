"""Evaluate a run, a checkpoint or an ONNX file on one split, single view, as it is."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import mien
from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation.metrics import ClassificationMetrics, classification_metrics
from mien.metadata import BEST, CLASSICAL_FILE

#: Faces a batch; larger was not faster on two cores.
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model measured on one split.

    Attributes:
        model: Name of the file or run that was measured.
        model_sha256: Digest of the very file, since a run's best checkpoint may change.
        split: The split's name.
        fingerprint: sha256 of the data.
        count: Images measured.
        metrics: The figures.
    """

    model: str
    model_sha256: str
    split: str
    fingerprint: str
    count: int
    metrics: ClassificationMetrics

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON types."""
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "split": self.split,
            "data": self.fingerprint,
            "count": self.count,
            "view": "single",
            "version": mien.__version__,
            **self.metrics.to_dict(),
        }

    def write(self, path: Path) -> None:
        """Write the evaluation as JSON."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n", "utf-8")


def evaluate(model: str | Path, dataset: ExpressionDataset, split: str) -> Evaluation:
    """Measure a model on one split.

    Args:
        model: A run's folder, a checkpoint, or an ONNX file.
        dataset: Holds the split.
        split: ``Training``, ``PublicTest`` or ``PrivateTest``.

    Raises:
        DataError: The split has no images, or its classes are not the model's.
        CheckpointError: The run or checkpoint cannot be used.
        ModelError: The ONNX file cannot be used.
    """
    part = dataset.split(split)
    if not len(part):
        raise DataError(f"the data has no {split} images, only {', '.join(dataset.splits)}")
    file = model_file(model)
    logits, classes = _logits(file, part.images)
    if classes != dataset.classes:
        raise DataError(f"the model knows {', '.join(classes)}; the data {', '.join(part.classes)}")
    return Evaluation(
        model=Path(model).name,
        model_sha256=file_sha256(file),
        split=split,
        fingerprint=dataset.fingerprint,
        count=len(part),
        metrics=classification_metrics(logits, part.labels, classes),
    )


def model_file(model: str | Path) -> Path:
    """Return the file that stands for a model: of a run's folder, its best checkpoint or model."""
    path = Path(model)
    if not path.is_dir():
        return path
    return path / CLASSICAL_FILE if (path / CLASSICAL_FILE).is_file() else path / BEST


def file_sha256(file: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _logits(
    model: Path, images: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Return ``(N, C)`` logits and the class names."""
    if model.suffix == ".onnx":
        from mien.analysis.classifier import ExpressionClassifier  # noqa: PLC0415

        classifier = ExpressionClassifier(model)
        probabilities = classifier.classify(images)
        return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)), classifier.classes
    if model.suffix == ".skops":
        from mien.training.classical import load_classical  # noqa: PLC0415

        baseline = load_classical(model)
        return baseline.logits(images), baseline.classes
    return _checkpoint_logits(model, images)


def _checkpoint_logits(
    model: Path, images: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    import torch  # noqa: PLC0415 - an ONNX file is measured without it

    from mien.preprocess import standardise  # noqa: PLC0415
    from mien.training.checkpoint import load_checkpoint  # noqa: PLC0415

    checkpoint = load_checkpoint(model)
    network = checkpoint.build_network().to(memory_format=torch.channels_last)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            faces = standardise(
                images[start : start + BATCH], mean=checkpoint.mean, std=checkpoint.std
            )
            parts.append(network(torch.from_numpy(faces)).numpy())
    return np.concatenate(parts), checkpoint.classes
