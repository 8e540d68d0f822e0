"""Exact duplicates: images whose pixels are the same, byte for byte."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset


@dataclass(frozen=True, eq=False, kw_only=True)
class Duplicates:
    """How often the same picture comes again.

    Attributes:
        group_of: ``(N,)`` int64; images with the same number have the same pixels.
        surplus: Images that repeat an earlier one.
        groups: Pictures that come more than once.
        conflicting: Of these, the ones that come with more than one label.
        copies: ``(S, S)`` int64 over :data:`mien.data.dataset.SPLITS`. Row a, column b: images of
            split b that split a has too; on the diagonal the surplus within a split.
    """

    group_of: npt.NDArray[np.int64]
    surplus: int
    groups: int
    conflicting: int
    copies: npt.NDArray[np.int64]

    def members(self) -> list[npt.NDArray[np.int64]]:
        """Return the indices of each picture that comes more than once, as it first comes."""
        order = np.argsort(self.group_of, kind="stable")
        starts = np.flatnonzero(np.diff(self.group_of[order])) + 1
        groups = [group for group in np.split(order, starts) if len(group) > 1]
        return sorted(groups, key=lambda group: int(group[0]))


def group_copies(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return ``(N,)`` the group of each of ``(N, H, W)`` pictures, numbered as they first come.

    Pictures with the same pixels, by a 128-bit hash of them, share a group.
    """
    hashes = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    numbers: dict[bytes, int] = {}
    grouped = (numbers.setdefault(each, len(numbers)) for each in hashes)
    return np.fromiter(grouped, np.int64, len(images))


def group_together(
    first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]
) -> npt.NDArray[np.int64]:
    """Return ``(N,)`` groups of what is linked by either of two ``(N,)`` groupings, in chains."""
    groups = np.arange(len(first))
    numbered = [np.unique(grouping, return_inverse=True)[1] for grouping in (first, second)]
    while True:
        before = groups
        for numbers in numbered:
            lowest = np.full(numbers.max(initial=-1) + 1, len(first))
            np.minimum.at(lowest, numbers, groups)
            groups = lowest[numbers]
        if np.array_equal(groups, before):
            return groups


def find_duplicates(dataset: ExpressionDataset) -> Duplicates:
    """Find images with the same pixels."""
    return count_copies(group_copies(dataset.images), dataset.labels, dataset.split_codes)


def count_copies(
    group_of: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    split_codes: npt.NDArray[np.uint8],
) -> Duplicates:
    """Return what a grouping of images by what they show amounts to.

    Args:
        group_of: ``(N,)`` the group of each; any numbers.
        labels: ``(N,)`` their classes.
        split_codes: ``(N,)`` indices into :data:`mien.data.dataset.SPLITS`.
    """
    numbers, dense = np.unique(group_of, return_inverse=True)
    labelled = np.unique(np.stack([dense, labels], axis=1), axis=0)
    return Duplicates(
        group_of=group_of,
        surplus=len(dense) - len(numbers),
        groups=int((np.bincount(dense) > 1).sum()),
        conflicting=int((np.bincount(labelled[:, 0]) > 1).sum()),
        copies=_copies(dense, split_codes, len(numbers)),
    )


def _copies(
    group_of: npt.NDArray[np.int64], split_codes: npt.NDArray[np.uint8], groups: int
) -> npt.NDArray[np.int64]:
    """Count, for each pair of splits, the images of the second that the first has too."""
    members = np.zeros((len(SPLITS), groups), np.int64)
    np.add.at(members, (split_codes, group_of), 1)
    copies = (members > 0).astype(np.int64) @ members.T
    np.fill_diagonal(copies, (members - (members > 0)).sum(axis=1))
    return copies
