"""Folders looked through for files, and what their names mean to disks and people."""

import os
import unicodedata
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
    seen: set[tuple[int, int] | Path] = set()
    for parent, subfolders, files in os.walk(folder, onerror=_raise, followlinks=True):
        status = Path(parent).stat()
        # Google Drive and WebDAV on Windows number no files: each has 0.
        numbered = (status.st_dev, status.st_ino)
        place: tuple[int, int] | Path = numbered if status.st_ino else Path(parent).resolve()
        if place in seen:
            subfolders.clear()
            continue
        seen.add(place)
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        inside = Path(parent).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [prefix + name for name in files if takes(prefix + name)]
    return sorted(found)


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading ``~`` or ``~user`` as that home; as it is where none is known.

    Files are named so too: Office writes ``~$faces.csv``.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises where none is known


def is_same_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file, by whatever names: on some disks case is no difference.

    The file need not be there yet.
    """
    try:
        status, others = path.stat(), other.stat()
    except OSError:
        return path.name == other.name and path.resolve() == other.resolve()
    if status.st_ino == 0:
        return path.resolve() == other.resolve()
    return os.path.samestat(status, others)


def as_disks_compare(name: str) -> str:
    """Return what two names share that macOS or Windows take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def is_hidden(path: str) -> bool:
    """Whether a relative path with ``/`` is hidden or in a hidden folder, or macOS packed it."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _raise(error: OSError) -> None:
    raise error
