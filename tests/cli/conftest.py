import signal
import subprocess
import time
from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrap no message, however long the paths of the temporary folder in it are."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def interrupt() -> Callable[..., str]:
    """Presses Ctrl-C in a program once it has come so far; returns what it told on stderr."""

    def press(
        process: subprocess.Popen[str],
        come_so_far: Callable[[], bool],
        *,
        limit: int,
        ends_within: int = 60,
    ) -> str:
        try:
            deadline = time.monotonic() + limit
            while not come_so_far():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            return process.communicate(timeout=ends_within)[1]
        finally:
            process.kill()

    return press
