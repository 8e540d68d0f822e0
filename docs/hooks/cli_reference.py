"""Writes the reference of the commands from the commands themselves, when the site is built."""

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from mien.cli.app import app

#: Where a page wants the reference.
PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the reference in its place; MkDocs calls this for every page."""
    return markdown.replace(PLACE, reference()) if PLACE in markdown else markdown


def reference() -> str:
    """Return every command with its arguments and options, as Markdown."""
    return "\n\n".join(_describe(name, command) for name, command in commands())


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command by its full name, ``mien data audit`` among them."""
    yield from _walk("mien", get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, child in inner.items():
        yield from _walk(f"{name} {word}", child)


def _describe(name: str, command: Any) -> str:
    text, _, example = command.help.partition("Example: ")
    context = command.context_class(command, info_name=name)
    parts = [f"## {name}", _prose(text.strip())]
    if example:
        parts.append(f"```sh\n{example.strip()}\n```")
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [_row(*record) for record in records if record is not None]
    parts.append("\n".join(["| option | what it does |", "| --- | --- |", *rows]))
    return "\n\n".join(parts)


def _row(what: str, does: str) -> str:
    # "SOURCE... <list[str]>" says one thing twice.
    return f"| `{_cell(what.partition(' <list')[0])}` | {_prose(_cell(does))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str) -> str:
    """Return text that Markdown shows as it stands."""
    return re.sub(r"([*_\[])", r"\\\1", text.replace("<", "&lt;"))
