import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from mien.cli.app import app
from mien.cli.train import _name_main_module
from mien.data import save_dataset
from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import CheckpointError, RecipeError
from mien.expressions import FERPLUS_COLUMNS
from mien.training import load_recipe

#: A model that trains in a second.
TINY = ("epochs=1", "progressive.epochs=0", "model.widths=[8, 16]", "model.blocks=1")


def settings(*values: str) -> list[str]:
    return [word for value in (*TINY, *values) for word in ("--set", value)]


@pytest.fixture
def data(faces: ExpressionDataset, tmp_path: Path) -> Path:
    path = tmp_path / "faces.npz"
    save_dataset(faces, path)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIEN_FER2013", raising=False)


def test_train_evaluate_export_is_the_whole_way(data: Path, tmp_path: Path) -> None:
    run = CliRunner()
    trained = run.invoke(app, ["train", "residual", "--data", str(data), *settings()])
    assert trained.exit_code == 0, trained.output
    folder = trained.stdout.strip().splitlines()[-1]
    assert folder.startswith("runs/residual-")
    assert "epoch   1/1" in trained.stderr

    measured = run.invoke(app, ["evaluate", folder, "--data", str(data), "--json"])
    assert measured.exit_code == 0, measured.output
    accuracy = json.loads(measured.stdout)["accuracy"]

    exported = run.invoke(app, ["export", folder, "--output", "tiny.onnx"])
    assert exported.exit_code == 0, exported.output
    assert "parity at batch 1:" in exported.stdout
    assert "parity at batch 64:" in exported.stdout
    metadata = {item.key: item.value for item in onnx.load("tiny.onnx").metadata_props}
    assert json.loads(metadata["mien.metrics"])["PublicTest"]["accuracy"] == accuracy

    again = run.invoke(app, ["evaluate", "tiny.onnx", "--data", str(data), "--json"])
    assert json.loads(again.stdout)["accuracy"] == pytest.approx(accuracy)


def test_a_loss_that_is_no_number_is_told(data: Path) -> None:
    wild = ["train", "residual", "--data", str(data), *settings("optimizer.lr=1e30")]

    trained = CliRunner().invoke(app, wild)

    assert trained.exit_code == 0, trained.output
    assert "its loss is no number from epoch 1 on" in trained.stderr


def test_a_classical_baseline_goes_the_same_way(data: Path, tmp_path: Path) -> None:
    run = CliRunner()
    command = ["train", "pca-knn", "--data", str(data), "--set", "model.components=20"]
    trained = run.invoke(app, command)
    assert trained.exit_code == 0, trained.output
    folder = trained.stdout.strip().splitlines()[-1]
    assert folder.startswith("runs/pca-knn-")
    assert "epoch   1/1" in trained.stderr
    logged = json.loads((tmp_path / folder / "run.json").read_text())["best_accuracy"]

    measured = run.invoke(app, ["evaluate", folder, "--data", str(data), "--json"])
    assert json.loads(measured.stdout)["accuracy"] == pytest.approx(logged)
    assert (tmp_path / folder / "evaluation-PublicTest.json").is_file()

    resumed = run.invoke(app, [*command, "--resume"])
    assert resumed.stdout.strip().splitlines()[-1] == folder

    exported = run.invoke(app, ["export", folder])
    assert isinstance(exported.exception, CheckpointError)
    assert "cannot be exported to ONNX" in str(exported.exception)


def test_evaluation_tables_are_for_people(data: Path, trained: Path) -> None:
    run = shutil.copytree(trained, "run")
    result = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(data)])

    assert "accuracy" in result.stdout
    assert "macro-F1" in result.stdout
    for name in ("angry", "surprise", "confusion"):
        assert name in result.stdout


def test_a_run_that_is_there_is_not_overwritten(data: Path) -> None:
    command = ["train", "residual", "--data", str(data), "--output", "run", *settings()]
    assert CliRunner().invoke(app, command).exit_code == 0

    again = CliRunner().invoke(app, command)

    assert isinstance(again.exception, CheckpointError)
    assert "--resume" in str(again.exception)
    assert again.stderr == "", "told before the data is read"


