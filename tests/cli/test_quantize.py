from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mien.analysis.classifier import ExpressionClassifier
from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset


@pytest.fixture
def data(faces: ExpressionDataset, tmp_path: Path) -> Path:
    path = tmp_path / "faces.npz"
    save_dataset(faces, path)
    return path


@pytest.fixture
def model(write_model: Callable[..., Path], tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["quantize", *map(str, arguments)])


def test_the_copy_lies_beside_the_model_and_both_are_compared(data: Path, model: Path) -> None:
    before = model.read_bytes()

    called = _call(model, "--data", data, "--faces", "50", "--most-lost", "100")

    assert called.exit_code == 0, called.exception
    copy = model.with_name("tiny-int8.onnx")
    assert called.stderr.endswith(f"written: {copy}\n")
    assert model.read_bytes() == before
    parity = ExpressionClassifier(copy).metadata.data["quantization"]["parity"]
    rows = {line.split("│")[1].strip(): line for line in called.stdout.splitlines() if "│" in line}
    for form in ("before", "after"):
        assert f"{100 * parity[form]['accuracy']:.2f} %" in rows["accuracy"]
    assert f"{copy.stat().st_size / 1e6:.2f} MB" in rows["file"]
    assert "× as fast" in rows["one face, one thread"]
    assert "faces/s" in rows["64 at once, one thread"]
    assert f"{100 * parity['agreement']:.1f} % of {parity['count']} PublicTest" in called.stdout
    assert "points of accuracy" in called.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "tiny.onnx"], "is what is read"),
        (["--output", "tiny.ort"], "name a .onnx file"),
        (["--faces", "0"], "greater than or equal to 1"),
    ],
)
def test_a_wrong_call_is_told_before_any_work(
    arguments: list[str], words: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)

    called = _call(model, "--data", "nowhere.csv", *arguments)

    assert called.exit_code == 2
    assert words in " ".join(called.stderr.replace("│", " ").split())
    assert not model.with_name("tiny-int8.onnx").exists()
