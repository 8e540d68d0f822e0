from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset
from mien.errors import RecipeError

TINY = [
    word
    for value in ("epochs=1", "progressive.epochs=0", "model.widths=[8]", "model.blocks=1")
    for word in ("--set", value)
]


@pytest.fixture
def command(faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    save_dataset(faces, tmp_path / "faces.npz")
    return ["sweep", "residual", "--data", str(tmp_path / "faces.npz"), *TINY]


def test_a_sweep_ends_in_a_table_and_a_plot(command: list[str]) -> None:
    varied = [*command, "--vary", "batch_size=32,64", "--seeds", "0,1"]

    done = CliRunner().invoke(app, varied)

    assert done.exit_code == 0, done.output
    assert done.stdout.split() == ["runs/sweep-residual/sweep.csv", "runs/sweep-residual/sweep.png"]
    assert "4 runs" in done.stderr
    assert done.stderr.count(" ± ") == 2
    assert Path("runs/sweep-residual/batch_size=64,seed=1/run.json").is_file()
    assert all(Path(line).is_file() for line in done.stdout.split())


def test_mistakes_are_told_before_anything_is_trained(command: list[str]) -> None:
    run = CliRunner()

    for text in ("a", "-1", "0,4294967296"):
        seeds = run.invoke(app, [*command, "--vary", "batch_size=32", "--seeds", text])
        assert seeds.exit_code == 2
        assert "runs" not in seeds.stderr
    key = run.invoke(app, [*command, "--vary", "batchsize=32"])
    assert isinstance(key.exception, RecipeError)
    assert "did you mean 'batch_size'" in str(key.exception)
    assert run.invoke(app, command).exit_code == 2
    assert not Path("runs").exists()
