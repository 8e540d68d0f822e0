"""Folders looked through for files: pictures to read, clips, faces to train on."""

import os
from collections.abc import Callable
from pathlib import Path


def walk_files(folder: Path, takes: Callable[[str], bool]) -> list[str]:
    """Return files in a folder and its folders, as relative paths with ``/``, sorted.

    Links to folders are followed, each folder once. Hidden folders are not even looked into: some,
    as a memory card's ``.Trashes``, may not be.

    Args:
        folder: The folder.
        takes: Whether a file is wanted, by its relative path.

    Raises:
        OSError: A folder cannot be read.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for parent, subfolders, files in os.walk(folder, onerror=_raise, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        inside = Path(parent).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [prefix + name for name in files if takes(prefix + name)]
    return sorted(found)


def is_hidden(path: str) -> bool:
    """Whether a relative path with ``/`` is hidden or in a hidden folder, or macOS packed it."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _raise(error: OSError) -> None:
    raise error
