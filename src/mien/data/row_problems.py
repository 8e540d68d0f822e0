"""What is wrong with single rows of a source: refused at the first, or collected and left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError

Column: TypeAlias = Literal["emotion", "pixels", "Usage", "row"]

#: What every row has. A picture in a folder has them too: its pixels in the file, the others told
#: by its path.
COLUMNS: Final[tuple[Column, ...]] = ("emotion", "pixels", "Usage")

#: What stands for no value, in lower case: what pandas writes and reads for one.
_NOTHING: Final = frozenset({b"", b"na", b"n/a", b"<na>", b"nan", b"null", b"none"})


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """A value that cannot be used, so that its row has to be left out.

    Attributes:
        name: The row: ``row 17`` of a CSV, or a picture's path.
        column: The value's column; ``row`` where the row has more or fewer than the header.
        missing: Whether there is no value, rather than one that cannot be read.
        reason: What was found and what was expected.
    """

    name: str
    column: Column
    missing: bool
    reason: str


class ValueCounts(NamedTuple):
    """How many values of a column cannot be used.

    Attributes:
        missing: Values that are not there.
        unreadable: Values that are there and cannot be read.
    """

    missing: int
    unreadable: int


def is_nothing(value: bytes) -> bool:
    """Whether a value is empty, or one of the words that stand for that."""
    return value.strip().lower() in _NOTHING


def note_problem(problem: RowProblem, problems: list[RowProblem] | None, *, refusal: str) -> None:
    """Add a problem to those of its source, where they are collected.

    Args:
        problem: What is wrong.
        problems: The source's problems so far; None where the first one is one too many.
        refusal: What to say then.

    Raises:
        DataError: Problems are not collected.
    """
    if problems is None:
        raise DataError(f"{refusal} ('mien data explore' lists all that cannot be read)")
    problems.append(problem)


def leave_out(
    dataset: ExpressionDataset, problems: Sequence[RowProblem], *, source: str
) -> ExpressionDataset:
    """Return a data set without the images that have a problem.

    Args:
        dataset: All images that were read, whatever stands in for what could not be.
        problems: At least one.
        source: What to call the data set in messages.

    Raises:
        DataError: No image is left.
    """
    damaged = {problem.name for problem in problems}
    kept = [row for row, name in enumerate(dataset.names.tolist()) if name not in damaged]
    if not kept:
        first = problems[0]
        raise DataError(
            f"{source}: no row or picture of it can be read; the first, {first.name}: "
            f"{first.reason}"
        )
    return dataset.take(kept)


def count_problems(problems: Sequence[RowProblem]) -> dict[Column, ValueCounts]:
    """Return how many values of each of :data:`COLUMNS` cannot be used.

    Rows with more or fewer values than the header are told as ``row``, if there are any.
    """
    columns = (*COLUMNS, "row") if any(each.column == "row" for each in problems) else COLUMNS
    missing = dict.fromkeys(columns, 0)
    unreadable = dict.fromkeys(columns, 0)
    for problem in problems:
        (missing if problem.missing else unreadable)[problem.column] += 1
    return {column: ValueCounts(missing[column], unreadable[column]) for column in columns}
