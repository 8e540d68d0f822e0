"""What files, cameras and streams share: opening them, upright RGB pictures, times that only grow.

Measured on one core with a 1280 × 720 H.264 clip: decoding takes 2.1 ms a frame and the conversion
to RGB 0.6 ms. swscale's quick path is taken, whose pixels differ by 1.2 levels in the mean from its
exact one (``ACCURATE_RND | FULL_CHR_H_INT``), which takes 4.9 ms; with its own threads it costs
1.7 ms of processor time, so they are off.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mien.errors import MediaError, MissingExtraError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

#: Period of frames where neither times nor a rate are told.
_USUAL_PERIOD_S: Final = 1 / 25
#: Shorter side of small pictures.
_SMALL: Final = 90
#: Pixels are taken for square where a file says that they are thinner or wider than this.
_MOST_STRETCHED: Final = 4.0
#: Demuxers of guarded files, by FFmpeg's names.
_KNOWN_FORMATS: Final = ",".join(
    (
        *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "ivf"),
        *("gif", "mjpeg", "m4v", "h264", "hevc", "obu"),
    )
)
#: Streams in a guarded file: cameras write a handful, of sound and data among them.
_MOST_STREAMS: Final = 32
#: Threads that decode a guarded file: each keeps frames, which are not to grow with the cores.
_MOST_THREADS: Final = 4
#: Demuxers that make a "video" of pictures and text.
_NOT_VIDEO: Final = ("image2", "tty", "bin", "xbin", "idf", "adf")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoGuard:
    """What is held against the files of people one does not know.

    Attributes:
        max_pixels: Largest frame that is decoded, also where a file changes its size midway.
        check: Called for each packet, whether it gives a wanted frame or none at all; what it
            raises ends the reading.
    """

    max_pixels: int
    check: Callable[[], None]

    def container_options(self) -> dict[str, str]:
        """Return what FFmpeg is told as it opens a file.

        Playlists are left out: one that names itself opens itself until no file can be opened.
        """
        return {
            "format_whitelist": _KNOWN_FORMATS,
            "max_streams": str(_MOST_STREAMS),
            **self._codec_options(),
        }

    def prepare(self, stream: "VideoStream") -> None:
        """Limit the decoder of a stream, before its first packet."""
        stream.codec_context.options = self._codec_options()
        stream.codec_context.thread_count = _MOST_THREADS

    def _codec_options(self) -> dict[str, str]:
        return {"max_pixels": str(self.max_pixels)}


def import_av() -> Any:
    """Return PyAV.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import av  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("av", "video") from error
    return av


def open_input(
    url: str, name: str, tell: Callable[[Exception], str], **settings: Any
) -> "InputContainer":
    """Open a file, device or stream.

    Args:
        url: What FFmpeg is to open.
        name: What people call it.
        tell: Turns FFmpeg's error into the reason that people read.
        settings: Of ``av.open``.

    Raises:
        MediaError: It cannot be opened.
        MissingExtraError: PyAV is not installed.
    """
    av = import_av()
    try:
        container: InputContainer = av.open(url, mode="r", metadata_errors="replace", **settings)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{name}: {tell(error)}") from error
    return container


def find_video(container: "InputContainer", name: str) -> "VideoStream":
    """Return a container's first video stream that can be decoded, which is not a record's cover.

    Raises:
        MediaError: There is none; the message says what is there.
    """
    from av.stream import Disposition  # noqa: PLC0415

    kind = container.format.name
    if kind in _NOT_VIDEO or kind.endswith("_pipe"):
        raise MediaError(f"{name}: not a video; for pictures there is 'mien analyze'")
    pictures = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    # Without a decoder there is no context, and with it neither size nor rate; PyAV's stub has one.
    for stream in pictures:
        if getattr(stream, "codec_context", None) is not None:
            return stream
    if pictures:
        raise MediaError(f"{name}: its codec is not known here; convert it, as to H.264 in MP4")
    if container.streams.audio:
        raise MediaError(f"{name}: only sound, no pictures in it")
    raise MediaError(f"{name}: no video in it")


