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
from mien.errors import DataError, MissingExtraError

CsvText = Callable[..., bytes]

PIXELS = " ".join(["100"] * 2304)


def read(data: bytes | str, *, gzipped: bool = False) -> ExpressionDataset:
    data = data.encode() if isinstance(data, str) else data
    return read_fer2013_csv(io.BytesIO(data), source="fer2013.csv", gzipped=gzipped)


def complaint(data: bytes | str, *, gzipped: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        read(data, gzipped=gzipped)
    message = str(caught.value)
    assert message.startswith("fer2013.csv: ")
    assert "\n" not in message
    return message.removeprefix("fer2013.csv: ")


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
