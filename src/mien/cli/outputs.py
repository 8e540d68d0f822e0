"""Where results go: seen to be usable before the work is done, and told after it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from mien.folders import is_same_file

#: Suffixes of the HTML pages.
PAGE = (".html", ".htm")


def parse_output(text: str | Path) -> Path:
    """Return the path that an option names.

    Raises:
        typer.BadParameter: It names none, as an unset variable of the shell does.
    """
    if not str(text):
        raise typer.BadParameter("an empty path: name a file or folder")
    return Path(text)


def folder_option(text: str, *, metavar: str = "FOLDER", show_default: bool | str = True) -> Any:
    """Return the ``--output`` of a command whose output is, or may be, a folder.

    Args:
        text: What the help says of it.
        metavar: What it takes.
        show_default: Where it goes when left out.
    """
    return typer.Option(
        "--output",
        "-o",
        metavar=metavar,
        parser=parse_output,
        help=text,
        show_default=show_default,
    )


def check_output(
    path: Path | None,
    *,
    option: str = "--output",
    suffixes: Sequence[str] = (),
    sources: Sequence[Path] = (),
) -> None:
    """See that an output can be written, before any work is done for it.

    Args:
        path: Where it shall go; None, where it is not wanted, is right.
        option: What named it.
        suffixes: Those of a file, in lower case; none where a folder is wanted.
        sources: Files that are read, and that it must not replace.

    Raises:
        typer.BadParameter: It cannot; the message says what to name instead.
    """
    if path is None:
        return
    reason = _whats_wrong(path, suffixes)
    if reason is None and any(is_same_file(path, source) for source in sources):
        reason = "is what is read: name another"
    if reason is not None:
        raise typer.BadParameter(f"{path}: {reason}", param_hint=option)


def _whats_wrong(path: Path, suffixes: Sequence[str]) -> str | None:
    wanted = " or ".join(suffixes)
    if suffixes and path.is_dir():
        return f"is a folder: name a {wanted} file, such as {path / f'NAME{suffixes[0]}'}"
    if suffixes and path.suffix.lower() not in suffixes:
        return f"name a {wanted} file"
    if not suffixes and path.exists() and not path.is_dir():
        return "is a file: name a folder"
    return _whats_wrong_above(path)


def _whats_wrong_above(path: Path) -> str | None:
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), None)
    if there is None:
        return f"there is no {path.absolute().anchor}: name a path on another drive"
    if there != path and not there.is_dir():
        return f"{there} is a file: name a path in a folder"
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written to: name a path in another folder"
    return None


def announce(path: Path) -> None:
    """Tell that a file or folder was written, on standard error."""
    typer.echo(f"written: {path}", err=True)