def test_a_folders_name_is_no_markup(data: Path) -> None:
    command = ["train", "residual", "--data", str(data), "-o", "runs/[/bold]z", *settings()]

    done = CliRunner().invoke(app, command, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    assert done.stdout == "runs/[/bold]z\n"
    assert " → runs/[/bold]z\n" in done.stderr


def test_resume_takes_the_newest_run_of_the_recipe(data: Path) -> None:
    command = ["train", "residual", "--data", str(data), *settings()]
    nothing = CliRunner().invoke(app, [*command, "--resume"])
    assert "no run of residual" in str(nothing.exception)

    folder = CliRunner().invoke(app, command).stdout.strip()
    resumed = CliRunner().invoke(app, [*command, "--resume"])

    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout.strip() == folder


def test_mistakes_are_told(data: Path) -> None:
    unknown = CliRunner().invoke(app, ["train", "mien-z", "--data", str(data)])
    assert isinstance(unknown.exception, RecipeError)
    device = CliRunner().invoke(app, ["train", "residual", "--device", "tpu"])
    assert device.exit_code == 2
    no_data = CliRunner().invoke(app, ["train", "residual"])
    assert "MIEN_FER2013" in str(no_data.exception)
    assert not Path("runs").exists()


def test_a_missing_extra_names_the_line_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; from mien.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "residual"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == (
        "mien: this needs torch, which is not installed: pip install 'mien[train]'\n"
    )


def test_other_processes_are_started_from_windows_program_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``mien.exe`` is a zip, whose main module is called ``__main__``."""
    from lightning.fabric.strategies.launchers.subprocess_script import _basic_subprocess_cmd

    zipped = ModuleType("__main__")
    zipped.__spec__ = ModuleSpec("__main__", None)
    monkeypatch.setitem(sys.modules, "__main__", zipped)
    monkeypatch.setattr(sys, "argv", ["mien.exe", "--version"])

    _name_main_module()

    command = _basic_subprocess_cmd()
    assert command[1:3] == ["-m", "mien.__main__"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("mien ")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way on Windows")
def test_ctrl_c_says_how_to_go_on(
    data: Path, tmp_path: Path, interrupt: Callable[..., str]
) -> None:
    command = ["train", "residual", "--data", str(data), "--output", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", *command, *settings("epochs=5000", "batch_size=32")],
        stderr=subprocess.PIPE,
        text=True,
    )
    last = tmp_path / "run" / "last.ckpt"
    told = interrupt(process, last.exists, limit=120)

    assert process.returncode == 130
    assert "Traceback" not in told
    (command_line,) = [line for line in told.splitlines() if "mien train" in line]
    again = shlex.split(command_line.partition("go on with: mien ")[2])
    again[again.index("epochs=5000")] = "epochs=4999"
    refused = CliRunner().invoke(app, again)
    assert "begun with another recipe" in str(refused.exception), "all but the length fits"
    assert np.isfinite(json.loads((tmp_path / "run" / "run.json").read_text())["best_accuracy"])


@pytest.fixture
def own_faces(tmp_path: Path) -> Path:
    """A folder of two classes of one's own, without splits, and of other faces than ``data``."""
    faces = synthetic_faces(280, seed=9)
    for name, label in (("Laughing", 3), ("asleep", 6)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in np.flatnonzero(faces.labels == label):
            Image.fromarray(faces.images[number]).save(tmp_path / "own" / name / f"{number}.png")
    return tmp_path / "own"


def test_fine_tuning_reads_ones_own_classes(own_faces: Path, tmp_path: Path) -> None:
    run = CliRunner()
    settings = ["--set", "epochs=2", "--set", "frozen=true", "--set", "augment.flip=0"]
    trained = run.invoke(
        app,
        ["fine-tune", str(own_faces), "--output", "runs/mine", *settings],
        catch_exceptions=False,
    )
    assert trained.exit_code == 0, trained.output
    assert "fine-tune: mien-s trained further" in trained.stderr
    summary = json.loads(Path("runs/mine/run.json").read_text())
    assert summary["data"]["counts"]["PublicTest"] == {"Laughing": 8, "asleep": 8}

    exported = run.invoke(app, ["export", "runs/mine", "--output", "mine.onnx"])
    assert exported.exit_code == 0, exported.output
    picture = next((own_faces / "asleep").glob("*.png"))
    read = run.invoke(
        app, ["analyze", str(picture), "--model", "mine.onnx", "--whole-image", "--json"]
    )
    assert read.exit_code == 0, read.output
    assert set(json.loads(read.stdout)[0]["faces"][0]["probabilities"]) == {"Laughing", "asleep"}


def test_fine_tuning_starts_from_a_run(own_faces: Path, data: Path) -> None:
    run = CliRunner()
    begun = run.invoke(
        app, ["train", "residual", "--data", str(data), "--output", "runs/first", *settings()]
    )
    assert begun.exit_code == 0, begun.output

    trained = run.invoke(
        app,
        [
            *("fine-tune", str(own_faces), "--from", "runs/first", "--output", "runs/second"),
            *("--set", "epochs=1"),
        ],
    )

    assert trained.exit_code == 0, trained.output
    assert (
        load_recipe("runs/second/recipe.toml").model == load_recipe("runs/first/recipe.toml").model
    )


def test_votes_are_read_where_a_recipe_asks_for_them(
    fer2013_csv: Callable[..., bytes], tmp_path: Path
) -> None:
    voted = synthetic_faces(140, seed=4, votes=True)
    assert voted.votes is not None
    (tmp_path / "fer2013.csv").write_bytes(fer2013_csv(voted))
    rows = [",".join(("Usage", "Image name", *FERPLUS_COLUMNS))]
    rows += [
        ",".join((SPLITS[code], "", *map(str, votes)))
        for code, votes in zip(voted.split_codes, voted.votes, strict=True)
    ]
    (tmp_path / "fer2013new.csv").write_text("\n".join(rows) + "\n")
    command = ["train", "residual", "--data", "fer2013.csv", *settings("data.votes=0.3")]

    trained = CliRunner().invoke(app, [*command, "--output", "runs/voted"])
    assert trained.exit_code == 0, trained.output
    Path("fer2013new.csv").rename("votes.csv")
    refused = CliRunner().invoke(app, [*command, "--output", "runs/none"])
    assert "no FER+ votes" in str(refused.exception)
    named = CliRunner().invoke(app, [*command, "--output", "runs/named", "--votes", "votes.csv"])
    assert named.exit_code == 0, named.output
