import os
from pathlib import Path
from typing import NoReturn

import pytest

import mien.cache
from mien.cache import atomic_write


def test_an_error_names_the_file_that_was_wanted(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()

    with pytest.raises(OSError) as raised, atomic_write(tmp_path / "page.html") as temporary:  # noqa: PT011
        temporary.write_text("whole")

    assert raised.value.filename == str(tmp_path / "page.html")
    assert str(raised.value).endswith(f"'{tmp_path / 'page.html'}'")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_so_does_one_of_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(PermissionError) as raised, atomic_write(tmp_path / "page.html"):
        pass

    assert raised.value.filename == str(tmp_path / "page.html")


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 251}.csv"

    with atomic_write(path) as temporary:
        temporary.write_text("whole")

    assert path.read_text() == "whole"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no Unix modes")
def test_a_file_may_be_read_by_whom_a_plain_one_may(tmp_path: Path) -> None:
    (tmp_path / "plain.csv").touch()

    with atomic_write(tmp_path / "table.csv") as temporary:
        temporary.write_text("whole")

    assert (tmp_path / "table.csv").stat().st_mode == (tmp_path / "plain.csv").stat().st_mode


def test_no_modes_are_needed_and_the_processs_own_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk of Windows refuses modes, and all threads share the process's."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(1, "Operation not permitted")

    for owner, name in ((Path, "chmod"), (os, "chmod"), (os, "umask")):
        monkeypatch.setattr(owner, name, refuse)

    with atomic_write(tmp_path / "table.csv") as temporary:
        temporary.write_text("whole")

    assert (tmp_path / "table.csv").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("held", [2, 9])
def test_a_file_that_is_held_open_is_waited_for(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "table.csv", Path.replace
    path.write_text("before")
    attempts = []

    def as_on_windows(self: Path, target: Path) -> Path:
        attempts.append(target)
        if len(attempts) <= held:
            raise PermissionError(13, "Access is denied")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", as_on_windows)
    monkeypatch.setattr(mien.cache, "_WAITS_S", (0.01, 0.01, 0.01))
    if held == 2:
        with atomic_write(path) as temporary:
            temporary.write_text("after")
    else:
        with pytest.raises(PermissionError, match="table"), atomic_write(path):
            pass

    assert path.read_text() == ("after" if held == 2 else "before")
    assert list(tmp_path.iterdir()) == [path]
