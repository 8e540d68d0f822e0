"""Annotated video: what was read, drawn into the frames, with the video's own times and sound."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
from PIL import Image

from mien.analysis.draw import COLOURS, OTHER_COLOUR, UNCERTAIN_COLOUR, Mark, draw_marks, enlarge
from mien.analysis.video.decoding import import_av, open_input, reason
from mien.analysis.video.frames import VideoFile, VideoFrame
from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.cache import atomic_write
from mien.errors import MediaError
from mien.expressions import UNCERTAIN

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

#: Ticks a second, MPEG's own: fine enough for every frame rate, so that times stay as they were.
_TICKS: Final = 90_000
_USUAL_FPS: Final = 30
#: Sound that players expect in an MP4 file.
_MP4_SOUND: Final = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"})
#: 20 can hardly be told from the source. Without B frames, as MP4 tells a wrong length for a
#: variable frame rate with them. 26 ms a frame of 720p on one core.
_X264: Final = {"preset": "veryfast", "crf": "20", "bf": "0"}


def annotate_frame(frame: VideoFrame, result: TrackedFrame) -> Image.Image:
    """Draw what was read in a frame into it: a box and a label such as ``2 happy 83 %`` a face.

    Returns:
        An RGB picture; a small frame is enlarged as in :func:`mien.analysis.draw.annotate`.

    Raises:
        ValueError: The result is of a frame of another size.
    """
    height, width = frame.image_rgb.shape[:2]
    if result.size_wh != (width, height):
        raise ValueError(f"a result for {result.size_wh} in a frame of {(width, height)}")
    image, factor = enlarge(Image.fromarray(frame.image_rgb))
    draw_marks(image, [_mark(face, factor) for face in result.faces], steady=True)
    return image


def tracked_colour(tracked: TrackedFace) -> str:
    """Return the colour that a person is drawn in, as ``#rrggbb``; grey where uncertain."""
    if _is_uncertain(tracked):
        return UNCERTAIN_COLOUR
    return COLOURS.get(tracked.expression, OTHER_COLOUR)


def tracked_text(tracked: TrackedFace) -> str:
    """Return a person's label; ``2 happy? 31 %`` where that is too improbable to be told."""
    shown = f"{tracked.smoothed.top}?" if _is_uncertain(tracked) else tracked.expression
    return f"{tracked.track} {shown} {tracked.confidence * 100:.0f} %"


def _is_uncertain(tracked: TrackedFace) -> bool:
    # A model may have a class of that name, which is then told like the others.
    return tracked.expression == UNCERTAIN and UNCERTAIN not in tracked.smoothed


def _mark(tracked: TrackedFace, factor: int) -> Mark:
    left, top, right, bottom = tracked.face.box_xyxy
    return Mark(
        box_xyxy=(left * factor, top * factor, right * factor, bottom * factor),
        text=tracked_text(tracked),
        colour=tracked_colour(tracked),
    )


