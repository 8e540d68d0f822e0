import csv
from pathlib import Path

import pytest
from PIL import Image

from mien.training.history import COLUMNS, CURVES, METRICS, History


def metrics(accuracy: float) -> dict[str, float]:
    values = dict.fromkeys(COLUMNS[1:], 0.5)
    return {**values, "val_accuracy": accuracy}


def test_rows_are_on_disk_as_they_come_and_read_back(tmp_path: Path) -> None:
    history = History(tmp_path, keep=False)
    for epoch, accuracy in enumerate((0.25, 0.75, 0.75), start=1):
        history.append(epoch, metrics(accuracy))

    with (tmp_path / METRICS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    again = History(tmp_path, keep=True)
    assert again.rows == history.rows
    best = again.best()
    assert best is not None
    assert best["epoch"] == 2, "the first of equals is the one that was kept"


def test_an_epoch_that_was_never_checkpointed_is_forgotten(tmp_path: Path) -> None:
    history = History(tmp_path, keep=False)
    for epoch in (1, 2, 3):
        history.append(epoch, metrics(epoch / 10))

    history.truncate(2)
    history.append(3, metrics(0.9))

    assert [row["val_accuracy"] for row in History(tmp_path, keep=True).rows] == [0.1, 0.2, 0.9]


def test_a_table_that_is_held_open_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def held(self: Path, target: Path) -> Path:
        raise PermissionError(13, f"{target.name} is open in another program")

    history = History(tmp_path, keep=False)
    history.append(1, metrics(0.25))
    with monkeypatch.context() as windows:
        windows.setattr(Path, "replace", held)
        history.append(2, metrics(0.5))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert len(History(tmp_path, keep=True).rows) == 1

    history.write()

    assert History(tmp_path, keep=True).rows == history.rows


def test_a_new_run_starts_empty(tmp_path: Path) -> None:
    History(tmp_path, keep=False).append(1, metrics(0.5))

    assert History(tmp_path, keep=False).rows == []


def test_curves_are_a_picture(tmp_path: Path) -> None:
    history = History(tmp_path, keep=False)
    history.draw()
    assert not (tmp_path / CURVES).exists(), "nothing to draw yet"
    history.append(1, metrics(0.5))
    history.append(2, metrics(0.6))
    history.draw()

    with Image.open(tmp_path / CURVES) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
