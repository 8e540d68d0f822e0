import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.ferplus import align_votes, majority_expressions, read_votes
from mien.errors import DataError
from mien.expressions import EXPRESSIONS, FERPLUS_COLUMNS

VotesText = Callable[[ExpressionDataset], str]


@pytest.fixture
def votes_file(tmp_path: Path, dataset: ExpressionDataset, votes_text: VotesText) -> Path:
    path = tmp_path / "fer2013new.csv"
    path.write_text(votes_text(dataset))
    return path


def test_votes_are_matched_by_row(dataset: ExpressionDataset, votes_file: Path) -> None:
    assert dataset.votes is not None
    found = align_votes(dataset, read_votes(votes_file), source="fer2013.csv")
    assert found.dtype == np.uint8
    assert np.array_equal(found, dataset.votes)


def test_a_data_set_without_a_split_is_matched_split_by_split(
    dataset: ExpressionDataset, votes_file: Path
) -> None:
    part = dataset.take(np.flatnonzero(dataset.split_codes != 1))
    found = align_votes(part, read_votes(votes_file), source="fer2013.csv")
    assert part.votes is not None
    assert np.array_equal(found, part.votes)


def test_other_counts_cannot_be_matched(dataset: ExpressionDataset, votes_file: Path) -> None:
    votes = read_votes(votes_file)
    with pytest.raises(DataError, match=r"32 Training rows but 31 in my.csv, so they cannot"):
        align_votes(dataset.take(range(1, 40)), votes, source="my.csv")


def test_another_order_is_found(dataset: ExpressionDataset, votes_file: Path) -> None:
    codes = dataset.split_codes.copy()
    codes[[5, 39]] = codes[[39, 5]]
    with pytest.raises(DataError, match=r"row 6 is Training but PrivateTest in my.csv"):
        align_votes(replace(dataset, split_codes=codes), read_votes(votes_file), source="my.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("neutral", "neutrals", "no column 'neutral' among .*did you mean 'neutrals'"),
        ("NF", "nothing", "no column 'NF'"),
        ("fer0000003.png,", "fer0000003.png,x", "row 4: 'x.*' is not a count of votes"),
        ("fer0000003.png,", "fer0000003.png,-", "row 4: '-.*' is not a count of votes"),
        ("Training,fer0000003.png", "Test,fer0000003.png", "row 4: Usage 'Test' is none of"),
        ("fer0000003.png,", "fer0000003.png\n", "row 4 has 2 columns, too few"),
    ],
)
def test_a_malformed_file_names_the_place(
    votes_file: Path, old: str, new: str, message: str
) -> None:
    text = votes_file.read_text()
    assert old in text
    votes_file.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=f"fer2013new.csv: {message}"):
        read_votes(votes_file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fer2013new.csv: cannot be read"):
        read_votes(tmp_path / "fer2013new.csv")


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
def test_any_line_ending(dataset: ExpressionDataset, votes_file: Path, ending: str) -> None:
    lines = votes_file.read_text().splitlines()
    votes_file.write_bytes(ending.join(lines).encode())
    assert dataset.votes is not None
    assert np.array_equal(read_votes(votes_file).votes, dataset.votes)


def test_what_is_no_csv_is_told(votes_file: Path) -> None:
    votes_file.write_text(votes_file.read_text() + "x" * (csv.field_size_limit() + 1))
    with pytest.raises(DataError, match=r"fer2013new.csv: not readable as CSV \(field larger"):
        read_votes(votes_file)


def test_an_empty_file_has_no_columns(votes_file: Path) -> None:
    votes_file.write_text("")
    with pytest.raises(DataError, match=r"fer2013new.csv: no column 'Usage'"):
        read_votes(votes_file)


def test_a_majority_is_more_than_half_of_all_votes() -> None:
    columns = list(FERPLUS_COLUMNS)
    votes = np.zeros((6, len(columns)), np.uint8)
    for row, counts in enumerate(
        [
            {"sadness": 6, "fear": 4},
            {"sadness": 5, "fear": 5},
            {"sadness": 5, "NF": 5},
            {"contempt": 10},
            {},
            {"neutral": 200, "anger": 199},
        ]
    ):
        for column, count in counts.items():
            votes[row, columns.index(column)] = count

    found = majority_expressions(votes)

    sad, neutral = EXPRESSIONS.index("sad"), EXPRESSIONS.index("neutral")
    assert found.tolist() == [sad, -1, -1, -1, -1, neutral]
