"""The command line: parse → call → draw. Each command's module is imported inside the command."""

from mien.cli.app import main

__all__ = ["main"]
