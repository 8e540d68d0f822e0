from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mien.analysis.draw import COLOURS, UNCERTAIN_COLOUR
from mien.analysis.video.annotated import (
    AnnotatedVideo,
    annotate_frame,
    tracked_colour,
    tracked_text,
)
from mien.analysis.video.frames import VideoFile, VideoFrame
from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.errors import MediaError
from mien.results import Face, Probabilities

WriteClip = Callable[..., Path]
SeenAs = Callable[..., TrackedFrame]
#: Ten frames a second.
SECOND_S = tuple(i / 10 for i in range(11))


def dark(index: int = 0, time_s: float = 0.0, size_wh: tuple[int, int] = (400, 300)) -> VideoFrame:
    return VideoFrame(index, time_s, np.full((size_wh[1], size_wh[0], 3), 60, np.uint8))


def painted(image: Any, colour: str) -> int:
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((np.asarray(image) == wanted).all(axis=2).sum())


def annotate(path: Path, out: Path, seen_as: SeenAs, **settings: Any) -> AnnotatedVideo:
    with VideoFile(path, **settings) as video, AnnotatedVideo(out, video) as annotated:
        for frame in video:
            annotated.write(frame, seen_as(frame))
    return annotated


def sound_of(path: Path) -> list[tuple[float, int]]:
    """Return the times of a file's sound packets, and what their bytes come to."""
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), hash(bytes(packet)))
            for packet in container.demux(audio=0)
            if packet.pts is not None
        ]


def test_a_label_tells_person_expression_and_confidence(seen_as: SeenAs) -> None:
    (face,) = seen_as(dark()).faces
    (doubtful,) = seen_as(dark(), "uncertain").faces

    assert (tracked_text(face), tracked_colour(face)) == ("2 happy 83 %", COLOURS["happy"])
    assert (tracked_text(doubtful), tracked_colour(doubtful)) == (
        "2 happy? 83 %",
        UNCERTAIN_COLOUR,
    )


def test_a_class_named_uncertain_is_told_like_others() -> None:
    own = Probabilities(("uncertain", "sad"), (0.9, 0.1))
    face = TrackedFace(1, Face((0, 0, 9, 9), 1, None, own), own, "uncertain")

    assert tracked_text(face) == "1 uncertain 90 %"
    assert tracked_colour(face) != UNCERTAIN_COLOUR


def test_what_was_read_is_drawn(seen_as: SeenAs) -> None:
    frame = dark()
    image = annotate_frame(frame, seen_as(frame))

    assert image.size == (400, 300)
    assert painted(image, COLOURS["happy"]) > 500
    assert (frame.image_rgb == 60).all(), "the frame itself stays as it was"


def test_labels_do_not_breathe_with_the_faces(seen_as: SeenAs) -> None:
    """One size of letters: the label's area is that of its text, whatever the face's size."""
    result = seen_as(dark())

    def label_rows(shrink: float) -> int:
        (face,) = result.faces
        left, top, right, bottom = face.face.box_xyxy
        box = (left, top, right - shrink, bottom)
        raw = Face(box, 1, None, face.face.probabilities)
        small = TrackedFace(2, raw, face.smoothed, "happy")
        drawn = annotate_frame(dark(), TrackedFrame("a", 0, 0.0, (400, 300), (small,))).crop(
            (0, 0, 400, int(top) - 4)
        )
        wanted = [int(COLOURS["happy"][start : start + 2], 16) for start in (1, 3, 5)]
        return int((np.asarray(drawn) == wanted).all(axis=2).any(axis=1).sum())

    assert label_rows(0) == label_rows(40) > 5


def test_a_result_of_another_size_is_refused(seen_as: SeenAs) -> None:
    with pytest.raises(ValueError, match="in a frame of"):
        annotate_frame(dark(), seen_as(dark(size_wh=(40, 30))))


def test_times_stay_as_they_were(write_clip: WriteClip, tmp_path: Path, seen_as: SeenAs) -> None:
    times_s = (0.0, 0.04, 0.08, 0.5, 0.541, 1.0, 1.75)
    out = tmp_path / "out.mp4"

    annotate(write_clip(times_s=times_s), out, seen_as)

    written = VideoFile(out)
    assert [round(frame.time_s, 3) for frame in written] == list(times_s)
    assert written.info.duration_s == pytest.approx(1.75 + 0.75, abs=0.01)


