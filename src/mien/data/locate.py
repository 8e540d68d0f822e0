"""What a path holds: a CSV, a zip, a tar, pictures in folders or a manifest of changes."""

import gzip
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from mien.data.image_tree import list_images
from mien.errors import DataError
from mien.expressions import EXPRESSIONS

#: Kaggle's names of FER2013's CSV, the likeliest first; each also with ``.gz``.
FER2013_CSV_NAMES: Final = ("fer2013.csv", "icml_face_data.csv")

#: CSV files that come with FER2013 and hold no labelled faces.
_OTHER_CSV_NAMES: Final = frozenset({"fer2013new.csv", "test.csv", "example_submission.csv"})
#: An npz file is a zip, and a zip starts with its first member's name.
_NPZ_MAGIC: Final = b"images.npy"
_ARCHIVE_SUFFIXES: Final = (".zip", ".tar", ".tgz", ".tar.gz")


class SourceFormat(StrEnum):
    """How a source is read."""

    NPZ = "npz"
    CSV = "csv"
    CSV_GZ = "csv.gz"
    ZIP = "zip"
    TAR = "tar"
    TAR_GZ = "tar.gz"
    FOLDER = "folder"
    MANIFEST = "manifest"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file or folder that holds a data set.

    Attributes:
        path: Where it is.
        format: How to read it.
        images: The pictures of a folder, by relative path.
        own_classes: Whether folders' names are classes of the user's own.
    """

    path: Path
    format: SourceFormat
    images: Mapping[str, os.stat_result] = field(default_factory=dict, repr=False)
    own_classes: bool = False


def locate_source(path: Path) -> Source:
    """Find out what a path holds, by content rather than by suffix.

    In a folder, FER2013's own CSV comes before pictures, these before any other CSV or archive,
    and a folder in a folder is looked into.

    Raises:
        DataError: Nothing there can be read as a data set.
    """
    try:
        if path.is_dir():
            return _in_folder(path)
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        return Source(path=path, format=_sniff(path))
    except OSError as error:
        # A folder or picture inside it may be what cannot be read.
        name = error.filename or path
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error


def pick_csv(names: Iterable[str], *, known_only: bool) -> str | None:
    """Return the CSV that holds the faces among several files, if it is clear which one.

    Args:
        names: Paths with ``/``.
        known_only: Whether to pick none but :data:`FER2013_CSV_NAMES`.
    """
    files = {name: PurePosixPath(name).name.lower() for name in names}
    for known in FER2013_CSV_NAMES:
        for wanted in (known, f"{known}.gz"):
            for name, file in files.items():
                if file == wanted:
                    return name
    others = [
        name
        for name, file in files.items()
        if file.endswith((".csv", ".csv.gz"))
        and file not in _OTHER_CSV_NAMES
        and not file.startswith(".")
    ]
    return others[0] if len(others) == 1 and not known_only else None


def _in_folder(folder: Path) -> Source:
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    known = pick_csv(files, known_only=True)
    if known:
        return locate_source(folder / known)
    images = list_images(folder)
    if images:
        return Source(path=folder, format=SourceFormat.FOLDER, images=images)
    other = pick_csv(files, known_only=False)
    if other:
        return locate_source(folder / other)
    archives = [name for name in files if name.lower().endswith(_ARCHIVE_SUFFIXES)]
    if len(archives) == 1:
        return locate_source(folder / archives[0])
    if archives:
        raise DataError(f"{folder}: several archives, name one of them: {', '.join(archives)}")
    inner = [
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
    ]
    if len(inner) == 1:
        return _in_folder(inner[0])
    raise DataError(
        f"{folder}: no fer2013.csv, no archive and no pictures in folders named "
        f"{', '.join(EXPRESSIONS)}"
    )


def _sniff(path: Path) -> SourceFormat:
    """Tell a file's format by its first bytes."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        return SourceFormat.NPZ if head[30:].startswith(_NPZ_MAGIC) else SourceFormat.ZIP
    if head.startswith(b"\x1f\x8b"):
        return SourceFormat.TAR_GZ if _is_tar(_gunzip_start(path)) else SourceFormat.CSV_GZ
    if _is_tar(head):
        return SourceFormat.TAR
    if b"\0" in head:
        raise DataError(f"{path}: neither a CSV nor a zip, tar, gzip or npz file")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return SourceFormat.MANIFEST
    return SourceFormat.CSV


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _gunzip_start(path: Path) -> bytes:
    """Return the first bytes of a gzip file; what is wrong with it, its reader says later."""
    try:
        with gzip.open(path) as file:
            return file.read(512)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""
