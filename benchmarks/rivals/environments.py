"""An environment for each package: made by uv, kept, measured on disk.

What a package costs to install is what its environment holds, and no package's dependencies can
touch another's.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.errors import MienError

#: Written last, with what was asked for: an environment without it, or with other words in it, is
#: made anew.
_READY: Final = "ready.txt"
#: uv's own folder for what it has fetched may lie on another disk, where it copies.
_INSTALL_SECONDS: Final = 3600
#: Characters of an error that fit a table.
_LONGEST: Final = 200
#: What uv draws beside its messages.
_RULES: Final = str.maketrans("", "", "│╰─▶├×")


class InstallError(MienError):
    """A package cannot be installed here; the message is the reason in one line."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment that holds one package and what it needs.

    Attributes:
        folder: Where it is.
        python: Its interpreter.
    """

    folder: Path
    python: Path

    @property
    def site_packages(self) -> Path:
        """The folder that packages are installed in."""
        (path,) = {*self.folder.glob("lib/python*/site-packages"), *self.folder.glob("Lib/site-*")}
        return path

    def installed_mb(self) -> float:
        """Return what the packages take on disk in MB, without the bytecode that use adds."""
        files = (path for path in self.site_packages.rglob("*") if path.suffix != ".pyc")
        return sum(path.lstat().st_size for path in files if not path.is_dir()) / 1e6

    def versions(self) -> dict[str, str]:
        """Return the version of every package installed, by its name in lower case."""
        command = [_uv(), "pip", "list", "--format", "json", "--python", str(self.python)]
        return {each["name"].lower(): each["version"] for each in json.loads(_run(command))}


def make_environment(folder: Path, requirements: tuple[str, ...], *, python: str) -> Environment:
    """Return an environment with ``requirements``: a kept one, or made now.

    A requirement that is a folder, a checkout, is installed anew each time, without what is in it
    being edited in place: it is measured as a user has it.

    Args:
        folder: Where it is, or shall be.
        requirements: As for ``pip install``.
        python: What uv finds an interpreter by: a version, or a path.

    Raises:
        InstallError: uv is not there, or cannot install them.
    """
    binary = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    environment = Environment(folder=folder, python=folder / binary)
    asked = "\n".join((python, *requirements))
    ready = folder / _READY
    if not (ready.is_file() and ready.read_text() == asked):
        if folder.exists():
            shutil.rmtree(folder)
        _run([_uv(), "venv", "--quiet", "--no-python-downloads", "--python", python, str(folder)])
        _install(environment, requirements)
        ready.write_text(asked)
    checkouts = tuple(each for each in requirements if Path(each).is_dir())
    if checkouts:
        _install(environment, ("--no-deps", "--reinstall", *checkouts))
    return environment


def _install(environment: Environment, arguments: tuple[str, ...]) -> None:
    _run([_uv(), "pip", "install", "--quiet", "--python", str(environment.python), *arguments])


def _uv() -> str:
    # Beside the interpreter where it came with this package's own environment.
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("uv")
    if found is None:
        raise InstallError("uv is not there: pip install uv")
    return found


def _run(command: list[str]) -> str:
    """Return what a uv command prints; what it says when it fails becomes the error."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"took over {_INSTALL_SECONDS} s to install") from error
    if done.returncode:
        # It wraps its lines; what failed comes first.
        said = " ".join(done.stderr.translate(_RULES).split())
        raise InstallError(said[:_LONGEST] or f"uv exited with {done.returncode}")
    return done.stdout
