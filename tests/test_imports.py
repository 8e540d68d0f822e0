"""The arrows between the rooms; the contracts are in pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_point_one_way() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_room_is_a_drawer_for_anything() -> None:
    drawers = {"utils.py", "util.py", "common.py", "helpers.py", "base.py", "misc.py"}

    assert not [path for path in (ROOT / "src").rglob("*.py") if path.name in drawers]
