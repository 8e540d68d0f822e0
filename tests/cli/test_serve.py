"""``mien serve`` where it cannot serve; tests/serving/test_server.py has it serve."""

import sys
from pathlib import Path
from typing import Any

import pytest

from mien.cli.app import main
from mien.serving.server import bind


def told(monkeypatch: pytest.MonkeyPatch, capsys: Any, *options: str) -> str:
    """Return the one line that a call is refused with."""
    monkeypatch.setattr(sys, "argv", ["mien", "serve", *options])
    with pytest.raises(SystemExit) as caught:
        main()
    error: str = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.count("\n") == 1, error
    return error


def test_a_port_in_use(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        error = told(monkeypatch, capsys, "--port", port)
    assert error == (
        f"mien: port {port} of 127.0.0.1 is in use: name another with --port, 0 for any free one\n"
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--model", "none.onnx", "--port", "0"], "no model at none.onnx"),
        (["--max-pictures", "0"], "max_pictures must be at least 1"),
        (["--max-picture-mb", "inf"], "must be finite"),
        (["--host", "é" * 70], "no name of a machine"),
        (["--timeout", "0"], "timeout_s must be above 0"),
        (["--api-key", ""], "api_key must be ASCII"),
        (["--allow-origin", "example.org"], "https://example.org"),
        (["--port", "70000"], "65535"),
    ],
)
def test_a_wrong_call(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, options: list[str], reason: str, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reason in told(monkeypatch, capsys, *options)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for name in [name for name in sys.modules if name.startswith("mien.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    error = told(monkeypatch, capsys)

    assert error == (
        "mien: this needs uvicorn, which is not installed: pip install 'mien[serve]'\n"
    )
