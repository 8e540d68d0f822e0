"""Text read ahead in blocks of whole lines, by a thread that ends when its reader does."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from mien.errors import DataError, MissingExtraError

#: Bytes read at a time. Measured: 256 KiB, which fits a core's cache, is parsed in three quarters
#: of the time of 4 MiB. No line may be longer.
BLOCK_BYTES: Final = 1 << 18
#: Seven times the text of FER2013: only a decompression bomb gets there.
MAX_BYTES: Final = 2 << 30


class ByteStream(Protocol):
    """What bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        ...


def read_text_blocks(
    stream: ByteStream, *, source: str, gzipped: bool = False
) -> Generator[bytes, None, None]:
    """Yield a file's text in blocks that end with a line, each read while the last is in use.

    A thread of our own rather than Arrow's streaming reader: that one goes on calling a Python
    stream after an error, and a process that ends meanwhile hangs or aborts.

    Args:
        stream: The file, open for reading.
        source: What to call it in messages.
        gzipped: Whether its bytes are compressed with gzip.

    Raises:
        DataError: It is damaged or truncated, too large, or has an overlong line.
        MissingExtraError: pyarrow is not installed.
    """
    blocks = _whole_lines(_gunzip(stream, source) if gzipped else stream.read, source)
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(next, blocks, b"")
        while block := pending.result():
            pending = thread.submit(next, blocks, b"")
            yield block


def _whole_lines(read: Callable[[int], bytes], source: str) -> Iterator[bytes]:
    rest = b""
    total = 0
    while data := read(BLOCK_BYTES):
        total += len(data)
        if total > MAX_BYTES:
            raise DataError(f"{source}: more than {MAX_BYTES >> 30} GiB of text, gave up")
        end = data.rfind(b"\n") + 1
        if end:
            yield rest + data[:end]
            rest = data[end:]
        else:
            rest += data
        if len(rest) > BLOCK_BYTES:
            raise DataError(
                f"{source}: a line is longer than {BLOCK_BYTES:,} bytes; is this FER2013's CSV?"
            )
    if rest:
        yield rest


def _gunzip(stream: ByteStream, source: str) -> Callable[[int], bytes]:
    """Return a function that reads decompressed bytes; Arrow's zlib needs 4/5 of Python's time."""
    try:
        import pyarrow as pa  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    unpacked: Any = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "gzip")

    def read(size: int) -> bytes:
        try:
            data: bytes = unpacked.read(size)
        except OSError as error:
            first_line = str(error).partition("\n")[0]
            if "Truncated" in first_line:
                raise DataError(
                    f"{source}: the compressed file is cut short; fetch it again"
                ) from error
            raise DataError(f"{source}: the compressed file is damaged ({first_line})") from error
        return data

    return read
