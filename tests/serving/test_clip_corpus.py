"""Broken, huge and hostile clips: none breaks the service, keeps it busy or leaves anything.

A selection by a seed; all, with the pictures seven hundred cases, take minutes:

    MIEN_EVERY_CASE=1 python -m pytest tests/serving -k corpus
"""

import io
import os
import random
import struct
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.serving.app import create_app
from mien.serving.settings import ServiceSettings

DAMAGED, SELECTED = 200, 12
#: Of one clip, on a busy machine, from sending it to its deletion.
SLOWEST_S = 60
#: What one MP4 says that it holds: at 60 million frames FFmpeg takes 3.4 GB and 45 s.
BOMB = 60_000_000
SIZE_WH = (64, 48)


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes = field(repr=False)


def written(kind: str, codec: str, *, streams: int = 1, frames: int = 5, **options: str) -> bytes:
    """Return a clip of noise, half a second long."""
    levels = np.random.default_rng(7).integers(0, 256, (*SIZE_WH[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options=options) as output:
        added: list[Any] = [output.add_stream(codec, rate=10) for _ in range(streams)]
        for stream in added:
            stream.width, stream.height = SIZE_WH
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(frames):
            for stream in added:
                frame = av.VideoFrame.from_ndarray(np.roll(levels, index, axis=1))
                output.mux(stream.encode(frame))
        for stream in added:
            output.mux(stream.encode(None))
    return file.getvalue()


def sound_clips() -> dict[str, bytes]:
    """Return small valid clips in the containers that people have."""
    return {
        "sound.mp4": written("mp4", "libx264"),
        "fragments.mp4": written("mp4", "libx264", movflags="frag_every_frame+empty_moov"),
        "sound.mov": written("mov", "mpeg4"),
        "sound.mkv": written("matroska", "libx264"),
        "sound.webm": written("webm", "libvpx"),
        "sound.avi": written("avi", "mpeg4"),
        "sound.ts": written("mpegts", "mpeg2video"),
        "sound.flv": written("flv", "flv1"),
        "sound.mjpeg": written("mjpeg", "mjpeg"),
    }


def told(data: bytes, box: bytes, offset: int, *numbers: int) -> bytes:
    """Return an MP4 whose last box of a kind holds other 32-bit numbers from an offset on."""
    start = data.rindex(box) + 4 + offset
    new = struct.pack(f">{len(numbers)}I", *numbers)
    return data[:start] + new + data[start + len(new) :]


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(file, "JPEG")
    return file.getvalue()


def only_sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    return file.getvalue()


def bombs_and_no_clips(sound: dict[str, bytes]) -> Iterator[Case]:
    """Yield what is to be refused."""
    mp4, parts, mkv = (sound[name] for name in ("sound.mp4", "fragments.mp4", "sound.mkv"))
    yield Case("sizes.mp4", told(mp4, b"stsz", 4, 1, BOMB))
    yield Case("bomb.mp4", told(told(mp4, b"stsz", 4, 1, BOMB), b"stsc", 12, BOMB))
    yield Case("late bomb.mp4", told(parts, b"trun", 0, 0, BOMB))
    yield Case("huge.mjpeg", jpeg(3000, 3000) * 3)
    yield Case("no frames.mkv", mkv[: mkv.index(b"\x1f\x43\xb6\x75")])  # its first cluster
    yield Case("head.mp4", mp4[: mp4.index(b"moov")])
    yield Case("no head.mp4", mp4[mp4.index(b"mdat") - 4 :])
    yield Case("only sound.mp4", only_sound())
    yield Case("itself.mp4", b"ffconcat version 1.0\n" + b"file upload\n" * 3)
    yield Case("playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    yield Case("stream.sdp", b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n")
    yield Case("../../picture.mp4", jpeg(*SIZE_WH))
    yield Case("\x00\r\n" + "n" * 400, b"<html>" * 100)
    yield Case("nothing.mp4", bytes(5000))


def liars(sound: dict[str, bytes]) -> Iterator[Case]:
    """Yield clips whose heads lie: what is true of them may be read."""
    mp4, avi = sound["sound.mp4"], sound["sound.avi"]
    yield Case("huge.mp4", told(mp4, b"avc1", 24, 0xFFFFFFFF))
    yield Case("huge frame.avi", told(avi, b"strf", 8, 0xFFFF0000, 0xFFFF0000))
    yield Case("grows.mjpeg", jpeg(*SIZE_WH) * 3 + jpeg(3000, 3000) * 3 + jpeg(*SIZE_WH))
    yield Case("endless.mp4", told(mp4, b"mvhd", 16, 0xFFFFFFFF))
    yield Case("endless track.mp4", told(mp4, b"mdhd", 12, 1, 0xFFFFFFFF))
    yield Case("slow.mp4", told(mp4, b"stts", 8, 5, 0x7FFFFFFF))
    yield Case("fast.mp4", told(mp4, b"mdhd", 12, 0xFFFFFFFF))
    yield Case("timeless.mp4", told(mp4, b"stts", 8, 5, 0))
    yield Case("many streams.mkv", written("matroska", "mjpeg", streams=60, frames=1))
    yield Case("cut.mp4", sound["fragments.mp4"][:-600])


def damaged_clips(sound: dict[str, bytes], count: int) -> Iterator[Case]:
    """Yield clips that are broken at random, from a seed."""
    chance = random.Random(20261121)
    for number in range(count):
        name, whole = list(sound.items())[number % len(sound)]
        data = bytearray(whole)
        for _ in range(chance.choice((1, 4, 40))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        match number % 4:
            case 0:
                del data[chance.randrange(len(data)) :]
            case 1:
                at = chance.randrange(len(data) - 4)
                data[at : at + 4] = struct.pack(">I", chance.choice((0, 0x7FFFFFFF, 0xFFFFFFFF)))
            case 2:
                at = chance.randrange(len(data))
                data[at:at] = data[at : at + 100] * chance.randint(1, 50)
            case _:
                pass
        yield Case(f"{number} {name}", bytes(data))


@pytest.fixture
def service(analyzer: Analyzer, tmp_path: Path) -> Iterator[TestClient]:
    settings = ServiceSettings(
        threads=1,
        max_pixels=200_000,
        max_video_bytes=1_000_000,
        max_video_s=5,
        timeout_s=20,
        max_videos=1,
        video_folder=tmp_path,
    )
    app = create_app(settings, analyzer=analyzer)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def outcome(client: TestClient, case: Case) -> str:
    """Send a clip, see it end, have it deleted, and return what became of it."""
    end = time.monotonic() + SLOWEST_S
    response = client.post("/v1/video", files={"video": (case.name, case.data)})
    assert response.status_code in (202, 422), (case, response.text)
    if response.status_code == 422:
        return str(response.json()["type"]).rpartition(":")[2]
    job = response.headers["location"]
    while (answer := client.get(job).json())["state"] not in ("done", "failed"):
        assert time.monotonic() < end, case
        time.sleep(0.005)
    if answer["state"] == "failed":
        assert answer["problem"]["status"] == 422, (case, answer)
    else:
        assert client.get(f"{job}/result").status_code == 200, case
    assert client.delete(job).status_code == 204, case
    return str(answer["state"])


def test_no_clip_breaks_the_service(service: TestClient, tmp_path: Path) -> None:
    sound = sound_clips()
    damaged = list(damaged_clips(sound, DAMAGED))
    if "MIEN_EVERY_CASE" not in os.environ:
        damaged = random.Random(3).sample(damaged, SELECTED)
    # The first clips load what stays open.
    assert outcome(service, Case("sound.mp4", sound["sound.mp4"])) == "done"
    files, memory = open_files(), memory_mb()

    for name, data in sound.items():
        assert outcome(service, Case(name, data)) == "done", name
    for case in bombs_and_no_clips(sound):
        assert outcome(service, case) == "video-unreadable", case
    lies = {case.name: outcome(service, case) for case in liars(sound)}
    seen = {outcome(service, case) for case in damaged}

    assert lies["grows.mjpeg"] == lies["timeless.mp4"] == "done"
    assert seen >= {"done", "video-unreadable"}
    assert not list(tmp_path.iterdir())
    app: Any = service.app
    assert app.state.service.admission.bytes == 0
    assert "mien_waiting_videos 0.0" in service.get("/metrics").text
    assert open_files() <= files + 2
    assert memory_mb() <= max(memory, 1500), "the most since this process, the suite's, began"


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def memory_mb() -> float:
    resource = pytest.importorskip("resource")
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
