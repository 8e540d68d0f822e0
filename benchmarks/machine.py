"""Says what a benchmark ran on: its figures mean nothing without."""

import os
import platform
from importlib.metadata import version

from mien.machine import processor_name


def describe_machine(*packages: str) -> str:
    """Return processor, cores, Python and the packages' versions in one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = f"{processor_name()}, {os.cpu_count()} cores"
    return f"{cores}, Python {platform.python_version()}, {versions}"
