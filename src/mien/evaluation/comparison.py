"""Several evaluations side by side: read, checked to be comparable, the best found."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import CheckpointError, DataError
from mien.evaluation.calibration.model_calibration import read_temperature
from mien.evaluation.evaluation import Evaluation, evaluation_file_name, read_evaluation
from mien.evaluation.measures import MEASURES, Measure
from mien.evaluation.significance import Difference, compare_readings
from mien.metadata import file_sha256, model_file


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Evaluations of different models on the same images.

    Attributes:
        names: What each is called here, no two alike.
        evaluations: At least one; same split, data, faces and classes.

    Raises:
        DataError: They are not of the same split, data, faces and classes.
    """

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    def __post_init__(self) -> None:
        for position, (name, evaluation) in enumerate(
            zip(self.names, self.evaluations, strict=True)
        ):
            for earlier in range(position):
                difference = _difference(self.evaluations[earlier], evaluation)
                if difference:
                    raise DataError(
                        f"{self.names[earlier]} and {name} cannot be compared, their {difference}; "
                        f"measure both alike with 'mien evaluate'"
                    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.evaluations[0].metrics.classes

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What any of the evaluations tells, in the order that tables show it."""
        return tuple(
            measure
            for measure in MEASURES
            if any(measure.read(evaluation) is not None for evaluation in self.evaluations)
        )

    def best(self, measure: Measure) -> frozenset[int]:
        """Return which evaluations are best by a measure; none where there is nothing to win.

        Values that are written alike are alike: of two that read 2.84 M neither is the better.
        """
        told = [e for e in self.evaluations if measure.read(e) is not None]
        known = [value for e in told if (value := measure.read(e)) is not None]
        if measure.better is None or len({measure.write(value) for value in known}) < 2:
            return frozenset()
        if len({measure.alike(e) for e in told}) > 1:
            return frozenset()
        best = measure.write(max(known) if measure.better == "higher" else min(known))
        written = [measure.text(evaluation) for evaluation in self.evaluations]
        return frozenset(i for i, text in enumerate(written) if text == best)

    def cautions(self) -> tuple[str, ...]:
        """Return what must be known of the figures to trust them, a clause each."""
        named = list(zip(self.names, self.evaluations, strict=True))
        found = [f"{name}: against the protocol: {b}" for name, e in named for b in e.breaches]
        chosen = [name for name, evaluation in named if evaluation.chosen_on]
        if 0 < len(chosen) < len(named):
            found.append(f"chosen on these faces, unlike the others: {', '.join(chosen)}")
        elif chosen:
            found.append("all were chosen on these faces, which flatters each")
        return tuple(found)

    def seed_spreads(self) -> tuple["SeedSpread", ...]:
        """Return the spread of each recipe that is here with more than one seed on the same data.

        Older versions did not tell what data that was; theirs is taken for one and the same.
        """
        groups: dict[tuple[str, str | None, str], list[Evaluation]] = {}
        for evaluation in self.evaluations:
            if evaluation.recipe_sha256 and evaluation.seed is not None:
                key = (evaluation.recipe_sha256, evaluation.trained_on, evaluation.view)
                groups.setdefault(key, []).append(evaluation)
        return tuple(
            SeedSpread(
                recipe=group[0].recipe,
                trained_on=group[0].trained_on,
                seeds=tuple(e.seed for e in group if e.seed is not None),
                accuracies=tuple(e.metrics.accuracy for e in group),
                macro_f1s=tuple(e.metrics.macro_f1 for e in group),
            )
            for group in groups.values()
            if len({e.seed for e in group}) == len(group) > 1
        )

    def differences(self) -> tuple[Difference, ...] | None:
        """Return how each but the first differs from the first; None where one keeps no readings.

        Readings of every face are in evaluations of this version on.
        """
        labels = self.evaluations[0].labels
        readings = [e.predictions for e in self.evaluations if e.predictions is not None]
        if labels is None or len(readings) < len(self.evaluations):
            return None
        return compare_readings(labels, readings[0], readings[1:], classes=len(self.classes))

    def confusion_difference(self, index: int) -> npt.NDArray[np.float64]:
        """Return ``(C, C)`` confusion rates of one less the first's, in percentage points."""
        first, other = self.evaluations[0].metrics, self.evaluations[index].metrics
        return 100 * (other.confusion_rates() - first.confusion_rates())


@dataclass(frozen=True, kw_only=True)
class SeedSpread:
    """One recipe trained with several seeds: how far the seed alone moves its figures.

    Attributes:
        recipe: Its name.
        trained_on: sha256 of the data that all were trained on; None where it is not known.
        seeds: Two or more.
        accuracies: Of each, 0 to 1.
        macro_f1s: Of each, 0 to 1.
    """

    recipe: str
    trained_on: str | None
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    macro_f1s: tuple[float, ...]

    def text(self) -> str:
        """Return means and standard deviations as people read them."""
        accuracy, macro_f1 = (
            (statistics.mean(values), statistics.stdev(values))
            for values in (self.accuracies, self.macro_f1s)
        )
        data = f" on data {self.trained_on[:12]}" if self.trained_on else ""
        return (
            f"{self.recipe} trained{data} with seeds {', '.join(map(str, self.seeds))}: accuracy "
            f"{100 * accuracy[0]:.2f} ± {100 * accuracy[1]:.2f} %, macro-F1 {macro_f1[0]:.3f} ± "
            f"{macro_f1[1]:.3f} (mean ± standard deviation)"
        )


def compare(sources: Sequence[str | Path], split: str = "PublicTest") -> Comparison:
    """Read evaluations to be seen side by side.

    Args:
        sources: Run folders that ``mien evaluate`` has measured, or evaluation files.
        split: Whose evaluation is read from run folders.

    Raises:
        CheckpointError: A folder has no evaluation of the split, or one of an earlier checkpoint or
            temperature; or a file is not an evaluation.
        DataError: The evaluations are not of the same split, data, faces and classes, or one is
            named twice.
        ValueError: There are no sources.
    """
    if not sources:
        raise ValueError("nothing to compare")
    paths = [Path(source) for source in sources]
    _refuse_repeats(paths, split)
    evaluations = tuple(_read(path, split) for path in paths)
    return Comparison(names=_distinct_names(paths, evaluations), evaluations=evaluations)


def _difference(one: Evaluation, other: Evaluation) -> str:
    """Return what keeps two evaluations from being compared; empty where nothing does."""
    pairs = [
        ("split", one.split, other.split),
        ("data", one.fingerprint[:12], other.fingerprint[:12]),
        ("classes", ", ".join(one.metrics.classes), ", ".join(other.metrics.classes)),
        ("numbers of faces", one.count, other.count),
    ]
    if one.faces_sha256 and other.faces_sha256:  # older versions did not write it
        pairs.append(("faces", one.faces_sha256[:12], other.faces_sha256[:12]))
    for what, ours, theirs in pairs:
        if ours != theirs:
            return f"{what} differ: {ours} and {theirs}"
    return ""


def _refuse_repeats(paths: Sequence[Path], split: str) -> None:
    files = [path / evaluation_file_name(split) if path.is_dir() else path for path in paths]
    resolved = [file.resolve() for file in files]
    for path, file in zip(paths, resolved, strict=True):
        if resolved.count(file) > 1:
            raise DataError(f"{path} is named more than once: name each run or file once")


def _read(source: Path, split: str) -> Evaluation:
    if not source.is_dir():
        return read_evaluation(source)
    path, command = source / evaluation_file_name(split), f"mien evaluate {source} --split {split}"
    if not path.is_file():
        raise CheckpointError(f"{source} has not been measured on {split}: run '{command}' first")
    evaluation, model = read_evaluation(path), model_file(source)
    if model.is_file() and file_sha256(model) != evaluation.model_sha256:
        raise CheckpointError(f"{path} is of an earlier {model.name}: run '{command}' again")
    if model.is_file() and read_temperature(model) != (evaluation.temperature or 1.0):
        raise CheckpointError(
            f"{path} was measured before {source} was last calibrated: run '{command}' again"
        )
    return evaluation


def _distinct_names(paths: Sequence[Path], evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return runs by their folders and others by their models, with their view.

    Where names are the same they have their path as well, and a number where even those are.
    """
    names = []
    for path, evaluation in zip(paths, evaluations, strict=True):
        name = path.resolve().name if path.is_dir() else evaluation.model
        names.append(name if evaluation.view == "single" else f"{name} ({evaluation.view})")
    full = [
        name if names.count(name) == 1 else f"{name} [{path}]"
        for name, path in zip(names, paths, strict=True)
    ]
    return tuple(
        name if full.count(name) == 1 else f"{name} {full[: i + 1].count(name)}"
        for i, name in enumerate(full)
    )
