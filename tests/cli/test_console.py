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
