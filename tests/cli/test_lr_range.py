from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset

TINY = [
    word
    for value in ("progressive.epochs=0", "model.widths=[8]", "model.blocks=1", "batch_size=32")
    for word in ("--set", value)
]


@pytest.fixture
def data(faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_dataset(faces, tmp_path / "faces.npz")
    return tmp_path / "faces.npz"


def test_the_suggestion_is_what_train_takes(data: Path) -> None:
    options = ["--data", str(data), "--lowest", "1e-4", "--steps", "30", *TINY]

    done = CliRunner().invoke(app, ["lr-range", "residual", *options])

    assert done.exit_code == 0, done.output
    assert "steepest descent" in done.stderr
    assert "a tenth" in done.stderr
    key, _, rate = done.stdout.strip().partition("=")
    assert key == "--set optimizer.lr"
    assert 1e-4 < float(rate) <= 1
    assert Path("lr-range.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "options", [["--steps", "2"], ["--lowest", "2"], ["--output", "curve.xyz"]]
)
def test_wrong_options_are_told(data: Path, options: list[str]) -> None:
    done = CliRunner().invoke(app, ["lr-range", "residual", "--data", str(data), *options])

    assert done.exit_code == 2
    assert not list(Path().glob("*.png"))
