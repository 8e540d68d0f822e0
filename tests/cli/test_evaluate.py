import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.data import save_dataset
from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.export import export


@pytest.fixture
def data(faces: ExpressionDataset, tmp_path: Path) -> Path:
    path = tmp_path / "faces.npz"
    save_dataset(faces, path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def evaluate(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_flipped_view_leaves_the_plain_figures_alone(data: Path, run: Path) -> None:
    evaluate(run, "--data", data)
    before = (run / "evaluation-PublicTest.json").read_bytes()

    shown = evaluate(run, "--data", data, "--tta", "flip")

    assert "flip views averaged" in shown
    assert (run / "evaluation-PublicTest.json").read_bytes() == before
    assert json.loads((run / "flip-evaluation-PublicTest.json").read_text())["view"] == "flip"
    assert export(run).metadata.metrics["PublicTest"]["view"] == "single"


def test_an_ensemble_goes_into_no_runs_folder(
    data: Path, run: Path, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    other = write_model(tmp_path / "happy.onnx", finds="happy")
    before = sorted(run.iterdir())

    shown = evaluate(run, other, "--data", data, "--json", "--output", tmp_path / "both.json")

    assert sorted(run.iterdir()) == before
    values = json.loads(shown)
    assert values == json.loads((tmp_path / "both.json").read_text())
    assert [member["model"] for member in values["members"]] == ["run", "happy.onnx"]


def test_a_report_is_written_where_it_is_wanted(data: Path, run: Path, tmp_path: Path) -> None:
    shown = evaluate(run, "--data", data, "--report", tmp_path / "report.html")

    assert "multiply-adds" in shown
    assert "ms a face" in shown
    assert "a gap of" in shown
    assert "<h2>Confusion</h2>" in (tmp_path / "report.html").read_text("utf-8")


def test_nothing_is_written_where_nothing_can_be_measured(data: Path, run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()
    result = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(data)])
    assert result.exit_code
    assert not list(run.iterdir())

    assert CliRunner().invoke(app, ["evaluate", "--data", str(data)]).exit_code == 2
    wrong = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(data), "--tta", "spin"])
    assert wrong.exit_code == 2
    nowhere = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(run / "none.npz")])
    assert isinstance(nowhere.exception, DataError)


def test_what_took_minutes_stays_where_the_same_is_measured_again(data: Path, run: Path) -> None:
    evaluate(run, "--data", data)
    kept = run / "evaluation-PublicTest.json"
    explanation = {"anything": 1}  # an evaluation's reader leaves it out
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "explanation": explanation}))

    again = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(data)])

    assert "kept explanation of an earlier measurement" in again.stderr
    assert json.loads(kept.read_text())["explanation"] == explanation


def test_figures_of_other_data_are_replaced_and_that_is_told(data: Path, run: Path) -> None:
    evaluate(run, "--data", data)
    kept = run / "evaluation-PublicTest.json"
    values = json.loads(kept.read_text())
    kept.write_text(json.dumps({**values, "data": "0" * 64, "explanation": {"anything": 1}}))

    again = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(data)])

    assert "replaced figures of other data, their explanation too" in again.stderr
    assert json.loads(kept.read_text())["explanation"] is None


def test_a_run_that_cannot_be_written_to_is_measured_all_the_same(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "figures.json"
    before = sorted(run.iterdir())
    allowed = os.access  # root may write anywhere

    def access(path: Path, mode: int) -> bool:
        return not (path == run and mode & os.W_OK) and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)

    result = CliRunner().invoke(
        app, ["evaluate", str(run), "--data", str(data), "--output", str(output)]
    )

    assert result.exit_code == 0, result.output
    assert f"{run} cannot be written to and keeps no figures" in result.stderr
    assert sorted(run.iterdir()) == before
    assert "accuracy" in result.stdout
    assert json.loads(output.read_text())["model"] == "run"


def test_what_was_asked_for_is_there_before_the_runs_folder_is_written(
    data: Path, run: Path, tmp_path: Path
) -> None:
    (run / "evaluation-PublicTest.json").mkdir()
    output = tmp_path / "figures.json"

    result = CliRunner().invoke(
        app, ["evaluate", str(run), "--data", str(data), "--output", str(output)]
    )

    assert isinstance(result.exception, OSError)
    assert "accuracy" in result.stdout
    assert output.is_file()


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_figures_are_kept_where_the_pipe_that_they_are_printed_to_closes(
    data: Path, run: Path, form: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "mien", "evaluate", str(run), "--data", str(data), *form]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    running.stdout.close()  # as head does, sooner or later

    _, error = running.communicate(timeout=120)

    assert "Traceback" not in error
    assert json.loads((run / "evaluation-PublicTest.json").read_text())["split"] == "PublicTest"


def test_what_is_read_is_not_replaced(data: Path, run: Path) -> None:
    manifest = data.with_suffix(".json")
    manifest.write_text("{}")

    result = CliRunner().invoke(
        app, ["evaluate", str(run), "--data", str(manifest), "-o", str(manifest)]
    )

    assert result.exit_code == 2
    assert "is what is read" in result.stderr
    assert manifest.read_text() == "{}"
