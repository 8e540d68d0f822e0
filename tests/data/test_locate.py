import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.data.locate import SourceFormat, locate_source, pick_csv
from mien.errors import DataError

WriteTree = Callable[[Path, dict[str, bytes]], Path]

CSV = b"emotion,pixels,Usage\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"fer2013.csv": CSV, "images.zip": b"PK", "fer2013new.csv": b"Usage"}, "fer2013.csv"),
        ({"fer2013.csv": CSV, "train/happy/a.png": b""}, "fer2013.csv"),
        ({"icml_face_data.csv": CSV, "train.csv": CSV, "test.csv": CSV}, "icml_face_data.csv"),
        ({"train.csv": CSV, "test.csv": CSV}, "train.csv"),
        ({"notes.csv": CSV, "train/happy/a.png": b""}, "."),
        ({"faces.zip": b"PK", "readme.txt": b""}, "faces.zip"),
        ({"fer2013/fer2013/fer2013.csv": CSV}, "fer2013/fer2013/fer2013.csv"),
    ],
)
def test_what_a_folder_holds(
    tmp_path: Path, write_tree: WriteTree, files: dict[str, bytes], found: str
) -> None:
    assert locate_source(write_tree(tmp_path, files)).path == tmp_path / found


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no fer2013.csv, no archive and no pictures in folders named angry, disgust"),
        ({"a.zip": b"PK", "b.zip": b"PK"}, "several archives, name one of them: a.zip, b.zip"),
        ({"a.csv": CSV, "b.csv": CSV}, "no fer2013.csv"),
        ({"train/happy/notes.txt": b""}, "no fer2013.csv"),
    ],
)
def test_a_folder_without_data(
    tmp_path: Path, write_tree: WriteTree, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        locate_source(write_tree(tmp_path, files))


def test_a_missing_path_and_a_strange_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        locate_source(tmp_path / "none")
    (tmp_path / "a.csv").write_bytes(b"\x7fELF\0\0\0")
    with pytest.raises(DataError, match="neither a CSV nor a zip"):
        locate_source(tmp_path / "a.csv")


def test_the_format_is_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_bytes(CSV)
    assert locate_source(tmp_path / "data.txt").format is SourceFormat.CSV


def test_only_a_clear_csv_is_picked() -> None:
    assert pick_csv(["x/b.csv", "a/fer2013.csv.gz"], known_only=True) == "a/fer2013.csv.gz"
    assert pick_csv(["x/b.csv", "test.csv"], known_only=False) == "x/b.csv"
    assert pick_csv(["x/b.csv"], known_only=True) is None
    assert pick_csv(["a.csv", "b.csv"], known_only=False) is None


def test_hidden_folders_do_not_stand_in_the_way(tmp_path: Path, write_tree: WriteTree) -> None:
    files = {"fer2013/fer2013.csv": CSV, ".git/config": b"", "__MACOSX/fer2013/._a.csv": b""}
    assert locate_source(write_tree(tmp_path, files)).path == tmp_path / "fer2013" / "fer2013.csv"


def test_a_folder_inside_that_cannot_be_read_is_named(
    tmp_path: Path, write_tree: WriteTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, {"happy/a.png": b"", "sad/b.png": b""})
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == tmp_path / "sad":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"sad: cannot be read: Permission denied"):
        locate_source(tmp_path)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, {"happy/a.png": b""})
    try:
        (tmp_path / "happy" / "b.png").symlink_to(tmp_path / "gone.png")
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(DataError, match=r"b\.png: cannot be read: No such file"):
        locate_source(tmp_path)
