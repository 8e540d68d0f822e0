import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.data.dataset import ExpressionDataset
from mien.evaluation import evaluate


@pytest.fixture
def measured(
    tmp_path: Path, faces: ExpressionDataset, write_model: Callable[..., Path]
) -> tuple[str, str]:
    paths = []
    for name in ("happy", "angry"):
        model = write_model(tmp_path / f"{name}.onnx", finds=name)
        paths.append(tmp_path / f"{name}.json")
        evaluate(model, faces, "PublicTest").write(paths[-1])
    return str(paths[0]), str(paths[1])


def test_the_table_is_printed_and_the_page_written(
    measured: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["compare", *measured])

    assert result.exit_code == 0, result.output
    for text in ("PublicTest", "happy.onnx", "angry.onnx", "macro-F1", "multiply-adds"):
        assert text in result.stdout
    assert "2 models compared" in (tmp_path / "comparison.html").read_text("utf-8")


def test_a_run_that_was_not_measured_is_one_line_with_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mien", "compare", str(tmp_path), "--split", "PrivateTest"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == (
        f"mien: {tmp_path} has not been measured on PrivateTest: "
        f"run 'mien evaluate {tmp_path} --split PrivateTest' first\n"
    )
    assert not list(tmp_path.iterdir())


def test_comparing_loads_no_torch(measured: tuple[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from mien.evaluation import compare; import mien.report.comparison as page; "
        f"page.write_comparison_page({str(tmp_path / 'out.html')!r}, compare({measured!r})); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "False\n", done.stderr
