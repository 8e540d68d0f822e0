import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.analysis.writers import CsvWriter, JsonWriter, open_writer, picture_columns
from mien.errors import MediaError
from mien.results import Face, FrameResult, Probabilities

CLASSES = ("happy", "sad")
FACE = Face(
    box_xyxy=(1.0, 2.0, 3.0, 4.0),
    score=0.5,
    landmarks=None,
    probabilities=Probabilities(CLASSES, (0.75, 0.25)),
)
RESULTS = [
    FrameResult(source='fête, "a".jpg', size_wh=(8, 9), faces=(FACE, FACE)),
    FrameResult(source="none.jpg", size_wh=(8, 9)),
]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_is_one_array(count: int) -> None:
    stream = io.StringIO()
    writer = JsonWriter(stream)
    for result in RESULTS[:count]:
        writer.write(result)
    writer.finish()
    assert json.loads(stream.getvalue()) == [result.to_dict() for result in RESULTS[:count]]


def test_csv_has_a_row_a_face_and_one_for_a_picture_without() -> None:
    stream = io.StringIO()
    writer = CsvWriter(stream, CLASSES)
    for result in RESULTS:
        writer.write(result)
    writer.finish()
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [row["source"] for row in rows] == ['fête, "a".jpg'] * 2 + ["none.jpg"]
    assert [row["face"] for row in rows] == ["0", "1", ""]
    assert (rows[0]["happy"], rows[2]["happy"]) == ("0.75", "")


def test_parquet_has_the_rows_of_csv_in_types_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    odd = FrameResult(source="caf\udce9.jpg", size_wh=(8, 9))
    with open_writer(path, CLASSES) as writer:
        for result in [*RESULTS, odd]:
            writer.write(result)
        writer.finish()

    table = pq.read_table(path)

    records = [row for result in RESULTS for row in result.to_records()]
    missing = dict.fromkeys(table.column_names)
    assert table.to_pylist()[:3] == [{**missing, **row} for row in records]
    assert table["source"].to_pylist()[3] == "caf?.jpg"
    assert table.schema.field("face").type == pa.int64()
    assert table.schema.field("sad").type == pa.float64()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_without_a_row_has_its_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"faces{suffix}"
    with open_writer(path, CLASSES) as writer:
        writer.finish()

    columns = pq.read_schema(path).names if suffix == ".parquet" else path.read_text().split(",")
    assert [name.strip() for name in columns] == list(picture_columns(CLASSES))


def test_a_file_appears_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.json"
    with pytest.raises(AttributeError), open_writer(path, CLASSES) as writer:
        writer.write(None)  # type: ignore[arg-type]
    assert list(path.parent.iterdir()) == []
    with open_writer(path, CLASSES) as writer:
        writer.finish()
    assert path.read_text() == "[]\n"


def test_other_suffixes_and_places_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match=r"\.csv or \.parquet"),
        open_writer(tmp_path / "a.xml", ()),
    ):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MediaError, match="cannot be written"),
        open_writer(tmp_path / "file" / "a.csv", ()),
    ):
        pass


def test_only_its_own_failures_are_blamed_on_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    with pytest.raises(BrokenPipeError), open_writer(path, CLASSES):
        raise BrokenPipeError(32, "Broken pipe")  # as by a writer to standard output beside it
    assert list(tmp_path.iterdir()) == []

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JsonWriter, "write", full_disk)
    with (
        pytest.raises(MediaError, match=r"out\.json: cannot be written: No space"),
        open_writer(path, CLASSES) as writer,
    ):
        writer.write(RESULTS[0])
    assert list(tmp_path.iterdir()) == []
