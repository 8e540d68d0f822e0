"""A folder for what must not outlive the service: videos on their way, and their results.

Nobody else may read it. It is gone with the service; one that a killed service left is removed by
the next that starts on the same machine.
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

_PREFIX: Final = "mien-videos-"
_LOCK: Final = "in-use"


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder of mode 0700, which is removed with the block.

    Args:
        parent: Where to make it; the system's temporary folder by default.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        with (folder / _LOCK).open("w") as lock:
            _lock(lock)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(place: Path) -> None:
    """Remove the folders whose owner is gone: a lock ends with its process, however that ends."""
    if fcntl is None:
        return
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            with (folder / _LOCK).open("r+") as lock:
                _lock(lock)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # in use, or another user's
            continue


def _lock(lock: IO[str]) -> None:
    if fcntl is not None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
