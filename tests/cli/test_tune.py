import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mien
from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset
from mien.errors import RecipeError

TINY = [
    word
    for value in ("progressive.epochs=0", "model.widths=[8]", "model.blocks=1", "batch_size=32")
    for word in ("--set", value)
]


@pytest.fixture
def command(faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    save_dataset(faces, tmp_path / "faces.npz")
    return ["tune", "residual", "--data", str(tmp_path / "faces.npz"), *TINY]


def test_the_best_recipe_is_one_to_train(command: list[str]) -> None:
    run = CliRunner()

    done = run.invoke(app, [*command, "--trials", "3", "--set", "epochs=1"])

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "runs/tune-residual/best.toml"
    assert "searching optimizer.lr=" in done.stderr
    assert "label_smoothing" in done.stderr
    assert done.stderr.count(" complete ") >= 3
    assert "Trial " not in done.stderr, "Optuna keeps quiet"
    trained = run.invoke(app, ["train", "runs/tune-residual/best.toml", *command[2:4]])
    assert trained.exit_code == 0, trained.output


def test_mistakes_are_told_before_anything_is_trained(command: list[str]) -> None:
    run = CliRunner()

    key = run.invoke(app, [*command, "--search", "optimizer.lrate=0.1..1"])
    assert isinstance(key.exception, RecipeError)
    assert "did you mean 'optimizer.lr'" in str(key.exception)
    split = run.invoke(app, [*command, "--set", "data.validation=PrivateTest"])
    assert isinstance(split.exception, RecipeError)
    storage = run.invoke(app, [*command, "--storage", "nonsense"])
    assert storage.exit_code == 2
    assert not list(Path().rglob("trial-*"))


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way on Windows")
def test_ctrl_c_says_how_to_go_on(
    command: list[str], tmp_path: Path, interrupt: Callable[..., str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", *command, "--trials", "2", "--set", "epochs=5000"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mien.__file__).parents[1])},
    )
    last = tmp_path / "runs/tune-residual/trial-0000/last.ckpt"
    told = interrupt(process, last.exists, limit=300, ends_within=120)

    assert process.returncode == 130
    assert "Traceback" not in told
    assert "go on with the same command: mien tune residual" in told
    table = (tmp_path / "runs/tune-residual/trials.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in table[1:]] == ["fail", "waiting"]
