import os
from pathlib import Path

import pytest

from mien.folders import expand_home, is_hidden, is_same_file, walk_files


@pytest.fixture
def unnumbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that numbers no files, as Google Drive's and WebDAV's on Windows."""
    numbered = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        status = list(numbered(self, follow_symlinks=follow_symlinks))
        status[1] = 0
        return os.stat_result(status)

    monkeypatch.setattr(Path, "stat", stat)


def test_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    for path in ("b/a.png", ".Trashes/a.png", "b/__MACOSX/a.png", "b/.a.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    asked: list[str] = []

    def takes(path: str) -> bool:
        asked.append(path)
        return not is_hidden(path)

    assert walk_files(tmp_path, takes) == ["b/a.png"]
    assert sorted(asked) == ["b/.a.png", "b/a.png"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "clip.mp4").touch()
    (inside / "link").symlink_to(outside, target_is_directory=True)
    (inside / "loop").symlink_to(inside, target_is_directory=True)

    assert walk_files(inside, lambda _: True) == ["link/clip.mp4"]


@pytest.mark.usefixtures("unnumbered")
def test_folders_without_numbers_are_looked_into_once(tmp_path: Path) -> None:
    for path in ("a/one.png", "b/two.png"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)

    assert walk_files(tmp_path, lambda _: True) == ["a/one.png", "b/two.png"]


def test_a_file_is_the_same_by_another_name(tmp_path: Path) -> None:
    one, other, linked = (tmp_path / name for name in ("one", "other", "linked"))
    one.touch()
    other.touch()
    linked.hardlink_to(one)

    assert is_same_file(one, linked)
    assert is_same_file(tmp_path / "new", tmp_path / "sub" / ".." / "new")
    assert not is_same_file(one, other)
    assert not is_same_file(one, tmp_path / "missing")


@pytest.mark.usefixtures("unnumbered")
def test_files_without_numbers_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    (tmp_path / "other").touch()

    assert not is_same_file(tmp_path / "one", tmp_path / "other")
    assert is_same_file(tmp_path / "one", tmp_path / "one")


def test_a_home_is_expanded_where_one_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))

    assert expand_home("~/faces.csv") == tmp_path / "faces.csv"
    for path in ("faces.csv", "no~body/x"):
        assert expand_home(Path(path)) == Path(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows makes up homes of users that it has not")
def test_what_is_no_home_is_a_name() -> None:
    for path in ("~$faces.csv", "~nobody-here/x"):
        assert expand_home(path) == Path(path)
