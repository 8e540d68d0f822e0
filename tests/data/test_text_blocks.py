import gzip
import io
import threading

import pytest

import mien.data.text_blocks
from mien.data.text_blocks import read_text_blocks
from mien.errors import DataError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.data.text_blocks, "BLOCK_BYTES", 100)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_blocks_are_whole_lines_and_the_whole_text(ending: str, gzipped: bool) -> None:
    text = ("\n".join("x" * (number % 70) for number in range(200)) + ending).encode()
    data = gzip.compress(text) if gzipped else text
    blocks = list(read_text_blocks(io.BytesIO(data), source="a", gzipped=gzipped))
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert len(blocks) > 20


def test_an_empty_text() -> None:
    assert list(read_text_blocks(io.BytesIO(b""), source="a")) == []


def test_the_thread_ends_with_its_reader() -> None:
    """A thread that reads on would meet a closed file, or a process that is ending."""
    before = threading.active_count()
    blocks = read_text_blocks(io.BytesIO(b"line\n" * 1000), source="a")
    next(blocks)
    assert threading.active_count() > before
    blocks.close()
    assert threading.active_count() == before


def test_a_line_without_end_and_a_text_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="a: a line is longer than 100 bytes"):
        list(read_text_blocks(io.BytesIO(b"x" * 1000), source="a"))
    monkeypatch.setattr(mien.data.text_blocks, "MAX_BYTES", 300)
    with pytest.raises(DataError, match="gave up"):
        list(read_text_blocks(io.BytesIO(b"line\n" * 100), source="a"))
