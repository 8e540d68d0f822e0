"""Consoles that print names as they are."""

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that takes no text for markup or emoji codes, in tables neither.

    Classes, files and folders are named by people: ``[/b]`` or ``:smile:`` is such a name.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
