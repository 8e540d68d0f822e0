"""What a model looks at, class by class: its maps averaged over a split."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation.explanation.deletion import DeletionCheck, deletion_check
from mien.evaluation.explanation.network import DifferentiableModel, FaceReader
from mien.evaluation.explanation.saliency import grad_cam

#: Faces that the deletion check is made on.
SAMPLE: Final = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMaps:
    """Mean Grad-CAM maps of the faces that were read right.

    Attributes:
        classes: The C class names.
        maps: ``(C, 48, 48)`` float32, the mean of maps that are 0 to 1 each; 0 for a class of
            which none was read right.
        mean_faces: ``(C, 48, 48)`` uint8, the mean of the very faces; 0 likewise.
        counts: Faces behind each map.
        support: Faces of each class, right or wrong.
        deletion: Whether what the maps highlight matters, on a sample of the split, right and
            wrong, each face's map for what it was read as.
    """

    classes: tuple[str, ...]
    maps: npt.NDArray[np.float32] = field(repr=False)
    mean_faces: npt.NDArray[np.uint8] = field(repr=False)
    counts: tuple[int, ...]
    support: tuple[int, ...]
    deletion: DeletionCheck

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the pictures, as plain JSON types."""
        return {
            "method": "grad-cam",
            "classes": list(self.classes),
            "counts": list(self.counts),
            "support": list(self.support),
            "deletion": self.deletion.to_dict(),
        }


def explain_split(
    model: DifferentiableModel,
    part: ExpressionDataset,
    *,
    reader: FaceReader | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> ClassMaps:
    """Average a network's Grad-CAM maps over each class of a split, and check that they matter.

    Args:
        model: The network.
        part: The split, prepared as the model was trained: the same classes in the same order.
        reader: The same model as it is used, whose temperature its probabilities have; by default
            the bare network.
        sample: Faces that the deletion check is made on, at most.
        seed: Draws them, and the check's random areas.

    Raises:
        DataError: The split has no images, or its classes are not the model's.
        ModelError: The network has no maps.
    """
    if not len(part):
        raise DataError("there are no images to explain")
    if part.classes != model.classes:
        raise DataError(
            f"the model knows {', '.join(model.classes)}; the data {', '.join(part.classes)}"
        )
    reader = reader or model
    read = reader.logits(part.images).argmax(axis=1)
    support = np.bincount(part.labels, minlength=len(part.classes))
    right = [np.flatnonzero((part.labels == i) & (read == i)) for i in range(len(part.classes))]
    drawn = np.random.default_rng(seed).permutation(len(part))[:sample]
    wanted = np.union1d(np.concatenate(right), drawn)  # a third of the faces may be neither
    maps = np.zeros(part.images.shape, np.float32)
    maps[wanted] = grad_cam(model, part.images[wanted], read[wanted])
    return ClassMaps(
        classes=part.classes,
        maps=np.stack([_mean(maps, rows) for rows in right]).astype(np.float32),
        mean_faces=np.stack([_mean(part.images, rows) for rows in right]).round().astype(np.uint8),
        counts=tuple(len(rows) for rows in right),
        support=tuple(support.tolist()),
        deletion=deletion_check(
            reader, part.images[drawn], maps[drawn], classes=read[drawn], seed=seed
        ),
    )


def _mean(pictures: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean ``(48, 48)`` of some pictures; 0 of none."""
    if not len(rows):
        return np.zeros(pictures.shape[1:])
    mean: npt.NDArray[np.float64] = pictures[rows].mean(axis=0, dtype=np.float64)
    return mean
