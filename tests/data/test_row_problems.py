import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.row_problems import (
    Column,
    RowProblem,
    count_problems,
    is_nothing,
    leave_out,
    note_problem,
)
from mien.errors import DataError


def problem(name: str, column: Column = "emotion", *, missing: bool = False) -> RowProblem:
    return RowProblem(name=name, column=column, missing=missing, reason="9 is no code")


@pytest.mark.parametrize("value", [b"", b"  ", b"NaN", b" nan", b"NA", b"None", b"NULL", b"<NA>"])
def test_words_for_no_value(value: bytes) -> None:
    assert is_nothing(value)


@pytest.mark.parametrize("value", [b"0", b"9", b"nano", b"-"])
def test_a_value_that_is_there(value: bytes) -> None:
    assert not is_nothing(value)


def test_problems_are_collected_or_refused() -> None:
    problems: list[RowProblem] = []
    note_problem(problem("row 2"), problems, refusal="a.csv: row 2")
    assert problems == [problem("row 2")]
    with pytest.raises(DataError, match=r"^a.csv: row 2 \('mien data explore' lists all"):
        note_problem(problem("row 2"), None, refusal="a.csv: row 2")


def test_values_are_counted_by_column() -> None:
    found = count_problems(
        [
            problem("row 1", "emotion", missing=True),
            problem("row 1", "pixels"),
            problem("row 4", "pixels", missing=True),
            problem("row 7", "pixels"),
        ]
    )
    assert found == {"emotion": (1, 0), "pixels": (1, 2), "Usage": (0, 0)}
    assert count_problems([problem("row 3", "row")])["row"] == (0, 1)
    assert count_problems([]) == dict.fromkeys(("emotion", "pixels", "Usage"), (0, 0))


def test_images_with_a_problem_are_left_out(faces: ExpressionDataset) -> None:
    few = faces.take(range(4))
    left = leave_out(few, [problem("row 1"), problem("row 3"), problem("row 3")], source="a")
    assert left.names.tolist() == ["row 2", "row 4"]
    with pytest.raises(DataError, match=r"a: no row or picture .* the first, row 1: 9"):
        leave_out(few, [problem(f"row {number}") for number in range(1, 5)], source="a")
