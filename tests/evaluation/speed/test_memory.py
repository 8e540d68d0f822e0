import shutil
from pathlib import Path

import pytest

from mien.errors import ModelError
from mien.evaluation.speed.memory import measure_memory
from mien.metadata import DEFAULT_MODEL


def test_neither_spaces_nor_modules_where_one_stands_are_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my models"
    folder.mkdir()
    shutil.copy(DEFAULT_MODEL, folder / "a model.onnx")
    for name in ("numpy.py", "mien.py"):
        (folder / name).write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)

    memory = measure_memory("a model.onnx")

    assert memory is None or 0 < memory.imports_mb < memory.model_mb


def test_a_failed_process_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx: a process .* failed"):
        measure_memory(broken)

    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(ModelError, match="no process could be started"):
        measure_memory(DEFAULT_MODEL)
