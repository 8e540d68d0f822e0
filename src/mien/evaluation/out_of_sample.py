"""Out-of-sample probabilities on disk: what a cross-validation leaves for others to read.

Nothing here needs torch.
"""

import hashlib
import json
import statistics
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import mien
from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError
from mien.evaluation.json_values import read_count, read_number, read_text

FACTS: Final = "cross-validation.json"
ARRAYS: Final = "cross-validation.npz"

#: Of a face that no fold learned from, which all folds' models read.
NO_FOLD: Final = -1

#: What damage makes json, zipfile and NumPy raise.
_DAMAGE: Final = (
    *(zipfile.BadZipFile, AttributeError, EOFError, LookupError, OSError),
    *(OverflowError, RecursionError, TypeError, ValueError),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossValidation:
    """Out-of-sample probabilities of all faces of a data set, and how accurate they are.

    A face of another split that no training face is a copy of has the mean of all folds'
    probabilities: none of their models learned from it. On the recipe's validation split they
    chose their epochs, which flatters accuracy there a little; so that of the folds is told.

    Attributes:
        recipe: The recipe of each fold, as plain types.
        classes: Class names in the order of the probabilities.
        probabilities: ``(N, C)`` float32, in the data set's order.
        fold_of: ``(N,)`` int64 the fold, from 0, whose model read the face: the one that learned
            neither from it nor from a copy of it. :data:`NO_FOLD` where none did.
        accuracies: Of each fold, the share of its training faces read right, 0 to 1.
        counts: Of each fold, these faces' number.
        minutes: What each fold's training took.
        fingerprint: sha256 of what the data was read from.
        faces_sha256: Digest of the very faces, labels, splits and classes.
        version: Version of the package that trained.
    """

    recipe: Mapping[str, Any]
    classes: tuple[str, ...]
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    fold_of: npt.NDArray[np.int64] = field(repr=False)
    accuracies: tuple[float, ...]
    counts: tuple[int, ...]
    minutes: tuple[float, ...]
    fingerprint: str
    faces_sha256: str
    version: str = mien.__version__

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return len(self.accuracies)

    @property
    def mean(self) -> float:
        """Mean accuracy of the folds, 0 to 1."""
        return statistics.mean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Sample standard deviation of the folds' accuracies; the folds share training faces."""
        return statistics.stdev(self.accuracies)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as plain JSON types."""
        return {
            "recipe": dict(self.recipe),
            "folds": self.folds,
            "classes": list(self.classes),
            "data": self.fingerprint,
            "faces_sha256": self.faces_sha256,
            "version": self.version,
            "accuracies": list(self.accuracies),
            "accuracy_mean": self.mean,
            "accuracy_deviation": self.deviation,
            "counts": list(self.counts),
            "minutes": list(self.minutes),
        }


def read_cross_validation(folder: str | Path) -> CrossValidation:
    """Read what :func:`mien.evaluation.cross_validation.cross_validate` left in its folder.

    Raises:
        CheckpointError: There is none, it is not finished, or it is damaged.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    if not (folder / ARRAYS).is_file():
        raise CheckpointError(
            f"{folder}: the cross-validation is not finished: go on with the same command"
        )
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            probabilities, fold_of = arrays["probabilities"], arrays["fold_of"]
        found = CrossValidation(
            recipe=dict(facts["recipe"]),
            classes=tuple(read_text(name) for name in facts["classes"]),
            probabilities=probabilities,
            fold_of=fold_of,
            accuracies=tuple(read_number(v, low=0, high=1) for v in facts["accuracies"]),
            counts=tuple(read_count(v, low=1) for v in facts["counts"]),
            minutes=tuple(read_number(v, low=0) for v in facts["minutes"]),
            fingerprint=read_text(facts["data"]),
            faces_sha256=read_text(facts["faces_sha256"]),
            version=read_text(facts["version"]),
        )
        _check_arrays(found, folds=read_count(facts["folds"], low=2))
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{folder}: not a cross-validation of mien: {reason}") from error
    return found


def faces_sha256(dataset: ExpressionDataset) -> str:
    """Return a digest of a data set's faces, labels, splits and classes.

    Unlike the fingerprint, it stays the same where votes are added, or the same faces are
    read from another kind of file.
    """
    digest = hashlib.sha256("\0".join(dataset.classes).encode("utf-8", "surrogateescape"))
    for array in (dataset.images, dataset.labels, dataset.split_codes):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what :data:`FACTS` holds, finished or not.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    path = folder / FACTS
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no cross-validation, there is no {FACTS}: make one with "
            f"'mien cross-validate --output {folder}'"
        )
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a cross-validation of mien: {error}") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: not a cross-validation of mien: expected a table")
    return facts


def write_cross_validation(folder: Path, found: CrossValidation) -> None:
    """Write a cross-validation's facts and arrays; the arrays last: what has them is finished."""
    write_facts(folder, found.to_dict())
    # An open file, since np.savez would name another.
    with atomic_write(folder / ARRAYS) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=found.probabilities, fold_of=found.fold_of)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write :data:`FACTS`."""
    with atomic_write(folder / FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def _check_arrays(found: CrossValidation, *, folds: int) -> None:
    """Raise a :class:`ValueError` where the arrays are not what the facts say."""
    count, classes = len(found.fold_of), len(found.classes)
    probabilities, fold_of = found.probabilities, found.fold_of
    if probabilities.dtype != np.float32 or probabilities.shape != (count, classes):
        raise ValueError(
            f"expected float32 probabilities ({count}, {classes}), got {probabilities.dtype} "
            f"{probabilities.shape}"
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1.001)):
        raise ValueError("probabilities that are not from 0 to 1")
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError("probabilities of a face that do not sum to 1")
    if fold_of.dtype != np.int64 or fold_of.ndim != 1 or not {*fold_of} <= {NO_FOLD, *range(folds)}:
        raise ValueError(f"folds that are not whole numbers from {NO_FOLD} to {folds - 1}")
    if not len(found.accuracies) == len(found.counts) == len(found.minutes) == folds:
        raise ValueError(f"expected figures of {folds} folds, got {len(found.accuracies)}")
