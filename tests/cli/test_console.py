import io

import pytest
from rich.table import Table

from mien.cli.console import plain_console

NAMES = ("[/b]", "[bold]z", ":smile:", "u[red]9/best.toml")


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[b]x", title="[/i]")
    for name in NAMES:
        plain_console().print(name)
        table.add_row(name)
    plain_console().print(table)

    shown = capsys.readouterr().out
    assert [shown.count(name) for name in NAMES] == [2, 2, 2, 2]
    assert "[b]x" in shown
    assert "[/i]" in shown


def test_what_is_redrawn_is_not_forced_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter does for every command
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", io.StringIO())

    assert plain_console().is_terminal
    assert not plain_console(stderr=True).is_terminal
    assert not plain_console(redraws=True).is_terminal


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr", _Terminal())

    assert plain_console(stderr=True).is_terminal
