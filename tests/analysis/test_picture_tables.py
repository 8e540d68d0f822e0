import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mien.analysis.picture_tables import plan_rows
from mien.errors import MediaError


def png(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), level).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, values: Any, name: str = "image", rows_a_group: int = 50) -> Path:
    table = pa.table({"label": range(len(values)), name: values})
    pq.write_table(table, path, row_group_size=rows_a_group)
    return path


def test_every_row_is_in_one_job_under_its_number(tmp_path: Path) -> None:
    pictures = [png(level) for level in range(120)]
    path = write(tmp_path / "faces.parquet", pictures)

    jobs = list(plan_rows([str(path)]))
    read = [each for job in jobs for each in job.pictures()]

    assert read == [(f"{path}#{row}", picture) for row, picture in enumerate(pictures)]
    assert [job.count for job in jobs] == [32, 18, 32, 18, 20]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bytes", [b"a", None]),
        ("image", [{"bytes": b"a", "path": "a.png"}, {"bytes": None, "path": "b.png"}]),
        ("image", [{"path": "a.png", "bytes": b"a"}, None]),
    ],
)
def test_pictures_are_bytes_or_structs_with_bytes(
    tmp_path: Path, name: str, values: list[Any]
) -> None:
    path = write(tmp_path / "faces.parquet", values, name)

    (job,) = plan_rows([str(path)])

    assert [source for _, source in job.pictures()] == [b"a", b""]


def test_a_large_row_group_is_not_split_into_more_than_a_few_jobs(tmp_path: Path) -> None:
    path = write(tmp_path / "faces.parquet", [b"x"] * 2000, rows_a_group=2000)

    jobs = list(plan_rows([str(path)]))

    assert [job.count for job in jobs] == [125] * 16
    assert next(name for name, _ in jobs[3].pictures()) == f"{path}#375"


def test_a_folder_of_parts_and_a_pattern_stand_for_their_tables(tmp_path: Path) -> None:
    folder = tmp_path / "faces.parquet"
    folder.mkdir()
    paths = [str(write(folder / f"part-{i}.parquet", [b"x"])) for i in range(2)]

    assert [job.path for job in plan_rows([str(folder)])] == paths
    assert [job.path for job in plan_rows([f"{folder}/*.parquet"])] == paths


@pytest.mark.parametrize(
    ("values", "name"), [([b"a"], "picture"), (["a.png"], "image"), ([{"path": "a"}], "image")]
)
def test_a_table_without_pictures_is_told(tmp_path: Path, values: list[Any], name: str) -> None:
    path = write(tmp_path / "faces.parquet", values, name)

    with pytest.raises(MediaError, match=f"no column of pictures.*found label, {name}"):
        list(plan_rows([str(path)]))


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    path.write_text("no table")

    with pytest.raises(MediaError, match=r"faces\.parquet: not a Parquet file"):
        list(plan_rows([str(path)]))


def test_rows_that_are_damaged_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "faces.parquet", [bytes(range(256)) * 8] * 4)
    (job,) = plan_rows([str(path)])
    content = bytearray(path.read_bytes())
    content[40:200] = bytes(160)
    path.write_bytes(content)

    with pytest.raises(MediaError, match="rows 0 to 3 cannot be read"):
        list(job.pictures())
