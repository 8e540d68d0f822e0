import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset
from mien.evaluation.calibration.model_calibration import CALIBRATION_FILE, read_calibration
from mien.evaluation.predictor import open_predictor
from mien.export import describe
from mien.metadata import BEST
from mien.training.checkpoint import load_checkpoint


@pytest.fixture
def data(faces: ExpressionDataset, tmp_path: Path) -> Path:
    path = tmp_path / "faces.npz"
    save_dataset(faces, path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def model(write_model: Callable[..., Path], tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


class Called:
    """What a call of the command gave."""

    def __init__(self, *arguments: str | Path) -> None:
        result = CliRunner().invoke(app, ["calibrate", *map(str, arguments)])
        self.code = result.exit_code
        self.out = result.stdout
        self.error = " ".join(result.stderr.replace("│", " ").split())
        self.exception = result.exception


def test_a_run_keeps_it_and_its_export_takes_it_along(data: Path, run: Path) -> None:
    called = Called(run, "--data", data, "--uncertain-below", "0.4")

    assert called.code == 0, called.exception
    kept = read_calibration(run / BEST)
    assert kept is not None
    assert f"temperature {kept.temperature:.3f}" in called.out
    before, after = (f"{100 * each.ece:.2f} %" for each in (kept.fit.before, kept.fit.after))
    (row,) = [line for line in called.out.splitlines() if "ECE, 15 bins" in line]
    assert row.index(before) < row.rindex(after)
    assert f"measured on the other: ECE {100 * kept.fit.cross_fitted_ece:.2f} %" in called.out
    assert f"uncertain below 0.4: {100 * kept.uncertain.share:.1f} % of the faces" in called.out
    assert called.error.endswith(f"written: {run / CALIBRATION_FILE}")
    facts = describe(load_checkpoint(run))
    assert (facts.temperature, facts.uncertain_below) == (kept.temperature, 0.4)


def test_an_onnx_file_is_copied(data: Path, model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()

    called = Called(model, "--data", data, "--output", tmp_path / "copy.onnx")

    assert called.code == 0, called.exception
    assert model.read_bytes() == before
    assert open_predictor(tmp_path / "copy.onnx").temperature != 1
    assert "no face is called uncertain" in called.out


def test_in_place_is_asked_for(data: Path, model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    refused = Called(model, "--data", data)
    assert refused.code == 2
    assert "name --output FILE.onnx for a calibrated copy, or --in-place" in refused.error
    both = Called(model, "--data", data, "--in-place", "--output", tmp_path / "copy.onnx")
    assert both.code == 2
    assert model.read_bytes() == before

    packaged = Called("mien-s", "--data", data, "--in-place")
    assert packaged.code == 2
    assert "the model in the package stays as it is" in packaged.error

    assert Called(model, "--data", data, "--in-place").code == 0

    assert open_predictor(model).temperature != 1


def test_a_run_goes_nowhere_else(data: Path, run: Path, tmp_path: Path) -> None:
    for wrong in (["--in-place"], ["--output", str(tmp_path / "copy.onnx")]):
        called = Called(run, "--data", data, *wrong)
        assert called.code == 2
        assert "'mien export' takes it along" in called.error
    assert not (run / CALIBRATION_FILE).exists()


def test_the_file_read_is_not_the_copy(data: Path, model: Path) -> None:
    called = Called(model, "--data", data, "--output", model)

    assert called.code == 2
    assert "is what is read" in called.error


def test_training_faces_are_refused(data: Path, run: Path) -> None:
    called = Called(run, "--data", data, "--split", "Training")

    assert called.code
    assert "Training faces were learned from" in str(called.exception)
    assert not (run / CALIBRATION_FILE).exists()

    called = Called(run, "--data", data, "--split", "Training", "--override-protocol")

    assert "AGAINST THE PROTOCOL: " in called.out


@pytest.mark.parametrize("limit", ["-0.1", "1.1", "some"])
def test_a_limit_is_a_probability(data: Path, run: Path, limit: str) -> None:
    assert Called(run, "--data", data, "--uncertain-below", limit).code == 2
