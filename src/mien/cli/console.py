"""Consoles that print names as they are."""

import sys

from rich.console import Console


def plain_console(*, stderr: bool = False, redraws: bool = False) -> Console:
    """Return a console that takes no text for markup or emoji codes, in tables neither.

    Classes, files and folders are named by people: ``[/b]`` or ``:smile:`` is such a name.

    Args:
        stderr: Print to the error stream, where progress goes.
        redraws: It draws in place, as everything on the error stream may. Only a terminal shows
            that: in a file or a pipe ``FORCE_COLOR``, which Jupyter sets for every command, would
            make each step a line.
    """
    stream = sys.stderr if stderr else sys.stdout
    forced = None if stream.isatty() or not (stderr or redraws) else False
    return Console(stderr=stderr, force_terminal=forced, markup=False, emoji=False, highlight=False)
