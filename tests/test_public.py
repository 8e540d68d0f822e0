import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mien
from mien.data.synthetic import synthetic_faces
from mien.evaluation.calibration.calibrate import calibrate
from mien.evaluation.cross_validation import cross_validate
from mien.quantization import quantize
from mien.training.lr_range import lr_range_test
from mien.training.search_space import Choices
from mien.training.study import Search
from mien.training.sweep import Grid, sweep
from mien.training.tune import tune

SIZES = (Choices(key="batch_size", values=("8", "16")),)


def test_all_is_exact_and_every_name_is_there() -> None:
    assert sorted(mien.__all__) == sorted(set(mien.__all__))
    assert set(mien.__all__) == {*mien._HOMES, "__version__"}
    for name in mien.__all__:
        assert getattr(mien, name) is not None
    assert dir(mien) == sorted(mien.__all__)


def test_types_are_seen_from_where_the_names_come_from() -> None:
    tree = ast.parse(Path(mien.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name for node in block.body for alias in getattr(node, "names", ())}

    assert typed == set(mien._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(mien, "no_such_name")


def test_every_public_callable_is_documented() -> None:
    for name in mien.__all__:
        value = getattr(mien, name)
        if callable(value):
            assert inspect.getdoc(value), name


def modules_loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "onnxruntime", "onnx", "numpy", "PIL", "lightning", "matplotlib", "pyarrow"}

    assert not modules_loaded_by("import mien") & heavy


def test_reading_expressions_loads_no_torch() -> None:
    loaded = modules_loaded_by("import mien; mien.Analyzer; import mien.analysis.mtcnn")

    assert not loaded & {"torch", "lightning", "tensorflow", "cv2", "mtcnn"}


def test_a_name_without_its_extra_tells_what_to_install() -> None:
    code = """
import sys
sys.modules["torch"] = sys.modules["lightning"] = None
import mien
print(*dir(mien))
try:
    mien.train
except mien.MienError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, told = done.stdout.splitlines()

    assert "which is not installed: pip install 'mien[train]'" in told
    assert set(names.split()) == set(mien.__all__) - {"train", "load_recipe"}


def test_nothing_is_reported_to_the_runtimes_maker(tmp_path: Path) -> None:
    """Where ONNX Runtime reports, it first makes up an id for the machine and keeps it there."""
    # On CI it is silent of itself, and then this would show nothing.
    kept = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.defpath}
    code = "import mien; mien.Analyzer(); import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=kept
    )

    assert done.stdout == "1\n"
    assert not [path for path in tmp_path.rglob("*") if "microsoft" in path.name.lower()]


@pytest.mark.parametrize(
    "call",
    [
        mien.train,
        lambda recipe, data, folder: sweep(recipe, data, folder, Grid(vary=SIZES)),
        lambda recipe, data, folder: tune(recipe, data, folder, Search(space=SIZES)),
        cross_validate,
        lambda recipe, data, _: lr_range_test(recipe, data),
    ],
)
def test_what_trains_asks_for_what_was_read(
    call: Callable[[Any, Any, Path], Any], tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"'vgg': read it with mien\.load_recipe"):
        call("vgg", synthetic_faces(10), tmp_path / "new")
    with pytest.raises(TypeError, match=r"got a str: read FER2013 with mien\.load_fer2013"):
        call(mien.load_recipe("vgg"), "fer2013.csv", tmp_path / "new")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [mien.evaluate, calibrate, quantize])
def test_what_measures_asks_for_what_was_read(
    call: Callable[[Path, Any], Any], tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"got a str: read FER2013 with mien\.load_fer2013"):
        call(tmp_path, "fer2013.csv")
