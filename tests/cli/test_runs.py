import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mien.cli.app import app
from mien.cli.runs import command_to_go_on, counted, open_inputs
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset
from mien.errors import DataError, RecipeError


def test_one_is_singular() -> None:
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_a_command_is_given_back_as_a_shell_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "argv", ["/bin/mien", "train", "my recipe.toml"])

    assert command_to_go_on() == "mien train 'my recipe.toml'"
    assert command_to_go_on("--resume") == "mien train 'my recipe.toml' --resume"


def test_a_command_is_given_back_as_windows_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "argv", ["mien.exe", "train", r"C:\my faces\own.toml", "--resume"])

    assert command_to_go_on() == r'mien train "C:\my faces\own.toml" --resume'


def test_a_command_is_given_back_without_what_it_cannot_have_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for annotate in (["--annotate", "a.mp4"], ["--annotate=a.mp4"]):
        monkeypatch.setattr(sys, "argv", ["mien", "video", *annotate, "clip.mp4"])

        given = command_to_go_on("--resume", without="--annotate")

        assert given == "mien video clip.mp4 --resume"


def test_classes_of_ones_own_are_opened_for_every_training(
    faces: ExpressionDataset, tmp_path: Path
) -> None:
    for name, label in (("happy", 3), ("joy", 5)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in np.flatnonzero(faces.labels == label)[:3]:
            Image.fromarray(faces.images[number]).save(tmp_path / "own" / name / f"{number}.png")

    _, dataset = open_inputs("residual", None, tmp_path / "own", device="cpu", own_classes=True)

    assert dataset.classes == ("happy", "joy")


@pytest.mark.parametrize(
    "call",
    [["sweep", "--vary", "data.votes=0,0.2"], ["tune", "--search", "data.votes=0|0.2"]],
    ids=["sweep", "tune"],
)
def test_votes_are_looked_for_where_what_is_varied_asks_for_them(
    call: list[str], faces: ExpressionDataset, tmp_path: Path
) -> None:
    save_dataset(faces, tmp_path / "faces.npz")
    options = ["--data", str(tmp_path / "faces.npz"), "--output", str(tmp_path / "out")]

    done = CliRunner().invoke(app, [call[0], "residual", *call[1:], *options])

    assert isinstance(done.exception, DataError)
    assert "votes" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "tune", "sweep", "lr-range"])
def test_every_training_takes_votes_and_classes(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output

    assert "--votes" in shown
    assert "--own-classes" in shown


def test_who_teaches_is_looked_for_before_the_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"residual-taught\.onnx, .* not found: make them first"):
        open_inputs("mien-s", None, tmp_path / "no-data", device="cpu")
