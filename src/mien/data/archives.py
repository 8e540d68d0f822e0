"""Zip and tar files, read in memory: nothing is ever unpacked to disk."""

import functools
import gzip
import itertools
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

    For the calls that read it alone: whatever else a block does would be blamed on ``source`` too.

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


class PlainFile:
    """A file, open for reading, whose errors are one line about it; see :func:`plain_errors`.

    Args:
        open_file: Opens it.
        source: What to call it in messages.

    Raises:
        DataError: It cannot be opened; later, it cannot be read.
    """

    def __init__(self, open_file: Callable[[], IO[bytes]], source: str) -> None:
        self._source = source
        with plain_errors(source):
            self._file = open_file()

    def read(self, size: int = -1, /) -> bytes:
        """Read as any file does."""
        with plain_errors(self._source):
            return self._file.read(size)

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def open_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open a zip and yield it with its files by name, after checking every member.

    Raises:
        DataError: It is damaged, too large, or has a member that points outside it.
    """
    with plain_errors(path.name):
        archive = zipfile.ZipFile(path)
    with archive:
        members = archive.infolist()
        _check_size(len(members), sum(member.file_size for member in members), path.name)
        for member in members:
            link = stat.S_ISLNK(member.external_attr >> 16)
            check_member(member.filename, source=path.name, link=link)
        yield archive, {m.filename: m for m in members if not m.is_dir()}


@contextmanager
def open_tar(path: Path, *, gzipped: bool) -> Iterator[Iterator[tuple[str, PlainFile]]]:
    """Open a tar and yield its files, each with its name, in their order and once.

    Raises:
        DataError: It is damaged, too large, or has a member that points outside it.
    """
    with ExitStack() as stack:
        with plain_errors(path.name):
            file = stack.enter_context(gzip.GzipFile(path) if gzipped else path.open("rb"))
            # As a stream: seeking back in a gzip file would decompress it from the start again.
            archive = stack.enter_context(tarfile.open(fileobj=file, mode="r|", bufsize=1 << 20))
        yield _tar_files(archive, path.name)


def _tar_files(archive: tarfile.TarFile, source: str) -> Iterator[tuple[str, PlainFile]]:
    size = 0
    for count in itertools.count(1):
        with plain_errors(source):
            member = archive.next()
        if member is None:
            return
        size += member.size
        _check_size(count, size, source)
        check_member(member.name, source=source, link=not (member.isfile() or member.isdir()))
        if member.isfile():
            extract = functools.partial(_extract, archive, member)
            yield member.name, PlainFile(extract, f"{source}: {member.name}")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # as it is for plain files
    return file


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