class AnnotatedVideo:
    """Writes an MP4 file of frames with what was read in them.

    The frames keep their times, so a variable frame rate stays one, and the first frame written
    is at 0. The sound of the file that they come from goes along, packet by packet, without being
    encoded again. The file appears, whole, when the block ends without an error.

    >>> with VideoFile("clip.mp4") as video:  # doctest: +SKIP
    ...     with AnnotatedVideo("seen.mp4", video) as annotated:
    ...         for frame in video:
    ...             annotated.write(frame, reader.read(frame))

    Args:
        path: The ``.mp4`` file.
        video: Where the frames come from, for its sound; without it there is none.
        fps: About how many frames a second are written, to which the encoder keeps the bit rate;
            by default the video's.

    Attributes:
        path: The path as given.
        silent_because: Why the video's sound is not there; None where it is or there is none.

    Raises:
        MediaError: The suffix is another.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        video: VideoFile | None = None,
        *,
        fps: float | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise MediaError(f"{self.path}: annotated video is written as .mp4")
        self.silent_because: str | None = None
        self._video = video
        self._fps = fps or (video and video.info.fps) or _USUAL_FPS
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._pictures: VideoStream | None = None
        self._sound: _Sound | None = None
        self._size_wh = (0, 0)
        self._start_s = 0.0
        self._last_ticks = -1
        self._step = round(_TICKS / self._fps)

    def __enter__(self) -> Self:
        """Make the temporary file.

        Raises:
            MediaError: It cannot be written.
            MissingExtraError: PyAV is not installed.
        """
        av = import_av()
        with self._told():
            temporary = self._stack.enter_context(atomic_write(self.path))
            # faststart: the index goes to the front, so that browsers can begin at once.
            self._container = self._stack.enter_context(
                av.open(str(temporary), "w", options={"movflags": "+faststart"})
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._finish()
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        # With an error this leaves nothing behind, without one it gives the file its name.
        with self._told():
            self._stack.__exit__(kind, error, traceback)

    def write(self, frame: VideoFrame, result: TrackedFrame) -> None:
        """Draw and write one frame; a size that differs from the first one's is made to fit.

        Raises:
            MediaError: The file cannot be written.
            ValueError: The result is of a frame of another size.
        """
        self.write_image(annotate_frame(frame, result), frame.time_s)

    def write_image(self, image: Image.Image, time_s: float) -> None:
        """Write one ready RGB picture, shown from a time on.

        Raises:
            MediaError: The file cannot be written.
        """
        with self._told():
            if self._pictures is None:
                self._start(image, time_s)
            ticks = max(round((time_s - self._start_s) * _TICKS), self._last_ticks + 1)
            if ticks:
                self._step = ticks - self._last_ticks
            self._last_ticks = ticks
            picture = self._to_yuv(image)
            picture.pts, picture.time_base = ticks, Fraction(1, _TICKS)
            # Counts for the last one, which is taken to be shown as long as the one before.
            picture.duration = self._step
            self._encode(picture)
            if self._sound is not None:
                self._sound.pass_until(ticks / _TICKS)

    def _start(self, image: Image.Image, time_s: float) -> None:
        """Add the streams, now that the size is known."""
        av = import_av()
        from av.codec.context import Flags  # noqa: PLC0415

        assert self._container is not None, "used outside its with block"
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        rate = Fraction(min(max(self._fps, 1), 240)).limit_denominator(1001)
        options = _X264 if codec == "libx264" else {"qscale": "3"}
        stream = self._container.add_stream(codec, rate=rate, options=dict(options))
        pictures = cast("VideoStream", stream)
        # The colours of half of the points are told, so sides are even.
        pictures.width, pictures.height = (max(2, side // 2 * 2) for side in image.size)
        pictures.pix_fmt = "yuv420p"
        # mpeg4 has no finer ticks than 1/65535; libx264 would take any.
        ticks = _TICKS if codec == "libx264" else 30_000
        pictures.codec_context.time_base = Fraction(1, ticks)
        pictures.codec_context.flags |= Flags.frame_duration
        _tell_colours(pictures)
        self._start_s = time_s
        self._size_wh = (pictures.width, pictures.height)
        self._pictures = pictures
        if self._video is not None and self._video.info.has_audio:
            self._sound = _Sound(self._video, self._container, time_s)
            self.silent_because = self._sound.silent_because
            self._stack.callback(self._sound.close)

    def _to_yuv(self, image: Image.Image) -> "av.VideoFrame":
        """Return a picture as the encoder takes it."""
        from av.video.reformatter import ColorRange, Colorspace  # noqa: PLC0415

        if image.size != self._size_wh:
            width, height = self._size_wh
            near = abs(image.width - width) < 2 and abs(image.height - height) < 2
            # One column or row too many is left out rather than blurring all the others.
            image = image.crop((0, 0, width, height)) if near else image.resize((width, height))
        picture: av.VideoFrame = import_av().VideoFrame.from_ndarray(np.asarray(image))
        return picture.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )

    def _encode(self, picture: "av.VideoFrame | None") -> None:
        assert self._container is not None
        assert self._pictures is not None
        self._container.mux(self._pictures.encode(picture))

    def _finish(self) -> None:
        """Write what the encoder still holds, the rest of the sound, and the index."""
        if self._pictures is None:
            raise MediaError(f"{self.path}: no frame to write")
        with self._told():
            self._encode(None)
            if self._sound is not None:
                self._sound.pass_until((self._last_ticks + self._step) / _TICKS)
            assert self._container is not None
            self._container.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        av = import_av()
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{self.path}: cannot be written: {reason(error)}") from error


def _tell_colours(pictures: "VideoStream") -> None:
    """Say in the file how its colours are to be read, which players guess otherwise."""
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc  # noqa: PLC0415

    context = pictures.codec_context
    context.colorspace = 1  # BT.709, in the numbers of ITU-T H.273
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.color_range = ColorRange.MPEG


class _Sound:
    """Passes a file's sound on as it is, packet by packet.

    Attributes:
        silent_because: Why there is none; None where there is.
    """

    def __init__(self, video: VideoFile, output: "OutputContainer", start_s: float) -> None:
        self.silent_because: str | None = None
        self._output = output
        # Both files' times are counted from the first frame.
        self._shift_s = video.origin_s + start_s
        self._is_cut = start_s > 0
        self._input = open_input(f"file:{video.path}", str(video.path), reason)
        # FFmpeg may know no codec for a stream, which then has no context; PyAV's stub has one.
        names = {
            stream: str(stream.codec_context.name)
            for stream in self._input.streams.audio
            if getattr(stream, "codec_context", None) is not None
        }
        fitting = [
            stream for stream, name in names.items() if name.removesuffix("float") in _MP4_SOUND
        ]
        if not fitting:
            kinds = ", ".join(names.values())
            self.silent_because = f"MP4 takes no {kinds or 'unknown'} sound"
        self._streams: dict[int, AudioStream] = {
            stream.index: output.add_stream_from_template(stream) for stream in fitting
        }
        self._packets = self._input.demux(fitting) if fitting else iter(())
        self._next: Packet[Any] | None = None

    def pass_until(self, time_s: float) -> None:
        """Write what is heard from where it stopped up to a time in the output."""
        av = import_av()
        while True:
            if self._next is None:
                try:
                    self._next = next(self._packets, None)
                except av.FFmpegError:
                    return  # the file breaks off here, its pictures do as well
            packet = self._next
            if packet is None or packet.pts is None or packet.dts is None:
                if packet is None or packet.size == 0:
                    return
                self._next = None
                continue
            begins_s = float(packet.pts * packet.time_base) - self._shift_s
            if begins_s >= time_s:
                return
            self._next = None
            ends_s = begins_s + float((packet.duration or 0) * packet.time_base)
            # Before the very first frame there is what a decoder needs to get going.
            if ends_s > 0 or not self._is_cut:
                self._pass(packet)

    def _pass(self, packet: "Packet[Any]") -> None:
        shift = round(self._shift_s / packet.time_base)
        assert packet.pts is not None
        assert packet.dts is not None
        packet.pts -= shift
        packet.dts -= shift
        packet.stream = self._streams[packet.stream_index]
        self._output.mux(packet)

    def close(self) -> None:
        """Let go of the file."""
        self._input.close()
