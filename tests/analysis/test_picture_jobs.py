from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.analysis.picture_jobs import (
    PictureFiles,
    PictureOptions,
    plan_pictures,
    read_job,
    read_pictures,
)
from mien.analysis.processes import WorkStoppedError
from mien.errors import MediaError


@pytest.fixture
def folder(tmp_path: Path, astronaut_rgb: npt.NDArray[np.uint8]) -> Path:
    """Forty small pictures: a face in every tenth, one damaged."""
    photos = tmp_path / "photos"
    photos.mkdir()
    face = Image.fromarray(astronaut_rgb[:200, 120:320])
    for i in range(40):
        image = face if i % 10 == 0 else Image.new("RGB", (40, 40))
        image.save(photos / f"{i:02d}.png")
    (photos / "07.png").write_bytes(b"damaged")
    return photos


def test_any_number_of_workers_gives_the_same(
    folder: Path, tiny_model: Path, analyzer: Analyzer
) -> None:
    jobs = plan_pictures([str(folder)])
    options = PictureOptions(model=tiny_model, threads=1)

    one = list(read_pictures(jobs, options))
    two = list(read_pictures(jobs, options, workers=2))

    assert [job.count for job in jobs] == [32, 8]
    assert one == two
    results = [result for read in one for result in read.results]
    paths = [path for path in sorted(folder.iterdir()) if path.name != "07.png"]
    assert results == list(analyzer.analyze_many(paths))
    assert sum(len(result.faces) for result in results) == 4
    (failure,) = one[0].failures
    assert failure.startswith(f"{folder / '07.png'}: ")


def test_rows_of_a_table_are_read_as_their_files_are(
    folder: Path, tmp_path: Path, analyzer: Analyzer
) -> None:
    path = tmp_path / "faces.parquet"
    files = sorted(folder.iterdir())[6:11]
    pq.write_table(pa.table({"image": [file.read_bytes() for file in files]}), path)

    (job,) = plan_pictures([str(path)])
    read = read_job(job, analyzer, whole_image=False)

    expected = list(analyzer.analyze_many([file for file in files if file.name != "07.png"]))
    assert [result.faces for result in read.results] == [result.faces for result in expected]
    assert [result.source for result in read.results] == [f"{path}#{row}" for row in (0, 2, 3, 4)]
    (failure,) = read.failures
    assert failure.startswith(f"{path}#1: ")


def test_a_stopped_job_gives_nothing(folder: Path, analyzer: Analyzer) -> None:
    job = PictureFiles(paths=(str(folder / "01.png"),))

    with pytest.raises(WorkStoppedError):
        read_job(job, analyzer, whole_image=False, should_stop=lambda: True)


def test_an_empty_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)

    with pytest.raises(MediaError, match="no picture"):
        plan_pictures([str(path)])
