"""``ExpressionDataset``: faces, labels and splits in memory, as plain NumPy arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.errors import DataError
from mien.expressions import EXPRESSIONS, FERPLUS_COLUMNS
from mien.preprocess import FACE_SIZE

#: FER2013's own names for its splits, in the order of their codes in :attr:`split_codes`.
SPLITS: Final = ("Training", "PublicTest", "PrivateTest")

#: Each array's type and the shape of one of its elements.
_ARRAYS: Final[Mapping[str, tuple[type[np.generic], tuple[int, ...]]]] = MappingProxyType(
    {
        "images": (np.uint8, (FACE_SIZE, FACE_SIZE)),
        "labels": (np.int64, ()),
        "split_codes": (np.uint8, ()),
        "names": (np.str_, ()),
        "votes": (np.uint8, (len(FERPLUS_COLUMNS),)),
    }
)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ExpressionDataset:
    """Grey 48×48 faces with a label and a split each.

    Attributes:
        images: ``(N, 48, 48)`` uint8 grey levels.
        labels: ``(N,)`` int64 indices into :attr:`classes`.
        split_codes: ``(N,)`` uint8 indices into :data:`SPLITS`.
        names: ``(N,)`` where each image came from: ``row 17`` of a CSV, or a file's path.
        classes: The class names, in label order.
        votes: ``(N, 10)`` uint8 FER+ votes in the order of
            :data:`mien.expressions.FERPLUS_COLUMNS`, or None.
        fingerprint: sha256 of what it was read from, for the record of a run.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    split_codes: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]
    classes: tuple[str, ...] = EXPRESSIONS
    votes: npt.NDArray[np.uint8] | None = None
    fingerprint: str = field(default="")

    def __post_init__(self) -> None:
        count = len(self.images)
        for name, (kind, shape) in _ARRAYS.items():
            values = getattr(self, name)
            if values is None and name == "votes":
                continue
            _check_array(values, name, kind, shape)
            if len(values) != count:
                raise DataError(f"{count} images but {len(values)} {name}")
        if len(set(self.classes)) < len(self.classes) or not all(self.classes):
            raise DataError(f"class names must differ and not be empty, got {self.classes}")
        if count and int(self.split_codes.max()) >= len(SPLITS):
            raise DataError(f"split code {self.split_codes.max()}, expected 0 to {len(SPLITS) - 1}")
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, "
                f"expected 0 to {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        sizes = np.bincount(self.split_codes, minlength=len(SPLITS))
        splits = ", ".join(f"{name} {sizes[SPLITS.index(name)]}" for name in self.splits)
        votes = "" if self.votes is None else ", FER+ votes"
        return f"ExpressionDataset({len(self)} faces: {splits}{votes})"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have any image, in the order of :data:`SPLITS`."""
        present = np.bincount(self.split_codes, minlength=len(SPLITS)) > 0
        return tuple(name for name, there in zip(SPLITS, present, strict=True) if there)

    def split(self, name: str) -> "ExpressionDataset":
        """Return the images of one split, in order.

        Raises:
            ValueError: There is no split of that name.
        """
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}: expected one of {', '.join(SPLITS)}")
        return self.take(np.flatnonzero(self.split_codes == SPLITS.index(name)))

    def take(self, indices: npt.NDArray[np.int64] | Sequence[int]) -> "ExpressionDataset":
        """Return the images at these positions, in this order."""
        where = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            images=self.images[where],
            labels=self.labels[where],
            split_codes=self.split_codes[where],
            names=self.names[where],
            votes=None if self.votes is None else self.votes[where],
        )

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, found, strict=True)}

    def split_counts(self) -> dict[str, dict[str, int]]:
        """Return the number of images of each class in each split, empty splits included."""
        cells = self.split_codes.astype(np.int64) * len(self.classes) + self.labels
        table = np.bincount(cells, minlength=len(SPLITS) * len(self.classes)).reshape(
            len(SPLITS), -1
        )
        return {
            split: {name: int(n) for name, n in zip(self.classes, row, strict=True)}
            for split, row in zip(SPLITS, table, strict=True)
        }


def check_dataset(dataset: ExpressionDataset) -> None:
    """Refuse what is not a data set, such as the path of one.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(dataset, ExpressionDataset):
        raise TypeError(
            f"expected an ExpressionDataset, got a {type(dataset).__name__}: read FER2013 with "
            f"mien.load_fer2013, other data with mien.load_dataset"
        )


def _check_array(
    values: Any, name: str, kind: type[np.generic], element_shape: tuple[int, ...]
) -> None:
    """Refuse what is no array of N elements of this type and shape."""
    wanted = f"{kind.__name__.strip('_')} (N, {', '.join(map(str, element_shape))})".replace(
        "(N, )", "(N,)"
    )
    if not isinstance(values, np.ndarray):
        raise DataError(f"{name} must be an array, {wanted}, got {type(values).__name__}")
    right_shape = values.ndim == 1 + len(element_shape) and values.shape[1:] == element_shape
    if not (right_shape and np.issubdtype(values.dtype, kind)):
        raise DataError(f"{name} must be {wanted}, got {values.dtype} {values.shape}")
