"""Small clips, drawn here, and frames made by hand, for tables and timelines.

Each frame of a clip tells its number by its grey, with a red corner top left.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.video.frames import VideoFrame
from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.results import Face, Probabilities

WriteClip = Callable[..., Path]

#: Ticks a second of the clips' frame times.
TICKS = 1000


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a clip is made of."""

    times_s: Sequence[float] = tuple(i / 25 for i in range(50))
    size_wh: tuple[int, int] = (96, 64)
    key_every: int = 10
    codec: str = "libx264"
    aspect: Fraction | None = None
    rotation_deg: int = 0
    mirrored: bool = False
    sound: str | None = None
    sound_s: float | None = None


def drawn(index: int, size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draw a frame whose grey is 4 × its number, with a red corner."""
    width, height = size_wh
    image = np.full((height, width, 3), min(255, 4 * index), np.uint8)
    image[: height // 3, : width // 3] = (255, 0, 0)
    return image


def number_in(image_rgb: npt.NDArray[np.uint8]) -> int:
    """Return the number that a drawn frame tells."""
    height, width = image_rgb.shape[:2]
    middle = image_rgb[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5]
    return round(float(middle.mean()) / 4)


def tones(stream: Any, seconds: float) -> Iterator[Any]:
    """Yield packets of a tone."""
    rate, size = 16_000, 1024
    for start in range(0, round(seconds * rate), size):
        wave = np.sin(np.arange(start, start + size) * 0.2).astype(np.float32)[None] * 0.3
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield from stream.encode(frame)
    yield from stream.encode(None)


@pytest.fixture
def write_clip(tmp_path: Path) -> WriteClip:
    def write(name: str = "clip.mp4", **parts: Any) -> Path:
        clip = Clip(**parts)
        path = tmp_path / name
        with av.open(str(path), "w") as output:
            stream: Any = output.add_stream(clip.codec, rate=25)
            stream.width, stream.height = clip.size_wh
            stream.pix_fmt = "yuvj420p" if clip.codec == "mjpeg" else "yuv420p"
            stream.codec_context.gop_size = clip.key_every
            stream.codec_context.time_base = Fraction(1, TICKS)
            if clip.codec == "libx264":
                stream.options = {"preset": "ultrafast", "bf": "2", "threads": "1", "crf": "16"}
            if clip.aspect is not None:
                stream.codec_context.sample_aspect_ratio = clip.aspect
            if clip.rotation_deg or clip.mirrored:
                stream.set_display_rotation(clip.rotation_deg, hflip=clip.mirrored)
            sound = (
                output.add_stream(clip.sound, rate=16_000, layout="mono") if clip.sound else None
            )
            for index, time_s in enumerate(clip.times_s):
                frame = av.VideoFrame.from_ndarray(drawn(index, clip.size_wh))
                frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if sound is not None:
                for packet in tones(sound, clip.sound_s or clip.times_s[-1]):
                    output.mux(packet)
        return path

    return write


@pytest.fixture
def draw_frame() -> Callable[[int], npt.NDArray[np.uint8]]:
    return lambda index: drawn(index, Clip.size_wh)


@pytest.fixture
def read_number() -> Callable[[npt.NDArray[np.uint8]], int]:
    return number_in


@pytest.fixture
def seen_as() -> Callable[..., TrackedFrame]:
    """Make a result with one happy face in a frame."""

    def make(frame: VideoFrame, expression: str = "happy") -> TrackedFrame:
        height, width = frame.image_rgb.shape[:2]
        happy = Probabilities(("happy", "sad"), (0.83, 0.17))
        box = (width * 0.4, height * 0.4, width * 0.6, height * 0.8)
        face = TrackedFace(2, Face(box, 0.9, None, happy), happy, expression)
        return TrackedFrame("clip.mp4", frame.index, frame.time_s, (width, height), (face,))

    return make


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., TrackedFrame]:
    """A frame of people, each a track and its smoothed probability of ``happy``.

    Under 0.5 ``sad`` is shown, at 0.5 ``uncertain``.
    """

    def face(track: int, happy: float) -> TrackedFace:
        names = ("happy", "sad")
        raw = Face(
            (10.25 * track, -1.0, 10.25 * track + 30.0, 41.37),
            0.9876543,
            None if track % 2 else ((1.5, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.5)),
            Probabilities(names, (0.1234567, 0.8765433)),
        )
        shown = "uncertain" if happy == 0.5 else "happy" if happy > 0.5 else "sad"
        return TrackedFace(track, raw, Probabilities(names, (happy, 1 - happy)), shown)

    def make(
        index: int,
        *seen: tuple[int, float],
        time_s: float | None = None,
        source: str = "clip.mp4",
    ) -> TrackedFrame:
        faces = tuple(face(track, happy) for track, happy in seen)
        time_s = index / 10 if time_s is None else time_s
        return TrackedFrame(source, index, time_s, (640, 360), faces)

    return make
