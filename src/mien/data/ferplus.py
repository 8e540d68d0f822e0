"""FER+ votes: ten people's opinions of each FER2013 image.

Source: https://github.com/microsoft/FERPlus, Barsoum et al. 2016,
https://arxiv.org/abs/1608.01041
"""

import csv
import hashlib
import io
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.fer2013_csv import find_column
from mien.errors import DataError
from mien.expressions import EXPRESSIONS, FERPLUS_COLUMNS

VOTES_FILE: Final = "fer2013new.csv"

_MAX_BYTES: Final = 64 << 20
#: Looking a number up takes a tenth of the time of parsing it.
_COUNTS: Final = {str(count): count for count in range(256)}


class FerPlusVotes(NamedTuple):
    """The contents of ``fer2013new.csv``, row by row.

    Attributes:
        source: The file's name.
        split_codes: ``(N,)`` uint8 indices into :data:`mien.data.dataset.SPLITS`.
        votes: ``(N, 10)`` uint8 in the order of :data:`mien.expressions.FERPLUS_COLUMNS`.
        fingerprint: sha256 of the file.
    """

    source: str
    split_codes: npt.NDArray[np.uint8]
    votes: npt.NDArray[np.uint8]
    fingerprint: str


def read_votes(path: Path) -> FerPlusVotes:
    """Read ``fer2013new.csv``.

    Raises:
        DataError: It is missing or malformed; the message names the column or row.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path.name}: too large for FER+ votes")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    # With StringIO's default of no translation, lines that end as on an old Mac would be one line.
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=None))
    try:
        header, *table = [row for row in rows if row] or [[]]
    except csv.Error as error:
        raise DataError(f"{path.name}: not readable as CSV ({error})") from error
    columns = [find_column(name, header, source=path.name) for name in ("Usage", *FERPLUS_COLUMNS)]
    usage, *counts = columns
    try:
        codes = [SPLITS.index(row[usage].strip()) for row in table]
        counted = chain.from_iterable(map(itemgetter(*counts), table))
        votes = bytearray(map(_COUNTS.__getitem__, counted))
    except (ValueError, IndexError, KeyError):
        raise _first_error(table, columns, path.name) from None
    return FerPlusVotes(
        path.name,
        np.array(codes, np.uint8),
        np.frombuffer(votes, np.uint8).reshape(-1, len(FERPLUS_COLUMNS)),
        hashlib.sha256(data).hexdigest(),
    )


def _first_error(table: list[list[str]], columns: list[int], source: str) -> DataError:
    """Find the first malformed row of a file that is known to have one."""
    for number, row in enumerate(table, start=1):
        try:
            usage, *counts = (row[column] for column in columns)
        except IndexError:
            return DataError(f"{source}: row {number} has {len(row)} columns, too few")
        if usage.strip() not in SPLITS:
            return DataError(
                f"{source}: row {number}: Usage {usage!r} is none of {', '.join(SPLITS)}"
            )
        for count in counts:
            if count not in _COUNTS:
                return DataError(f"{source}: row {number}: {count!r} is not a count of votes")
    raise AssertionError("the file has no malformed row")


def align_votes(
    dataset: ExpressionDataset, votes: FerPlusVotes, *, source: str
) -> npt.NDArray[np.uint8]:
    """Give every row of ``fer2013.csv`` its votes.

    Both files have the same rows in the same order, while image names skip the rows without
    one; so rows are matched, never names. A CSV that lacks a whole split still matches, split by
    split.

    Args:
        dataset: Read from a CSV, in its order.
        votes: From :func:`read_votes`.
        source: What to call the data set in messages.

    Returns:
        ``(N, 10)`` uint8.

    Raises:
        DataError: The rows of both files cannot be the same images.
    """
    if len(votes.split_codes) == len(dataset):
        unlike = np.flatnonzero(votes.split_codes != dataset.split_codes)
        if len(unlike):
            row = unlike[0]
            raise DataError(
                f"{votes.source}: row {row + 1} is {SPLITS[votes.split_codes[row]]} but "
                f"{SPLITS[dataset.split_codes[row]]} in {source}; are both in their original order?"
            )
        return votes.votes
    aligned = np.empty((len(dataset), votes.votes.shape[1]), np.uint8)
    for code, split in enumerate(SPLITS):
        here = dataset.split_codes == code
        there = votes.split_codes == code
        if here.any() and here.sum() != there.sum():
            raise DataError(
                f"{votes.source}: {there.sum():,} {split} rows but {here.sum():,} in {source}, "
                "so they cannot be matched by row"
            )
        if here.any():
            aligned[here] = votes.votes[there]
    return aligned


def votes_by_class(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return ``(N, 7)`` votes in the order of the expressions from ``(N, 10)`` FER+ columns.

    Votes for contempt, for no known expression and for no face are left out.
    """
    columns = list(FERPLUS_COLUMNS.values())
    return votes[:, [columns.index(name) for name in EXPRESSIONS]]


def majority_expressions(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return ``(N,)`` int64 the expression that most voters saw, from ``(N, 10)`` FER+ columns.

    An index into :data:`mien.expressions.EXPRESSIONS` where more than half of all of an image's
    votes are for it, those for contempt, unknown and no face counted; -1 where none has so many.
    """
    of_expressions = votes_by_class(votes).astype(np.int64)
    decided = 2 * of_expressions.max(axis=1) > votes.sum(axis=1, dtype=np.int64)
    return np.where(decided, of_expressions.argmax(axis=1), -1)


def most_saw(votes: npt.NDArray[np.uint8], *columns: str) -> npt.NDArray[np.bool_]:
    """Return ``(N,)`` where columns of :data:`FERPLUS_COLUMNS` together have more than half.

    Args:
        votes: ``(N, 10)`` FER+ columns.
        columns: Names of the columns, ``NF`` for no face.
    """
    chosen = [list(FERPLUS_COLUMNS).index(name) for name in columns]
    found = votes[:, chosen].sum(axis=1, dtype=np.int64)
    most: npt.NDArray[np.bool_] = 2 * found > votes.sum(axis=1, dtype=np.int64)
    return most
