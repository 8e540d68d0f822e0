"""Limits and modes of decoding; the formats are tested where pictures are read."""

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import MediaError
from mien.folders import walk_files
from mien.pictures import (
    check_size,
    decode_picture,
    is_picture,
    normalise_picture,
)


def encoded(image: Image.Image, file_format: str = "PNG") -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, file_format)
    return file


@pytest.mark.parametrize(
    ("mode", "colour", "expected_mode", "expected"),
    [
        ("L", 200, "L", 200),
        ("1", 1, "L", 255),
        ("I;16", 200 * 257, "L", 200),
        ("RGB", (10, 20, 30), "RGB", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 255), "RGB", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), "RGB", (255, 255, 255)),
        ("LA", (10, 0), "RGB", (255, 255, 255)),
        ("P", 0, "RGB", (0, 0, 0)),
    ],
)
def test_every_mode_becomes_grey_or_rgb(
    mode: str, colour: Any, expected_mode: str, expected: Any
) -> None:
    image = decode_picture(encoded(Image.new(mode, (5, 4), colour)), "one")

    assert (image.mode, image.size) == (expected_mode, (5, 4))
    assert image.getpixel((2, 2)) == expected


def test_an_image_in_hand_is_treated_as_a_file_is() -> None:
    clear = Image.new("RGBA", (5, 4), (10, 20, 30, 0))

    assert normalise_picture(clear, "image").getpixel((0, 0)) == (255, 255, 255)


def test_the_limit_is_the_callers() -> None:
    file = encoded(Image.new("L", (2000, 1001)))

    assert decode_picture(file, "large.png", max_pixels=2_002_000).size == (2000, 1001)
    with pytest.raises(MediaError, match=r"^large\.png: more than 2 megapixels"):
        decode_picture(file, "large.png", max_pixels=2_001_999)


def test_only_the_formats_that_are_named_are_tried() -> None:
    image = Image.new("RGB", (20, 20))
    named = ("PNG", "no such format")

    assert decode_picture(encoded(image, "PNG"), "a.png", formats=named).size == (20, 20)
    with pytest.raises(MediaError, match=r"a\.eps: not a picture in a format that can be read"):
        decode_picture(encoded(image, "EPS"), "a.eps", formats=named)


STRANGERS = ("JPEG", "BMP", "PPM")


def test_a_jpeg_with_scans_without_end_is_not_decoded() -> None:
    file = io.BytesIO()
    Image.new("L", (64, 64), 9).save(file, "JPEG", progressive=True)
    good = file.getvalue()
    start = good.rindex(b"\xff\xda")
    last, end = good[start:-2], good[-2:]
    # What follows the end is no scan: phones put a film there.
    for taken in (good, good + last * 200, good[:start] + last * 50 + end):
        assert decode_picture(io.BytesIO(taken), "a", formats=STRANGERS).size == (64, 64)
    # A marker without a length does not hide them.
    for bomb in (good[:start] + last * 200 + end, good[:start] + (b"\xff\x01" + last) * 200 + end):
        with pytest.raises(MediaError, match="a: a JPEG of more than 100 scans"):
            decode_picture(io.BytesIO(bomb), "a", formats=STRANGERS)
        assert decode_picture(io.BytesIO(bomb), "a").size == (64, 64), "one's own are read"
    comments = good[:2] + b"\xff\xfe\x00\x02" * 3000 + good[2:]
    with pytest.raises(MediaError, match="2000 segments"):
        decode_picture(io.BytesIO(comments), "a", formats=STRANGERS)


def test_a_small_file_does_not_fill_the_memory() -> None:
    # One instruction of the run-length code goes 255 rows on, whatever the height is.
    code = b"\x00\x02\xff\xff"
    header = struct.pack("<IiiHHIIIIII", 40, 200_000, 1, 1, 8, 1, len(code), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    bomb = b"BM" + struct.pack("<III", offset + len(code), 0, offset) + header + bytes(1024) + code
    tracemalloc.start()
    for data in (bomb, b"P2\n9 9\n255\n" + b"#\n" * 1000):
        with pytest.raises(MediaError, match=r"a: .* of a kind that is not taken"):
            decode_picture(io.BytesIO(data), "a", formats=STRANGERS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_no_pixels_are_no_picture() -> None:
    with pytest.raises(MediaError, match="an empty picture, 0 × 3 pixels"):
        check_size(0, 3, "one")


NOISE = encoded(Image.effect_noise((64, 64), 80)).getvalue()


@pytest.mark.parametrize("content", [b"", b"not a picture", NOISE[:40], NOISE[: len(NOISE) // 2]])
def test_damage_is_one_line_with_the_name(content: bytes) -> None:
    with pytest.raises(MediaError, match=r"^one\.png: [^\n]+$"):
        decode_picture(io.BytesIO(content), "one.png")


def test_hidden_and_other_files_are_no_pictures(tmp_path: Path) -> None:
    inside = ["a.png", "train/happy/A.JPG"]
    outside = ["a.txt", ".a.png", "__MACOSX/happy/a.png", ".git/a.png", "happy/Thumbs.db"]
    for path in inside + outside:
        assert is_picture(path) == (path in inside)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert walk_files(tmp_path, is_picture) == inside


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0, 257, 65_535], [0, 1, 255]),
        ([0, 1, 255], [0, 1, 255]),
        ([-100, 0, 155], [0, 100, 255]),
        ([2**31 - 256, 2**31 - 156, 2**31 - 1], [0, 100, 255]),
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
        ([np.nan, np.inf, 1.0], [0, 0, 255]),
    ],
)
def test_deep_grey_levels_keep_their_order(levels: list[float], expected: list[int]) -> None:
    kind = np.int32 if isinstance(levels[0], int) else np.float32
    image = Image.fromarray(np.array([levels], kind))
    assert np.asarray(normalise_picture(image, "deep")).ravel().tolist() == expected


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pictures_take_little_memory(mode: str) -> None:
    image = Image.new(mode, (4000, 3000), 1)
    tracemalloc.start()
    try:
        normalise_picture(image, "deep")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The picture as Pillow hands it over, twice, the result, and a strip's worth.
    assert peak < (4 + 4 + 1) * 12_000_000 + 40_000_000


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("mien.pictures._scale_deep", fail)
    with pytest.raises(MediaError, match=r"^deep: too large for the memory"):
        normalise_picture(Image.new("I;16", (5, 5)), "deep")
