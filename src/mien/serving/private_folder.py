"""Folders for what must not outlive the service: videos on their way, and their results.

Nobody else may read them. They are gone with the service; one that a killed service left is removed
by the next that starts on the same machine. A lock tells: it ends with its process, however that
ends.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where temporary files are left to the system
    fcntl = None  # type: ignore[assignment]

_PREFIX: Final = "mien-"
_LOCK: Final = "in-use"


@contextmanager
def private_folder(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder of mode 0700, which is removed with the block.

    Args:
        purpose: A word for its name. Folders that dead processes left, of any purpose, are
            removed.
        parent: Where to make it; the system's temporary folder by default.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    for folder in place.glob(f"{_PREFIX}*"):
        if is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-", dir=place))
    try:
        with hold(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hold(folder: Path) -> IO[str]:
    """Lock a folder; it stays so until the returned file is closed or this process ends.

    Raises:
        OSError: The folder is not there, or cannot be written.
    """
    if fcntl is None:
        return (folder / _LOCK).open("w")
    # Named only once it is locked: till then it would look like a dead process's.
    unlocked = folder / f".{_LOCK}"
    lock = unlocked.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unlocked.rename(folder / _LOCK)
    return lock


def is_abandoned(folder: Path) -> bool:
    """Return whether nobody holds a folder any longer; one that nobody ever held is not."""
    if fcntl is None:
        return False
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, another user's, or gone
        return False
    return True
