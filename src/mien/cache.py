"""The user's cache folder, and writing files so that nobody ever sees half of one."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mien.folders import expand_home

#: How long to wait, again and again, for who has a file open that is to be replaced: a table in
#: Excel, or a virus scanner. Only Windows lets them stand in the way.
_WAITS_S: Final = (0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``$MIEN_CACHE``, else the user's cache.

    The folder may not exist yet, and may not be writable.
    """
    override = os.environ.get("MIEN_CACHE")
    if override:
        return expand_home(override)
    # Imported here because the variable above spares the import its time.
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_cache_path("mien")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block succeeds.

    The folder is created where it is missing. The temporary name keeps the suffix, since many
    writers choose their format by it. When the block raises, nothing is left and an older file
    at ``path`` stays as it was.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Absolute, since FFmpeg takes what stands before a colon in a relative one for a protocol.
    folder = path.parent.absolute()
    # Not the whole name, which may be as long as names can be.
    temporary = folder / f".{path.stem[:32]}.{secrets.token_hex(6)}{path.suffix}"
    with _errors_named(path):
        # With the mode of a plain open(). tempfile makes files that only the owner reads, and to
        # widen that fails on disks without Unix modes, where the whole work is then lost.
        temporary.touch(exist_ok=False)
    try:
        yield temporary
        with _errors_named(path):
            _replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _replace(temporary: Path, path: Path) -> None:
    for wait_s in _WAITS_S:
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(wait_s)
        else:
            return
    temporary.replace(path)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Let an error name the file that is wanted, since nobody knows of the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
