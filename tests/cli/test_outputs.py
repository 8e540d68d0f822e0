import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mien.cli.app import app
from mien.cli.outputs import check_output, parse_output


@pytest.mark.parametrize(
    ("name", "suffixes", "reason"),
    [
        ("folder", (".html", ".htm"), "is a folder: name a .html or .htm file"),
        ("page.txt", (".html",), "name a .html file"),
        ("file", (), "is a file: name a folder"),
        ("file/page.html", (".html",), "file is a file: name a path in a folder"),
        ("file/deep/run", (), "file is a file: name a path in a folder"),
        ("data.npz", (".npz",), "is what is read"),
    ],
)
def test_what_cannot_be_written_is_told(
    tmp_path: Path, name: str, suffixes: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "data.npz").touch()

    with pytest.raises(typer.BadParameter, match=reason) as raised:
        check_output(
            tmp_path / name, option="--x", suffixes=suffixes, sources=[tmp_path / "data.npz"]
        )

    assert raised.value.param_hint == "--x"


def test_a_folder_that_cannot_be_written_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = os.access  # root may write anywhere

    def access(path: Path, mode: int) -> bool:
        return not (path == tmp_path and mode & os.W_OK) and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)

    with pytest.raises(typer.BadParameter, match="cannot be written to"):
        check_output(tmp_path / "page.html", suffixes=(".html",))


def test_what_can_be_written_is_right_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old.HTML").touch()

    check_output(None, suffixes=(".html",))
    check_output(tmp_path / "old.HTML", suffixes=(".html",))
    check_output(tmp_path / "new" / "deep" / "page.html", suffixes=(".html",))
    check_output(tmp_path / "runs" / "mine")

    assert [path.name for path in tmp_path.iterdir()] == ["old.HTML"]


def test_what_is_read_is_known_by_its_other_names(tmp_path: Path) -> None:
    """As GX01.MP4 is gx01.mp4 on macOS, a link is the same file here."""
    (tmp_path / "GX01.MP4").touch()
    (tmp_path / "gx02.mp4").hardlink_to(tmp_path / "GX01.MP4")

    with pytest.raises(typer.BadParameter, match="is what is read"):
        check_output(
            tmp_path / "gx02.mp4", suffixes=(".mp4",), sources=[Path("no"), tmp_path / "GX01.MP4"]
        )


def test_an_empty_path_is_told() -> None:
    with pytest.raises(typer.BadParameter, match="an empty path"):
        parse_output("")
    result = CliRunner().invoke(app, ["train", "residual", "--output", ""])
    assert result.exit_code == 2
    assert "an empty path" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "no-run", "--report", "folder"],
        ["evaluate", "no-run", "--output", "folder"],
        ["evaluate", "no-run", "--output", "same.html", "--report", "same.html"],
        ["compare", "no-run", "--output", "page.txt"],
        ["export", "no-run", "--output", "folder"],
        ["models", "plain", "--diagram", "net.png"],
        ["lr-range", "no-recipe", "-o", "folder"],
        ["train", "no-recipe", "-o", "file"],
        ["fine-tune", "no-data", "-o", "file"],
        ["tune", "no-recipe", "-o", "file"],
        ["sweep", "no-recipe", "--vary", "batch_size=32", "-o", "file"],
        ["data", "explore", "no-data", "-o", "folder"],
        ["data", "prepare", "no-data", "-o", "page.html"],
        ["data", "balance", "no-data", "-o", "even.csv"],
        ["data", "download", "-o", "file"],
    ],
)
def test_every_command_looks_before_it_works(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2, "what is read is missing too, and that would be another error"
    assert "name a" in " ".join(done.stderr.replace("│", " ").split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
