"""Five hundred broken, huge and hostile picture files: none breaks the service."""

import io
import random
import struct
import time
from collections.abc import Callable, Iterator

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

CASES = 500
#: Far more than any takes on a busy machine, far less than a hang.
SLOWEST_S = 10


def saved(mode: str, file_format: str, **options: object) -> bytes:
    levels = np.random.default_rng(7).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    image = Image.fromarray(levels).convert("L" if mode in ("I;16", "F") else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    elif mode == "F":
        image = image.convert("F")
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def sound_files() -> list[bytes]:
    """Return small valid files of each kind that is taken, and of some that are not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("RGB", (28, 20), colour) for colour in ("red", "blue")]
    return [
        saved("RGB", "JPEG", exif=exif),
        saved("L", "JPEG", progressive=True),
        saved("CMYK", "JPEG"),
        *(saved(mode, "PNG") for mode in ("RGB", "RGBA", "LA", "P", "1", "I;16")),
        saved("RGB", "PNG", exif=exif),
        saved("P", "GIF", save_all=True, append_images=frames),
        *(saved(mode, "BMP") for mode in ("RGB", "P", "1")),
        saved("RGB", "WEBP"),
        saved("RGBA", "WEBP", lossless=True, save_all=True, append_images=frames),
        *(saved("RGB", "TIFF", compression=name) for name in ("raw", "tiff_lzw", "jpeg")),
        *(saved(mode, "TIFF") for mode in ("I;16", "F", "CMYK")),
        saved("RGB", "TIFF", compression="tiff_deflate", exif=exif),
        saved("RGB", "PPM"),
        saved("RGB", "ICO"),
        saved("RGB", "EPS"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ]


Change = Callable[[random.Random, bytearray], None]


def cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def flip(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 12)):
        data[chance.randrange(len(data))] = chance.randrange(256)


def flip_head(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(min(64, len(data)))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))


def huge_number(chance: random.Random, data: bytearray) -> None:
    """Put a size, offset or count without sense somewhere in the head."""
    at = chance.randrange(min(96, len(data)))
    number = chance.choice((0, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 20))
    data[at : at + 4] = struct.pack(chance.choice("<>") + "I", number)


def repeat(chance: random.Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    data[start:start] = data[start : start + chance.randint(1, 200)] * chance.randint(1, 50)


def remove(chance: random.Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randint(1, 60)]


CHANGES: tuple[Change, ...] = (cut, flip, flip_head, huge_number, repeat, remove)


def corpus() -> Iterator[bytes]:
    """Yield every sound file as it is, then broken ones, from a seed."""
    chance = random.Random(20261121)
    sound = sound_files()
    yield from sound
    for number in range(CASES - len(sound)):
        data = bytearray(sound[number % len(sound)])
        for change in chance.sample(CHANGES, chance.randint(1, 2)):
            if data:
                change(chance, data)
        yield bytes(data)


def test_no_file_breaks_the_service(client: TestClient) -> None:
    cases = list(corpus())
    assert len(cases) == CASES
    read = 0
    for start in range(0, CASES, 4):
        files = [("p", (f"{start + i}", data)) for i, data in enumerate(cases[start : start + 4])]
        began = time.monotonic()
        answer = client.post("/v1/analyze?whole_image=true", files=files)
        assert time.monotonic() - began < SLOWEST_S, start
        assert answer.status_code in (200, 422), (start, answer.text)
        if answer.status_code == 200:
            for picture in answer.json()["pictures"]:
                problem = picture["problem"]
                read += problem is None
                kind = problem and problem["type"]
                assert kind in (None, "urn:mien:problem:picture-unreadable"), start
    assert 50 < read < CASES - 50, "of both kinds there are many"
    admission = client.app.state.service.admission  # type: ignore[attr-defined]
    assert (admission.pictures, admission.bytes) == (0, 0)
