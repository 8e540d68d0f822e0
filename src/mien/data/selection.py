"""Parts of a data set: a stratified share, without copies, fewer or merged classes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mien.data.dataset import ExpressionDataset
from mien.data.duplicates import group_copies
from mien.data.measures import is_flat
from mien.errors import DataError
from mien.expressions import unknown_name


def stratified_share(dataset: ExpressionDataset, share: float, *, seed: int) -> ExpressionDataset:
    """Return the same share of every class, in order; see :func:`stratified_indices`."""
    return dataset.take(stratified_indices(dataset.labels, share, seed=seed))


def stratified_indices(
    labels: npt.NDArray[np.int64], share: float, *, seed: int
) -> npt.NDArray[np.int64]:
    """Return sorted indices of a share of every class, at least one face of each that has any.

    A larger share of the same seed holds the smaller one, so a learning curve only ever adds.

    Args:
        labels: ``(N,)`` class indices.
        share: Above 0, up to 1.
        seed: Which faces.

    Raises:
        ValueError: ``share`` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    rng = np.random.default_rng(seed)
    kept = [np.empty(0, np.int64)]
    for label in range(int(labels.max(initial=-1)) + 1):
        where = rng.permutation(np.flatnonzero(labels == label))
        kept.append(where[: max(1, round(share * len(where)))])
    return np.sort(np.concatenate(kept))


def worthwhile_indices(dataset: ExpressionDataset) -> npt.NDArray[np.int64]:
    """Return sorted indices of the faces that are worth learning from.

    Left out are pictures of one flat colour, all but the first of exact copies, and every copy
    where copies have different labels.
    """
    if not len(dataset):
        return np.empty(0, np.int64)
    groups = group_copies(dataset.images)
    first = np.full(groups.max() + 1, -1)
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    lowest, highest = (np.full(len(first), extreme) for extreme in (len(dataset.classes), -1))
    np.minimum.at(lowest, groups, dataset.labels)
    np.maximum.at(highest, groups, dataset.labels)
    is_first = first[groups] == np.arange(len(groups))
    return np.flatnonzero(is_first & (lowest == highest)[groups] & ~is_flat(dataset.images))


def regroup_classes(dataset: ExpressionDataset, groups: Sequence[str]) -> ExpressionDataset:
    """Return the data set with fewer or merged classes; faces of no group are left out.

    Args:
        dataset: The faces. FER+ votes are dropped: they are of the seven expressions.
        groups: The new classes in label order: ``happy`` keeps a class, ``negative=angry+fear``
            merges some under a new name.

    Raises:
        DataError: A class is unknown or in two groups, or fewer than two groups are given.
    """
    names, label_of = [], np.full(len(dataset.classes), -1)
    for label, group in enumerate(groups):
        name, _, members = group.partition("=")
        if not name.strip():
            raise DataError(f"{group!r} has no name: write name=class+class")
        names.append(name.strip())
        for member in (members or name).split("+"):
            position = _class_index(member.strip(), dataset.classes)
            if label_of[position] >= 0:
                raise DataError(f"class {member.strip()!r} is in two groups")
            label_of[position] = label
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"expected two or more classes of different names, got {', '.join(names)}")
    kept = dataset.take(np.flatnonzero(label_of[dataset.labels] >= 0))
    return replace(kept, labels=label_of[kept.labels], classes=tuple(names), votes=None)


def _class_index(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return classes.index(name)
    raise DataError(unknown_name("class", name, classes))
