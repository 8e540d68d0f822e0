import csv
import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.expressions import EXPRESSIONS, FERPLUS_COLUMNS

CsvText = Callable[..., bytes]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own, and none the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MIEN_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def dataset() -> ExpressionDataset:
    return synthetic_faces(40, seed=1, votes=True)


@pytest.fixture(scope="session")
def csv_text(dataset: ExpressionDataset, fer2013_csv: CsvText) -> CsvText:
    """The data set as FER2013's CSV."""
    return functools.partial(fer2013_csv, dataset)


@pytest.fixture(scope="session")
def votes_text() -> Callable[[ExpressionDataset], str]:
    """FER+ votes as ``fer2013new.csv``, with an image name missing as in the real one."""

    def write(faces: ExpressionDataset) -> str:
        assert faces.votes is not None
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["Usage", "Image name", *FERPLUS_COLUMNS])
        for row, (code, votes) in enumerate(zip(faces.split_codes, faces.votes, strict=True)):
            writer.writerow([SPLITS[code], f"fer{row:07}.png" if row != 2 else "", *votes])
        return out.getvalue()

    return write


@pytest.fixture(scope="session")
def kaggle_images(dataset: ExpressionDataset) -> dict[str, bytes]:
    """The data set as Kaggle's folder, lossless: path to the file's bytes."""
    files = {}
    rows = zip(dataset.images, dataset.labels, dataset.split_codes, strict=True)
    for number, (image, label, code) in enumerate(rows):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        top = "train" if code == 0 else "test"
        files[f"{top}/{EXPRESSIONS[label]}/{SPLITS[code]}_{number:08}.png"] = out.getvalue()
    return files


@pytest.fixture(scope="session")
def write_tree() -> Callable[[Path, dict[str, bytes]], Path]:
    def write(folder: Path, files: dict[str, bytes]) -> Path:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    return write


@pytest.fixture(scope="session")
def assert_same() -> Callable[[ExpressionDataset, ExpressionDataset], None]:
    """Two data sets hold the same faces, whatever their order and names."""

    def check(found: ExpressionDataset, expected: ExpressionDataset) -> None:
        assert len(found) == len(expected)
        for first, second in zip(_rows(found), _rows(expected), strict=True):
            assert first == second

    def _rows(faces: ExpressionDataset) -> list[tuple[int, int, bytes]]:
        return sorted(
            (int(label), int(code), np.ascontiguousarray(image).tobytes())
            for image, label, code in zip(
                faces.images, faces.labels, faces.split_codes, strict=True
            )
        )

    return check
