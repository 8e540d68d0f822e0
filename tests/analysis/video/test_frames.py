from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mien.analysis.video.frames import VideoFile
from mien.errors import MediaError

WriteClip = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]
VARIABLE_S = (0.0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.04, 1.08, 1.12, 2.0)


def read(path: Path, **settings: Any) -> list[tuple[int, float]]:
    """Return the indices and times of a file's frames."""
    with VideoFile(path, **settings) as video:
        return [(frame.index, round(frame.time_s, 3)) for frame in video]


def test_frames_come_in_order_upright_and_whole(
    write_clip: WriteClip, read_number: ReadNumber
) -> None:
    with VideoFile(write_clip()) as video:
        frames = list(video)

    assert [frame.index for frame in frames] == list(range(50))
    assert [read_number(frame.image_rgb) for frame in frames] == list(range(50))
    assert frames[0].image_rgb.shape == (64, 96, 3)
    assert frames[0].image_rgb.dtype == np.uint8
    assert frames[0].image_rgb[5, 5].tolist() == pytest.approx([255, 0, 0], abs=20)
    assert (video.truncated, video.damaged) == (None, 0)


def test_a_video_says_what_it_is(write_clip: WriteClip) -> None:
    info = VideoFile(write_clip(sound="aac")).info

    assert (info.size_wh, info.frame_count, info.rotation_deg) == ((96, 64), 50, 0)
    assert info.fps == pytest.approx(25, rel=0.01)
    assert info.duration_s == pytest.approx(2, abs=0.05)
    assert info.has_audio


def test_times_are_those_of_a_variable_rate(write_clip: WriteClip) -> None:
    assert read(write_clip(times_s=VARIABLE_S)) == list(enumerate(VARIABLE_S))


def test_times_are_counted_from_the_first_frame(write_clip: WriteClip) -> None:
    path = write_clip("late.mkv", times_s=[3 + time_s for time_s in VARIABLE_S])

    assert read(path) == list(enumerate(VARIABLE_S))


def test_frames_without_times_go_by_the_rate(write_clip: WriteClip, tmp_path: Path) -> None:
    bare = tmp_path / "bare.m4v"
    with av.open(str(write_clip(codec="mpeg4"))) as source:
        headers = source.streams.video[0].codec_context.extradata or b""
        bare.write_bytes(headers + b"".join(bytes(packet) for packet in source.demux(video=0)))

    frames = read(bare, start_s=0.5)

    times_s = [time_s for _, time_s in frames]
    assert frames[0][0] > 0
    assert times_s[0] >= 0.5
    assert np.diff(times_s) == pytest.approx(np.diff(times_s)[0])


def test_every_nth_frame(write_clip: WriteClip) -> None:
    assert [index for index, _ in read(write_clip(), every=20)] == [0, 20, 40]


def test_a_rate_chooses_by_time_not_by_number(write_clip: WriteClip) -> None:
    times_s = [time_s for _, time_s in read(write_clip(times_s=VARIABLE_S), fps=2)]

    assert times_s == [0.0, 0.5, 1.0, 2.0]


def test_a_rate_above_the_videos_takes_all(write_clip: WriteClip) -> None:
    assert len(read(write_clip(), fps=60)) == 50


@pytest.mark.parametrize("choice", [{}, {"every": 7}, {"fps": 4}])
def test_frames_after_one_are_the_same_and_those_before_are_told(
    write_clip: WriteClip, read_number: ReadNumber, choice: dict[str, Any]
) -> None:
    with VideoFile(write_clip(), **choice) as video:
        everything = {frame.index: frame.time_s for frame in video}
        passed_s: list[float] = []
        frames = list(video.after(20, on_passed=passed_s.append))

    assert {frame.index: frame.time_s for frame in frames} == {
        index: time_s for index, time_s in everything.items() if index > 20
    }
    assert [read_number(frame.image_rgb) for frame in frames] == [frame.index for frame in frames]
    assert passed_s == [time_s for index, time_s in everything.items() if index <= 20]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
@pytest.mark.parametrize("start_s", [0.3, 1.0, 1.5, 1.96])
def test_a_start_gives_the_same_frames_as_reading_all(
    write_clip: WriteClip, read_number: ReadNumber, name: str, start_s: float
) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(name, codec=codec)
    everything = {frame.index: frame for frame in VideoFile(path)}
    with VideoFile(path, start_s=start_s) as video:
        frames = list(video)

    assert [frame.index for frame in frames] == [
        index for index, frame in everything.items() if frame.time_s >= start_s - 1e-6
    ]
    for frame in frames:
        assert frame.time_s == everything[frame.index].time_s
        assert (frame.image_rgb == everything[frame.index].image_rgb).all()
    assert video.damaged == 0


def test_a_start_is_jumped_to(write_clip: WriteClip) -> None:
    video = VideoFile(write_clip(), start_s=1.5)
    jump = video._plan_jump()

    assert jump is not None
    assert next(index for index, _, _ in video._decode_timed()) == 30, "the key frame before"


def test_an_end_is_left_out(write_clip: WriteClip) -> None:
    assert [index for index, _ in read(write_clip(), start_s=1, end_s=1.12)] == [25, 26, 27]


def test_a_video_can_be_read_again_and_left_midway(write_clip: WriteClip) -> None:
    with VideoFile(write_clip()) as video:
        assert next(iter(video)).index == 0
        assert len(list(video)) == 50
    assert next(iter(video)).index == 0


