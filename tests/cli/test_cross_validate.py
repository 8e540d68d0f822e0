from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, RecipeError

TINY = ["--folds", "2", "--set", "model.kernel=linear", "--set", "model.mirrored=false"]


@pytest.fixture
def command(faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    save_dataset(faces, tmp_path / "faces.npz")
    return ["cross-validate", "--data", str(tmp_path / "faces.npz"), *TINY]


def test_folds_end_in_a_table_and_a_folder(command: list[str]) -> None:
    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    assert done.stdout.split() == ["runs/cross-validate-hog-logistic"]
    assert "2 folds" in done.stderr
    assert done.stderr.count(" ± ") == 1
    assert " 224 " in done.stderr, "all training faces"
    folder = Path("runs/cross-validate-hog-logistic")
    assert {path.name for path in folder.iterdir()} == {
        "fold-1",
        "fold-2",
        "cross-validation.json",
        "cross-validation.npz",
    }
    again = CliRunner().invoke(app, command)
    assert again.stdout == done.stdout
    other = CliRunner().invoke(app, [*command, "--set", "seed=3"]).exception
    assert isinstance(other, CheckpointError)
    assert "another recipe" in str(other)


def test_mistakes_are_told_before_anything_is_trained(command: list[str]) -> None:
    run = CliRunner()

    assert run.invoke(app, [*command, "--folds", "1"]).exit_code == 2
    assert run.invoke(app, [*command, "--output", "faces.npz"]).exit_code == 2
    assert run.invoke(app, [*command, "--device", "abacus"]).exit_code == 2
    error = run.invoke(app, [*command, "--set", "model.kernal=linear"]).exception
    assert isinstance(error, RecipeError)
    assert "did you mean 'model.kernel'" in str(error)
    assert not Path("runs").exists()
