"""Data sets kept ready in the cache folder, by the content they were read from.

``datasets/<fingerprint>-<format>.npz`` is a data set, named by the sha256 of its source: the same
file is found again wherever it lies. Hashing 271 MB takes most of a second, so
``datasets/index/`` remembers the hash of each path together with its size, times and inode, as
git's index does. Files are written beside their final place and moved there, so two processes
that prepare the same data at once both end with a whole one.
"""

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mien.cache import atomic_write, cache_folder
from mien.data.dataset import ExpressionDataset
from mien.data.image_tree import MAX_IMAGE_BYTES
from mien.data.locate import Source, SourceFormat
from mien.data.npz import FORMAT, read_dataset, save_dataset
from mien.errors import DataError

logger = logging.getLogger(__name__)

#: A file changed this shortly before it was hashed may change again within one tick of the file
#: system's clock, unseen; FAT's tick is the longest, two seconds.
_UNSETTLED_NS: Final = 2_000_000_000


def entry_path(fingerprint: str) -> Path:
    """Return where the data set with this fingerprint is kept, or would be."""
    return cache_folder() / "datasets" / f"{fingerprint[:32]}-{FORMAT}.npz"


def fetch(fingerprint: str) -> ExpressionDataset | None:
    """Return a kept data set, or None when there is none or it is damaged."""
    path = entry_path(fingerprint)
    if not path.exists():
        return None
    try:
        return read_dataset(path)
    except DataError as error:
        logger.info("cache entry will be made again: %s", error)
        return None


def keep(dataset: ExpressionDataset) -> Path | None:
    """Keep a data set; return its file, or None when the cache cannot be written."""
    path = entry_path(dataset.fingerprint)
    try:
        save_dataset(dataset, path)
    except DataError as error:
        logger.warning("the data set is not cached: %s", error)
        return None
    return path


def fingerprint_source(source: Source, *, remember: bool) -> str:
    """Return the sha256 of a file, or of a folder's names and contents, and how it is read.

    Args:
        source: What to hash.
        remember: Whether to use and fill the index of files that have not changed since.

    Raises:
        DataError: It cannot be read.
    """
    try:
        stamp = _stamp(source)
        index = _index_path(source)
        if remember:
            known = _look_up(index, stamp)
            if known:
                return _as_read(source, known)
        started_ns = time.time_ns()
        found = _hash_folder(source) if source.format is SourceFormat.FOLDER else _hash(source.path)
        if remember and _newest_ns(source) < started_ns - _UNSETTLED_NS:
            _note(index, stamp, found)
    except OSError as error:
        name = error.filename or source.path
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    return _as_read(source, found)


def _as_read(source: Source, fingerprint: str) -> str:
    """Tell classes of the user's own from expressions read in the same files."""
    if not source.own_classes:
        return fingerprint
    return hashlib.sha256(f"{fingerprint} own classes".encode()).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_folder(source: Source) -> str:
    whole = hashlib.sha256()
    for name, status in source.images.items():
        if status.st_size > MAX_IMAGE_BYTES:
            raise DataError(f"{source.path / name}: {status.st_size:,} bytes, too large for a face")
        # File names need not be valid text; fsencode gives back the bytes that they are.
        whole.update(os.fsencode(f"{name}\0{_hash(source.path / name)}\n"))
    return whole.hexdigest()


def _statuses(source: Source) -> dict[str, os.stat_result]:
    return dict(source.images) or {"": source.path.stat()}


def _newest_ns(source: Source) -> int:
    return max(status.st_mtime_ns for status in _statuses(source).values())


def _stamp(source: Source) -> str:
    """Summarise what changes whenever a file is written: size, times and inode."""
    whole = hashlib.sha256()
    for name, s in _statuses(source).items():
        # ctime and inode tell a file replaced by another of the same size and a copied mtime.
        state = f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}"
        whole.update(os.fsencode(f"{name}\0{state}\n"))
    return whole.hexdigest()


def _index_path(source: Source) -> Path:
    name = hashlib.sha256(os.fsencode(source.path.resolve())).hexdigest()[:32]
    return cache_folder() / "datasets" / "index" / f"{name}.json"


def _look_up(index: Path, stamp: str) -> str | None:
    try:
        entry = json.loads(index.read_text(encoding="utf-8"))
        return str(entry["fingerprint"]) if entry["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(index: Path, stamp: str, fingerprint: str) -> None:
    # Without the note the next call hashes again, which is slower and no less right.
    with suppress(OSError), atomic_write(index) as temporary:
        temporary.write_text(json.dumps({"stamp": stamp, "fingerprint": fingerprint}))
