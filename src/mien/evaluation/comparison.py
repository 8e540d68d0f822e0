"""Several evaluations side by side: read, checked to be comparable, the best found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import CheckpointError, DataError
from mien.evaluation.evaluate import (
    Evaluation,
    evaluation_file_name,
    file_sha256,
    read_evaluation,
)
from mien.evaluation.measures import Measure
from mien.metadata import model_file


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Evaluations of different models on the same images.

    Attributes:
        names: What each is called here, no two alike.
        evaluations: At least one; same split, data and classes.

    Raises:
        DataError: They are not of the same split, data and classes.
    """

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    def __post_init__(self) -> None:
        first = self.evaluations[0]
        for name, other in zip(self.names[1:], self.evaluations[1:], strict=True):
            pairs = (
                ("split", first.split, other.split),
                ("data", first.fingerprint[:12], other.fingerprint[:12]),
                ("classes", ", ".join(first.metrics.classes), ", ".join(other.metrics.classes)),
            )
            for what, ours, theirs in pairs:
                if ours != theirs:
                    raise DataError(
                        f"{self.names[0]} and {name} cannot be compared, their {what} differ: "
                        f"{ours} and {theirs}; measure both alike with 'mien evaluate'"
                    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.evaluations[0].metrics.classes

    def best(self, measure: Measure) -> frozenset[int]:
        """Return which evaluations are best by a measure; none where there is nothing to win.

        Values that are written alike are alike: of two that read 2.84 M neither is the better.
        """
        values = [measure.read(evaluation) for evaluation in self.evaluations]
        known = [value for value in values if value is not None]
        if measure.better is None or len({measure.write(value) for value in known}) < 2:
            return frozenset()
        best = measure.write(max(known) if measure.better == "higher" else min(known))
        written = [measure.text(evaluation) for evaluation in self.evaluations]
        return frozenset(i for i, text in enumerate(written) if text == best)

    def confusion_difference(self, index: int) -> npt.NDArray[np.float64]:
        """Return ``(C, C)`` confusion rates of one less the first's, in percentage points."""
        first, other = self.evaluations[0].metrics, self.evaluations[index].metrics
        return 100 * (other.confusion_rates() - first.confusion_rates())


def compare(sources: Sequence[str | Path], split: str = "PublicTest") -> Comparison:
    """Read evaluations to be seen side by side.

    Args:
        sources: Run folders that ``mien evaluate`` has measured, or evaluation files.
        split: Whose evaluation is read from run folders.

    Raises:
        CheckpointError: A folder has no evaluation of the split, or one of an earlier checkpoint;
            or a file is not an evaluation.
        DataError: The evaluations are not of the same split, data and classes.
        ValueError: There are no sources.
    """
    if not sources:
        raise ValueError("nothing to compare")
    paths = [Path(source) for source in sources]
    evaluations = tuple(_read(path, split) for path in paths)
    return Comparison(names=_distinct_names(paths, evaluations), evaluations=evaluations)


def _read(source: Path, split: str) -> Evaluation:
    if not source.is_dir():
        return read_evaluation(source)
    path, command = source / evaluation_file_name(split), f"mien evaluate {source} --split {split}"
    if not path.is_file():
        raise CheckpointError(f"{source} has not been measured on {split}: run '{command}' first")
    evaluation, model = read_evaluation(path), model_file(source)
    if model.is_file() and file_sha256(model) != evaluation.model_sha256:
        raise CheckpointError(f"{path} is of an earlier {model.name}: run '{command}' again")
    return evaluation


def _distinct_names(paths: Sequence[Path], evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return the models' names with their view, and their paths where names alone are the same."""
    names = [e.model if e.view == "single" else f"{e.model} ({e.view})" for e in evaluations]
    return tuple(
        name if names.count(name) == 1 else f"{name} [{path}]"
        for name, path in zip(names, paths, strict=True)
    )
