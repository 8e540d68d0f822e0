"""Faces worth looking at: those that a model is surest of, right and wrong."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One face and how it was read.

    Attributes:
        index: Its position in the split.
        label: Index of the class it is of.
        prediction: Index of the class it was read as.
        confidence: Probability of that class, 0 to 1.
    """

    index: int
    label: int
    prediction: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class ClassSamples:
    """The faces of one class that the model was surest of, surest first."""

    right: tuple[Sample, ...]
    wrong: tuple[Sample, ...]


def surest_samples(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], *, each: int
) -> tuple[ClassSamples, ...]:
    """Return the surest right and the surest wrong readings of every class.

    Args:
        probabilities: ``(N, C)``.
        labels: ``(N,)`` class indices.
        each: At most so many right and so many wrong ones a class.
    """
    predictions = probabilities.argmax(axis=1)
    confidences = probabilities.max(axis=1)
    surest_first = np.argsort(-confidences, kind="stable")

    def pick(chosen: npt.NDArray[np.bool_]) -> tuple[Sample, ...]:
        return tuple(
            Sample(
                index=int(i),
                label=int(labels[i]),
                prediction=int(predictions[i]),
                confidence=float(confidences[i]),
            )
            for i in surest_first[chosen[surest_first]][:each]
        )

    right = predictions == labels
    return tuple(
        ClassSamples(right=pick((labels == c) & right), wrong=pick((labels == c) & ~right))
        for c in range(probabilities.shape[1])
    )
