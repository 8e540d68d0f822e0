"""Zip and tar files, read in memory: nothing is ever unpacked to disk."""

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from mien.errors import DataError

#: Ten times the pictures of FER2013; beyond it an archive is a mistake or an attack.
MAX_MEMBERS: Final = 400_000
#: As unpacked; FER2013 with everything that Kaggle packs beside it has under 1 GiB.
MAX_BYTES: Final = 8 << 30


@contextmanager
def plain_errors(source: str) -> Iterator[None]:
    """Turn what the archive modules raise into one line about ``source``.

    Raises:
        DataError: The block met a damaged, truncated, encrypted or unreadable file.
    """
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
    ) as error:
        raise DataError(
            f"{source}: the archive is cut short or damaged ({error}); fetch it again"
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        # zipfile's way to say that a member is encrypted or compressed by an unknown method.
        raise DataError(f"{source}: cannot be unpacked: {error}") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from error


@contextmanager
def open_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open a zip and yield it with its files by name, after checking every member.

    Raises:
        DataError: It is damaged, too large, or has a member that points outside it.
    """
    with plain_errors(path.name), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_size(len(members), sum(member.file_size for member in members), path.name)
        for member in members:
            link = stat.S_ISLNK(member.external_attr >> 16)
            check_member(member.filename, source=path.name, link=link)
        yield archive, {m.filename: m for m in members if not m.is_dir()}


@contextmanager
def open_tar(path: Path, *, gzipped: bool) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Open a tar and yield its files, each with its name, in their order and once.

    Raises:
        DataError: It is damaged, too large, or has a member that points outside it.
    """
    with (
        plain_errors(path.name),
        gzip.open(path) if gzipped else path.open("rb") as file,
        # As a stream: seeking back in a gzip file would decompress it from the start again.
        tarfile.open(fileobj=file, mode="r|", bufsize=1 << 20) as archive,
    ):
        yield _tar_files(archive, path.name)


def _tar_files(archive: tarfile.TarFile, source: str) -> Iterator[tuple[str, IO[bytes]]]:
    size = 0
    for count, member in enumerate(archive, start=1):
        size += member.size
        _check_size(count, size, source)
        check_member(member.name, source=source, link=not (member.isfile() or member.isdir()))
        file = archive.extractfile(member)
        if file is not None:
            yield member.name, file


def _check_size(count: int, size: int, source: str) -> None:
    if count > MAX_MEMBERS:
        raise DataError(f"{source}: refused, it has more than {MAX_MEMBERS:,} members")
    if size > MAX_BYTES:
        raise DataError(f"{source}: refused, it would unpack to more than {MAX_BYTES >> 30} GiB")


def check_member(name: str, *, source: str, link: bool) -> None:
    """Refuse a member that unpacking would write outside the folder, or that is no plain file.

    Nothing is unpacked here, but such an archive was made to harm and is not to be trusted.

    Raises:
        DataError: The member is absolute, climbs with ``..``, or is a link or device.
    """
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    if slashed.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise DataError(f"{source}: refused, member {name!r} points outside the archive")
    if link:
        raise DataError(f"{source}: refused, member {name!r} is a link or device, not a file")
