"""What a measurement may be made on: see :mod:`mien.data.protocol`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.data.dataset import ExpressionDataset
from mien.data.protocol import learned_faces, seen_breach, swapped_splits
from mien.data.seen_faces import SeenFaces
from mien.evaluation.json_values import read_count, read_number
from mien.evaluation.metrics import classification_metrics
from mien.evaluation.predictor import Predictor
from mien.metadata import CHOSEN, with_members


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """A split without the faces that the model has learned from, pixel for pixel.

    Attributes:
        seen: Faces left out.
        count: Faces left.
        accuracy: Share of these that are read right, 0 to 1; 0 where none is left.
        macro_f1: Mean F1 over the classes that have any of them.
    """

    seen: int
    count: int
    accuracy: float
    macro_f1: float

    def text(self) -> str:
        """Return the figures in a sentence, without its full stop."""
        known = (
            f"{self.seen:,} of these {self.seen + self.count:,} faces it learned from, pixel for "
            f"pixel"
        )
        if not self.count:
            return f"{known}; none is left to measure on"
        accuracy = f"{100 * self.accuracy:.2f} %"
        return f"{known}; without them accuracy is {accuracy}, macro-F1 {self.macro_f1:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Unseen":
        """Read what :meth:`to_dict` wrote."""
        return cls(
            seen=read_count(values["seen"]),
            count=read_count(values["count"]),
            accuracy=read_number(values["accuracy"], low=0, high=1),
            macro_f1=read_number(values["macro_f1"], low=0, high=1),
        )


def learned_by(
    predictors: Sequence[Predictor], prepared: Sequence[ExpressionDataset]
) -> list[SeenFaces | None]:
    """Return the faces that each model has learned from; None for one that does not tell.

    Args:
        predictors: The models.
        prepared: The data set as each one's recipe prepares it.
    """
    return [
        learned_faces(predictor.seen, predictor.data, dataset)
        for predictor, dataset in zip(predictors, prepared, strict=True)
    ]


def find_seen(
    learned: Sequence[SeenFaces | None], part: ExpressionDataset
) -> npt.NDArray[np.bool_] | None:
    """Return ``(N,)`` which faces any of the models has learned from; None where none tells.

    Args:
        learned: The faces that each has learned from.
        part: The N faces.
    """
    told = [each.contains(part.images) for each in learned if each is not None]
    if not told:
        return None
    found: npt.NDArray[np.bool_] = np.any(told, axis=0)
    return found


def evaluation_breaches(
    dataset: ExpressionDataset, split: str, seen: npt.NDArray[np.bool_] | None
) -> list[str]:
    """Return what a measurement would do against the protocol, a clause each.

    Args:
        dataset: The data set, as it was read.
        split: What is measured on.
        seen: ``(N,)`` which of its faces were learned from; None where that is not known.
    """
    return [*swapped_splits(dataset), *([] if seen is None else seen_breach(seen, split))]


def training_breaches(predictors: Sequence[Predictor]) -> list[str]:
    """Return what was done against the protocol, on demand, when the models were made."""
    found = [
        f"in {work}: {breach}"
        for predictor in predictors
        for data in with_members(predictor.data)
        for work, facts in (
            ("training", data),
            ("calibration", _table(data, "calibration")),
            ("quantization", _table(data, "quantization")),
        )
        for breach in facts.get("breaches", ())
    ]
    return list(dict.fromkeys(found))


def was_chosen_on(predictors: Sequence[Predictor], part: ExpressionDataset, split: str) -> bool:
    """Return whether an epoch, a setting or the temperature of any model was chosen on the faces.

    What a model learned from, as one to start from or a teacher, counts too.

    Votes and repairs give the same faces another fingerprint, so that as many faces in each class
    are taken for the same ones too, unless all classes have as many.
    """
    counts = part.counts()
    uneven = len(set(counts.values())) > 1

    def is_of(chosen: Mapping[str, Any], name: str, told: object) -> bool:
        same = chosen.get("fingerprint") == part.fingerprint or (uneven and told == counts)
        return chosen.get(name) == split and same

    return any(
        is_of(data, "validation", _table(data, "counts").get(split))
        or is_of(_table(data, "calibration"), "split", None)
        for predictor in predictors
        for data in (*with_members(predictor.data), *predictor.data.get(CHOSEN, ()))
    )


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of a model's facts; an empty one where there is none."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def measure_unseen(
    logits: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    seen: npt.NDArray[np.bool_],
) -> Unseen:
    """Return the figures of the faces that were not learned from.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` class indices.
        classes: The C names.
        seen: ``(N,)`` which faces were learned from.
    """
    if seen.all():
        return Unseen(seen=len(seen), count=0, accuracy=0.0, macro_f1=0.0)
    metrics = classification_metrics(logits[~seen], labels[~seen], classes)
    return Unseen(
        seen=int(seen.sum()),
        count=int((~seen).sum()),
        accuracy=metrics.accuracy,
        macro_f1=metrics.macro_f1,
    )
