import builtins
import gzip
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mien.data.text_blocks
from mien.data.dataset import ExpressionDataset
from mien.data.fer2013_csv import read_fer2013_csv
from mien.data.row_problems import RowProblem
from mien.errors import DataError, MissingExtraError

CsvText = Callable[..., bytes]

PIXELS = " ".join(["100"] * 2304)
SHORT = " ".join(["1"] * 2303)
HINT = " ('mien data explore' lists all that cannot be read)"


def read(data: bytes | str, *, gzipped: bool = False) -> ExpressionDataset:
    data = data.encode() if isinstance(data, str) else data
    return read_fer2013_csv(io.BytesIO(data), source="fer2013.csv", gzipped=gzipped)


def complaint(data: bytes | str, *, gzipped: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        read(data, gzipped=gzipped)
    message = str(caught.value)
    assert message.startswith("fer2013.csv: ")
    assert "\n" not in message
    return message.removeprefix("fer2013.csv: ").removesuffix(HINT)


def survey(data: bytes | str) -> tuple[list[str], list[RowProblem]]:
    """Return the names of the images that can be read, and what is wrong with the others."""
    problems: list[RowProblem] = []
    data = data.encode() if isinstance(data, str) else data
    found = read_fer2013_csv(io.BytesIO(data), source="fer2013.csv", problems=problems)
    return found.names.tolist(), problems


@pytest.mark.parametrize(
    "header",
    [
        ("emotion", "pixels", "Usage"),
        ("emotion", " Usage", " pixels"),
        ("USAGE", "Emotion", "Pixels"),
    ],
)
def test_columns_in_any_order_and_spelling(
    dataset: ExpressionDataset, csv_text: CsvText, header: tuple[str, ...]
) -> None:
    found = read(csv_text(header))
    assert np.array_equal(found.images, dataset.images)
    assert np.array_equal(found.labels, dataset.labels)
    assert np.array_equal(found.split_codes, dataset.split_codes)
    assert list(found.names[:2]) == ["row 1", "row 2"]
    assert found.images.flags.writeable


def test_gzip_crlf_quotes_a_byte_order_mark_and_other_columns(
    dataset: ExpressionDataset, csv_text: CsvText
) -> None:
    lines = csv_text().decode().splitlines()
    text = "\ufeff,id," + lines[0] + "\r\n"
    for row, line in enumerate(lines[1:]):
        emotion, pixels, usage = line.split(",")
        text += f'{row},"a, b",{emotion},"{pixels}", {usage}\r\n'
    found = read(gzip.compress(text.encode()), gzipped=True)
    assert np.array_equal(found.images, dataset.images)
    assert np.array_equal(found.split_codes, dataset.split_codes)


def test_without_usage_every_row_is_training(csv_text: CsvText, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="mien"):
        found = read(csv_text(("emotion", "pixels")))
    assert found.splits == ("Training",)
    assert "no Usage column, so every row counts as Training" in caplog.text


def test_blocks_smaller_than_the_file_count_rows_on(
    csv_text: CsvText, dataset: ExpressionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mien.data.text_blocks, "BLOCK_BYTES", 20_000)
    data = csv_text()
    assert np.array_equal(read(data).images, dataset.images)
    lines = data.splitlines()
    lines[33] = lines[33].replace(b" ", b" 256 ", 1)
    assert complaint(b"\n".join(lines)) == "row 33: pixel 2 is 256, expected 0 to 255"
    lines[30] += b",more"
    assert complaint(b"\n".join(lines)) == "row 30 has 4 columns, the header has 3"
    assert "gzip" not in complaint(gzip.compress(b"\n".join(lines)), gzipped=True)


def test_a_wrong_row_is_named(csv_text: CsvText) -> None:
    def with_row_3(line: str) -> str:
        lines = csv_text().decode().splitlines()
        lines[3] = line
        return "\n".join(lines)

    short = " ".join(["1"] * 2303)
    assert complaint(with_row_3(f"0,{short},Training")) == (
        "row 3: 2,303 pixels, expected 2,304 (48×48)"
    )
    assert complaint(with_row_3(f"0,{short} -1,Training")) == (
        "row 3: pixel 2304 is '-1', expected a whole number from 0 to 255"
    )
    assert complaint(with_row_3("0,,Training")).startswith("row 3: 0 pixels, expected 2,304")
    assert complaint(with_row_3(f"7,{PIXELS},Training")) == (
        "row 3: emotion '7' is none of 0, 1, 2, 3, 4, 5, 6"
    )
    assert complaint(with_row_3(f"happy,{PIXELS},Training")).startswith("row 3: emotion 'happy'")
    assert complaint(with_row_3(f"0,{PIXELS},Trainig")) == (
        "row 3: Usage 'Trainig' is none of Training, PublicTest, PrivateTest; "
        "did you mean Training?"
    )
    assert complaint(with_row_3(f"0,{PIXELS}")) == "row 3 has 2 columns, the header has 3"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("emotions,pixels,Usage", "no column 'emotion' among emotions, pixels, Usage; did you"),
        ("emotion,pixel,Usage", "no column 'pixels' among emotion, pixel, Usage; did you mean"),
        ("emotion,pixels,Usages", "no column 'Usage' among emotion, pixels, Usages; did you"),
        ("pixels,x,y", "no column 'emotion' among pixels, x, y"),
    ],
)
def test_a_missing_column_is_named(header: str, message: str) -> None:
    assert complaint(f"{header}\n0,{PIXELS},Training\n").startswith(message)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_columns_that_nothing_separates_are_told(separator: str) -> None:
    text = f"emotion,pixels,Usage\n0,{PIXELS},Training\n".replace(",", separator)

    assert complaint(text).endswith("; separate the columns by commas")


