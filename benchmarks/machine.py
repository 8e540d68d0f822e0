"""Says what a benchmark ran on: its figures mean nothing without."""

import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path


def describe_machine(*packages: str) -> str:
    """Return processor, cores, Python and the packages' versions in one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def peak_memory_mb() -> float:
    """Return the most memory that this process has held so far, in MB."""
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