@pytest.mark.parametrize(
    ("rotation_deg", "mirrored", "turn_deg", "corner"),
    [
        (-90, False, 90, "top right"),
        (90, False, 270, "bottom left"),
        (180, False, 180, "bottom right"),
        (0, True, 0, "top right"),
    ],
)
def test_phones_turned_about_give_upright_frames(
    write_clip: WriteClip, rotation_deg: int, mirrored: bool, turn_deg: int, corner: str
) -> None:
    path = write_clip(rotation_deg=rotation_deg, mirrored=mirrored)
    video = VideoFile(path)
    image = next(iter(video)).image_rgb
    corners = {"top": 5, "bottom": -6, "left": 5, "right": -6}
    rows, columns = corner.split()

    assert image.shape == ((96, 64, 3) if rotation_deg in (-90, 90) else (64, 96, 3))
    assert video.info.size_wh == image.shape[1::-1]
    assert image[corners[rows], corners[columns], 0] > 200
    assert (image[:, :, 0] > 200).mean() < 0.15, "the other corners are dark"
    assert image.flags.c_contiguous


def test_mirrored_is_not_turned(write_clip: WriteClip) -> None:
    assert VideoFile(write_clip(mirrored=True)).info.rotation_deg in (0, 180)


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(4, 3), 128), (Fraction(1, 2), 48), (Fraction(50, 1), 96)]
)
def test_pixels_become_square(write_clip: WriteClip, aspect: Fraction, width: int) -> None:
    video = VideoFile(write_clip(aspect=aspect))

    assert video.info.size_wh == (width, 64)
    assert next(iter(video)).image_rgb.shape == (64, width, 3)


def test_what_cannot_be_decoded_is_left_out_and_counted(write_clip: WriteClip) -> None:
    path = write_clip(codec="mjpeg", name="clip.avi")
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        damaged = [packet for packet in container.demux(video=0) if packet.size][20]
        place, size = (damaged.pos or 0) + 8, damaged.size
    path.write_bytes(whole[:place] + bytes(size) + whole[place + size :])

    with VideoFile(path) as video:
        indices = [frame.index for frame in video]

    assert video.damaged == 1
    assert indices == [index for index in range(50) if index != 20]


def test_a_file_that_breaks_off_gives_what_there_is(write_clip: WriteClip) -> None:
    path = write_clip("clip.mkv", times_s=[i / 5 for i in range(50)], codec="mpeg4")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with VideoFile(path) as video:
        frames = list(video)

    assert 10 < len(frames) < 40
    assert video.truncated is not None
    assert video.truncated.startswith("ends after ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.mp4", "no such file"),
        ("empty.mp4", "an empty file"),
        ("noise.mp4", "cannot be read as a video: it is another kind of file, damaged or cut"),
        ("cut.mp4", "cannot be read as a video: it is another kind of file, damaged or cut"),
        ("notes.txt", "not a video; for pictures there is 'mien analyze'"),
        ("photo.jpg", "not a video; for pictures there is 'mien analyze'"),
        ("folder", "a folder, not a video"),
        ("song.mp4", "only sound, no pictures in it"),
        ("newer.mp4", "its codec is not known here; convert it, as to H.264 in MP4"),
    ],
)
def test_what_is_no_video_is_told_in_one_line(
    write_clip: WriteClip, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / "cut.mp4").write_bytes(write_clip().read_bytes()[:2000])
    (tmp_path / "newer.mp4").write_bytes(write_clip().read_bytes().replace(b"avc1", b"avc9"))
    (tmp_path / "notes.txt").write_text("good morning\n" * 50)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    with av.open(str(tmp_path / "song.mp4"), "w") as song:
        stream = song.add_stream("aac", rate=16_000, layout="mono")
        song.mux([*stream.encode(silence()), *stream.encode(None)])

    with pytest.raises(MediaError) as raised:
        VideoFile(tmp_path / name)

    assert str(raised.value).startswith(f"{tmp_path / name}: {reason}")
    assert "\n" not in str(raised.value)


def silence() -> av.AudioFrame:
    wave = np.zeros((1, 1024), np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = 16_000
    return frame


def test_a_playlist_does_not_reach_the_network(tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")

    with pytest.raises(MediaError, match="cannot be read"):
        VideoFile(playlist)


def test_a_start_behind_the_last_frame_is_told_though_sound_goes_on(write_clip: WriteClip) -> None:
    path = write_clip(times_s=(0.0, 0.1, 0.2), sound="aac", sound_s=2.0)
    video = VideoFile(path, start_s=1)

    with pytest.raises(MediaError, match=r"ends at 0\.\d+ s, it cannot start at 1 s"):
        list(video)


def test_a_start_behind_the_end_is_told(write_clip: WriteClip) -> None:
    with pytest.raises(MediaError, match=r"ends at 2\.00 s, it cannot start at 9 s"):
        VideoFile(write_clip(), start_s=9)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"every": 0}, "every must be"),
        ({"fps": 0}, "fps must be"),
        ({"every": 2, "fps": 5}, "choose one"),
        ({"start_s": -1}, "start_s must be"),
        ({"start_s": 2, "end_s": 2}, "end_s must be"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VideoFile(tmp_path / "any.mp4", **settings)