def test_a_column_for_each_pixel_is_another_format() -> None:
    header = ",".join(["emotion", *(f"pixel{i}" for i in range(2304))])
    assert complaint(f"{header}\n{','.join(['1'] * 2305)}\n") == (
        "2,305 columns, expected emotion, pixels and Usage"
    )


def test_an_empty_file_and_one_without_rows() -> None:
    assert complaint("") == "empty file"
    assert complaint("emotion,pixels,Usage\n") == "a header but no rows"


def test_a_row_without_end() -> None:
    assert complaint(f"emotion,pixels,Usage\n0,{PIXELS * 60},Training\n").startswith(
        "a line is longer than 262,144 bytes"
    )


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_a_truncated_gzip_is_told(csv_text: CsvText, kept: float) -> None:
    data = gzip.compress(csv_text())
    assert "cut short" in complaint(data[: int(len(data) * kept)], gzipped=True)


def test_a_damaged_gzip_is_told(csv_text: CsvText) -> None:
    data = bytearray(gzip.compress(csv_text()))
    data[len(data) // 2] ^= 0xFF
    complaint(bytes(data), gzipped=True)


def test_a_bomb_is_given_up(csv_text: CsvText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.data.text_blocks, "MAX_BYTES", 50_000)
    assert "gave up" in complaint(csv_text())


def test_pyarrow_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_pyarrow(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pyarrow)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[train\]'"):
        read("emotion,pixels,Usage\n")


@pytest.mark.parametrize(
    ("row", "column", "missing", "reason"),
    [
        (f",{PIXELS},Training", "emotion", True, "emotion '' is none of 0, 1,"),
        (f" nan ,{PIXELS},Training", "emotion", True, "emotion 'nan' is none of 0, 1,"),
        (f"9,{PIXELS},Training", "emotion", False, "emotion '9' is none of 0, 1,"),
        (f"3,{PIXELS},", "Usage", True, "Usage '' is none of Training, PublicTest"),
        (f"3,{PIXELS},Tarining", "Usage", False, "Usage 'Tarining' is none of Training"),
        ("3,,Training", "pixels", True, "0 pixels, expected 2,304"),
        (f"3,{SHORT},Training", "pixels", False, "2,303 pixels, expected 2,304"),
        (f"3,{PIXELS} 1,Training", "pixels", False, "2,305 pixels, expected 2,304"),
        (f"3,{SHORT} 256,Training", "pixels", False, "pixel 2304 is 256, expected 0 to 255"),
        (f"3,{SHORT} x,Training", "pixels", False, "pixel 2304 is 'x', expected a whole number"),
        (f"3,{PIXELS}", "row", False, "2 columns, the header has 3"),
        (f"3,{PIXELS},Training,more", "row", False, "4 columns, the header has 3"),
    ],
)
@pytest.mark.parametrize("position", [1, 3, 40])
def test_a_row_that_cannot_be_read_is_left_out_where_problems_are_collected(
    csv_text: CsvText, row: str, column: str, missing: bool, reason: str, position: int
) -> None:
    lines = csv_text().decode().splitlines()
    lines[position] = row
    kept, (problem,) = survey("\n\n".join(lines))  # blank lines are no rows
    assert kept == [f"row {number}" for number in range(1, 41) if number != position]
    assert (problem.name, problem.column) == (f"row {position}", column)
    assert problem.missing == missing
    assert problem.reason.startswith(reason)
    with pytest.raises(DataError, match="'mien data explore' lists all that cannot be read"):
        read("\n".join(lines))


def test_what_is_kept_is_what_the_other_rows_hold(
    csv_text: CsvText, dataset: ExpressionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mien.data.text_blocks, "BLOCK_BYTES", 20_000)
    lines = csv_text().decode().splitlines()
    for number, row in {1: ",,", 2: "1", 8: "1,2", 9: f"8,{SHORT},Training", 30: "0,,"}.items():
        lines[number] = row
    problems: list[RowProblem] = []
    data = io.BytesIO("\n".join(lines).encode())
    found = read_fer2013_csv(data, source="fer2013.csv", problems=problems)

    kept = [number - 1 for number in range(1, 41) if number not in (1, 2, 8, 9, 30)]
    assert np.array_equal(found.images, dataset.images[kept])
    assert np.array_equal(found.labels, dataset.labels[kept])
    assert np.array_equal(found.split_codes, dataset.split_codes[kept])
    assert found.names.tolist() == [f"row {number + 1}" for number in kept]
    assert [(each.name, each.column) for each in problems] == [
        *(("row 1", column) for column in ("emotion", "Usage", "pixels")),
        ("row 2", "row"),
        ("row 8", "row"),
        *(("row 9", column) for column in ("emotion", "pixels")),
        *(("row 30", column) for column in ("Usage", "pixels")),
    ]


def test_nothing_is_collected_from_a_sound_file(
    csv_text: CsvText, dataset: ExpressionDataset
) -> None:
    kept, problems = survey(csv_text())
    assert (len(kept), problems) == (len(dataset), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"label,pixels\n3,{PIXELS}\n", "no column 'emotion' among label, pixels"),
        ("emotion,pixels\n", "a header but no rows"),
        (
            f"emotion,pixels\n7,{PIXELS}\n,\n",
            "no row or picture of it can be read; the first, row 1: emotion '7' is none of",
        ),
        (
            f"emotion,pixels,Usage\n7,{PIXELS}\n",
            "no row or picture of it can be read; the first, row 1: 2 columns, the header has 3",
        ),
    ],
)
def test_a_file_without_a_column_or_a_sound_row_is_refused_all_the_same(
    text: str, message: str
) -> None:
    with pytest.raises(DataError, match=f"^fer2013.csv: {message}") as caught:
        survey(text)
    assert "explore" not in str(caught.value)
