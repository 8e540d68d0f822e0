"""What a user installs: the wheel's contents."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_model_recipes_and_types(names: set[str]) -> None:
    assert "mien/analysis/weights/mien-s.onnx" in names
    assert "mien/recipes/mien-s.toml" in names
    assert "mien/report/templates/base.html" in names
    assert "mien/py.typed" in names
    assert any(name.endswith("licenses/NOTICE") for name in names)


def test_every_module_is_in_the_wheel(names: set[str]) -> None:
    modules = {path.relative_to(ROOT / "src").as_posix() for path in ROOT.glob("src/**/*.py")}

    assert modules == {name for name in names if name.endswith(".py")}


def test_the_wheel_has_nothing_else(names: set[str]) -> None:
    suffixes = {Path(name).suffix for name in names if not name.startswith("mien-")}

    assert suffixes <= {".py", ".typed", ".toml", ".onnx", ".json", ".html", ".css", ".js"}