def reason(error: Exception) -> str:
    """Return FFmpeg's own words, in lower case, without its numbers and the file's name."""
    words = str(getattr(error, "strerror", None) or error)
    return words[:1].lower() + words[1:]


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored picture is brought upright: by transposing it, then by flips.

    Attributes:
        transposed: Rows become columns.
        flipped_x: Left and right are then exchanged.
        flipped_y: Top and bottom are then exchanged.
    """

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    @property
    def rotation_deg(self) -> int:
        """Clockwise turn in degrees: 0, 90, 180 or 270; of a mirrored picture its turn's part."""
        if self.transposed:
            return 270 if self.flipped_y else 90
        return 180 if self.flipped_y else 0

    def apply(self, image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return ``(H, W, 3)`` upright, contiguous in memory."""
        if self == Turn():
            return image_rgb
        # Pixels moved as one item of three bytes: a third of the time.
        pixels = np.ascontiguousarray(image_rgb).view("V3")[:, :, 0]
        pixels = pixels.T if self.transposed else pixels
        pixels = pixels[:: -1 if self.flipped_y else 1, :: -1 if self.flipped_x else 1]
        height, width = pixels.shape
        return np.ascontiguousarray(pixels).view(np.uint8).reshape(height, width, 3)


def turn_of(frame: "av.VideoFrame") -> Turn:
    """Return what a frame's display matrix asks for, to the nearest quarter turn.

    Source: https://www.ffmpeg.org/doxygen/trunk/group__lavu__video__display.html
    """
    from av.sidedata.sidedata import Type  # noqa: PLC0415

    # PyAV's stub has a mapping by text; it is one by type.
    found: Mapping[Any, Any] = frame.side_data
    data = found.get(Type.DISPLAYMATRIX)
    if data is None:
        return Turn()
    # Columns of the map from stored to shown places, y downwards: x → (a, b), y → (c, d).
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return Turn(transposed=True, flipped_x=c < 0, flipped_y=b < 0)
    return Turn(flipped_x=a < 0, flipped_y=d < 0)


class FrameConverter:
    """Makes upright RGB pictures of one size out of decoded frames.

    Turns and mirror images of the display matrix are honoured. Pixels that are not square are made
    so by changing the width, since faces are read as they look. A video whose size changes midway
    keeps that of its first frame.

    Args:
        frame: The video's first frame.

    Attributes:
        turn: What the first frame's display matrix asks for.
        size_wh: Width and height of the upright pictures.
    """

    def __init__(self, frame: "av.VideoFrame", sample_aspect_ratio: Fraction | None) -> None:
        from av.video.reformatter import VideoReformatter  # noqa: PLC0415

        aspect = float(sample_aspect_ratio or 1)
        if not 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED:
            aspect = 1.0
        self.turn = turn_of(frame)
        self._stored_wh = (max(1, round(frame.width * aspect)), frame.height)
        self.size_wh = self._stored_wh[::-1] if self.turn.transposed else self._stored_wh
        self._reformatter = VideoReformatter()
        self._shrinker = VideoReformatter()
        scale = min(1.0, _SMALL / min(self._stored_wh))
        width, height = self._stored_wh
        self._small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))

    def convert(self, frame: "av.VideoFrame") -> npt.NDArray[np.uint8]:
        """Return a frame as an upright ``(H, W, 3)`` uint8 RGB picture."""
        width, height = self._stored_wh
        rgb = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", threads=1
        )
        return self.turn.apply(rgb.to_ndarray().astype(np.uint8, copy=False))

    def shrink(self, frame: "av.VideoFrame") -> npt.NDArray[np.uint8]:
        """Return some of a frame's pixels as a small ``(H, W, 3)`` uint8 RGB picture, as stored.

        It takes 0.25 ms a frame of 720p.
        """
        from av.video.reformatter import Interpolation  # noqa: PLC0415

        width, height = self._small_wh
        small = self._shrinker.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=Interpolation.POINT,
            threads=1,
        )
        return small.to_ndarray().astype(np.uint8, copy=False)


class FrameClock:
    """Gives each frame its time; times only grow.

    Args:
        origin_s: The time, on the container's clock, that counts as 0.
        rate: Frames a second, for frames that tell no time or one that is not after the last.

    Attributes:
        last_s: The last frame's time; minus infinity before the first.
    """

    def __init__(self, origin_s: float, rate: float | None) -> None:
        self._origin_s = origin_s
        self._period_s = 1 / rate if rate else _USUAL_PERIOD_S
        self.last_s = -math.inf

    def read(self, frame: "av.VideoFrame") -> float:
        """Return a frame's seconds since the origin."""
        time_s = math.nan if frame.pts is None else frame.time - self._origin_s
        if not time_s > self.last_s:
            time_s = 0.0 if self.last_s == -math.inf else self.last_s + self._period_s
        self.last_s = time_s
        return time_s


def rate_of(stream: "VideoStream") -> float | None:
    """Return a stream's frames a second on average, where it tells them."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None
