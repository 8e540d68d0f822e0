import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.serving.metrics import SHARED_FOLDER, forget_dead_workers


def test_what_a_dead_worker_had_waiting_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = tmp_path / f"gauge_livesum_{dead.pid}.db"
    kept = {tmp_path / f"gauge_livesum_{os.getpid()}.db", tmp_path / f"counter_{dead.pid}.db"}
    for file in (gone, *kept):
        file.touch()

    forget_dead_workers()

    assert set(tmp_path.iterdir()) == kept