def test_colours_and_places_stay_as_they_were(tmp_path: Path) -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:, :100], picture[:, 100:200], picture[:, 200:] = (200, 40, 30), (30, 180, 60), 128
    out = tmp_path / "out.mp4"
    with AnnotatedVideo(out) as annotated:
        for index in range(3):
            annotated.write_image(Image.fromarray(picture), index / 25)

    (first, *_) = VideoFile(out)

    for column in (50, 150, 260):
        assert first.image_rgb[100, column] == pytest.approx(picture[100, column], abs=4)


def test_odd_sides_lose_a_pixel_and_other_sizes_are_made_to_fit(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with AnnotatedVideo(out) as annotated:
        annotated.write_image(Image.new("RGB", (321, 243)), 0.0)
        annotated.write_image(Image.new("RGB", (640, 480), "white"), 0.1)

    first, second = VideoFile(out)

    assert first.image_rgb.shape == second.image_rgb.shape == (242, 320, 3)
    assert second.image_rgb.min() > 240


@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_sound_passes_through_untouched(
    write_clip: WriteClip, tmp_path: Path, seen_as: SeenAs, codec: str
) -> None:
    source, out = write_clip(times_s=SECOND_S, sound=codec), tmp_path / "out.mp4"

    annotated = annotate(source, out, seen_as)

    before, after = sound_of(source), sound_of(out)
    assert annotated.silent_because is None
    assert len(after) > 10
    assert [packet for _, packet in after] == [packet for _, packet in before[: len(after)]]
    assert [time_s for time_s, _ in after] == pytest.approx(
        [time_s for time_s, _ in before[: len(after)]], abs=0.001
    )


def test_sound_keeps_step_when_cut(write_clip: WriteClip, tmp_path: Path, seen_as: SeenAs) -> None:
    source, out = write_clip("clip.mkv", times_s=SECOND_S, sound="aac"), tmp_path / "out.mp4"

    annotate(source, out, seen_as, start_s=0.4, end_s=0.8)

    times = {packet: time_s for time_s, packet in sound_of(source)}
    after = [(time_s, packet) for time_s, packet in sound_of(out) if packet in times]
    assert 0.3 < after[-1][0] <= 0.45
    for time_s, packet in after:
        assert time_s == pytest.approx(times[packet] - 0.4, abs=0.002)


def test_sound_that_mp4_does_not_take_is_told(
    write_clip: WriteClip, tmp_path: Path, seen_as: SeenAs
) -> None:
    out = tmp_path / "out.mp4"
    annotated = annotate(
        write_clip("clip.mkv", times_s=(0.0, 0.1), sound="pcm_s16le"), out, seen_as
    )

    assert annotated.silent_because == "MP4 takes no pcm_s16le sound"
    assert not VideoFile(out).info.has_audio


def test_sound_of_an_unknown_codec_is_told(
    write_clip: WriteClip, tmp_path: Path, seen_as: SeenAs
) -> None:
    source, out = write_clip(times_s=(0.0, 0.1), sound="aac"), tmp_path / "out.mp4"
    # What tells the codec of MP4's sound: apac is the spatial one of newer phones.
    named = source.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"free")
    source.write_bytes(named)

    annotated = annotate(source, out, seen_as)

    assert annotated.silent_because == "MP4 takes no unknown sound"
    assert len(list(VideoFile(out))) == 2


def test_a_failed_run_leaves_nothing(tmp_path: Path, seen_as: SeenAs) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("older")

    with pytest.raises(ValueError, match="in a frame of"), AnnotatedVideo(out) as annotated:
        annotated.write(dark(), seen_as(dark(size_wh=(40, 30))))

    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no frame to write"), AnnotatedVideo(tmp_path / "o.mp4"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=r"written as \.mp4"):
        AnnotatedVideo(tmp_path / "out.avi")
    with (
        pytest.raises(MediaError, match="cannot be written"),
        AnnotatedVideo(tmp_path / "file" / "out.mp4"),
    ):
        pass
