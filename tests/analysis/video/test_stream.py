import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.analyzer import Analyzer
from mien.analysis.detector import Detections, WholeImageDetector
from mien.analysis.mtcnn import MtcnnDetector
from mien.analysis.video.frames import VideoFrame
from mien.analysis.video.stream import (
    FrameReader,
    StreamSettings,
    is_live,
    read_source,
    read_video,
)
from mien.errors import MediaError

ImageRgb = npt.NDArray[np.uint8]


def moving_face(photo: ImageRgb, count: int, *, fps: float = 25) -> list[VideoFrame]:
    """A clip in which the astronaut's face goes right by 2 pixels a frame."""
    face = photo[20:236, 120:336]
    frames = []
    for index in range(count):
        image = np.full((240, 400, 3), 90, np.uint8)
        left = 24 + 2 * index
        image[12:228, left : left + 216] = face
        frames.append(VideoFrame(index, index / fps, image))
    return frames


@pytest.fixture(scope="module")
def clip(astronaut_rgb: ImageRgb) -> list[VideoFrame]:
    return moving_face(astronaut_rgb, 16)


def test_a_face_is_followed_with_few_searches(analyzer: Analyzer, clip: list[VideoFrame]) -> None:
    reader = FrameReader(analyzer, source="clip")
    results = [reader.read(frame) for frame in clip]

    assert [len(result.faces) for result in results] == [1] * len(clip)
    assert {result.faces[0].track for result in results} == {1}
    assert reader.searched <= 5
    for frame, result in zip(clip, results, strict=True):
        assert (result.source, result.index, result.time_s) == ("clip", frame.index, frame.time_s)
        assert result.size_wh == (400, 240)
        points = np.array(result.faces[0].face.landmarks)
        np.testing.assert_allclose(points[0], (108 + 2 * frame.index, 93), atol=5)


def test_searching_every_frame_reads_what_analyze_reads(
    tiny_model: Path, clip: list[VideoFrame]
) -> None:
    analyzer = Analyzer(tiny_model, min_face=40, threads=1)
    reader = FrameReader(analyzer, settings=StreamSettings(detect_every_s=0))
    for frame in clip[:3]:
        (alone,) = analyzer.analyze(frame.image_rgb, colour="rgb").faces
        (tracked,) = reader.read(frame).faces
        assert tracked.face.box_xyxy == alone.box_xyxy
        assert tracked.face.landmarks == alone.landmarks
        assert tracked.face.probabilities == alone.probabilities


def test_frames_of_ones_own_are_followed(analyzer: Analyzer, clip: list[VideoFrame]) -> None:
    reader, own = FrameReader(analyzer, source="frames"), analyzer.follow()
    for frame in clip[:4]:
        bgr = frame.image_rgb[:, :, ::-1]
        assert own.read_image(bgr, time_s=frame.time_s, colour="bgr") == reader.read(frame)

    again = analyzer.follow()
    again.restore(json.loads(json.dumps(own.state())))
    assert again.read_image(clip[4].image_rgb, time_s=0.16, colour="rgb").index == 4
    with pytest.raises(ValueError, match="channel order"):
        own.read_image(clip[4].image_rgb, time_s=0.16)


def test_a_face_that_appears_is_found_and_one_that_leaves_is_not_kept(
    analyzer: Analyzer, clip: list[VideoFrame]
) -> None:
    empty = np.full_like(clip[0].image_rgb, 90)
    images = [empty] * 3 + [frame.image_rgb for frame in clip[:12]] + [empty] * 3
    reader = FrameReader(analyzer, settings=StreamSettings(detect_every_s=0.2))
    frames = (VideoFrame(index, index / 25, image) for index, image in enumerate(images))
    counts = [len(reader.read(frame).faces) for frame in frames]

    assert counts[:3] == [0, 0, 0]
    assert counts[9:15] == [1] * 6
    assert counts[15:] == [0, 0, 0]


def test_a_cut_is_searched_at_once_and_brings_new_people(
    analyzer: Analyzer, clip: list[VideoFrame], astronaut_rgb: ImageRgb
) -> None:
    reader = FrameReader(analyzer)
    reader.read(clip[0])
    reader.read(clip[1])
    other = np.zeros((240, 400, 3), np.uint8)
    other[20:236, 180:396] = astronaut_rgb[20:236, 120:336][:, ::-1]
    result = reader.read(VideoFrame(2, 0.08, other))

    assert reader.searched == 2
    assert [face.track for face in result.faces] == [2]


def test_frames_far_apart_are_all_searched(analyzer: Analyzer, clip: list[VideoFrame]) -> None:
    reader = FrameReader(analyzer)
    frames = [VideoFrame(index, index / 3, clip[index].image_rgb) for index in range(3)]

    assert [len(reader.read(frame).faces) for frame in frames] == [1, 1, 1]
    assert reader.searched == 3


def test_a_restored_reader_goes_on_the_same(analyzer: Analyzer, clip: list[VideoFrame]) -> None:
    whole, first, second = (FrameReader(analyzer) for _ in range(3))
    expected = [whole.read(frame) for frame in clip]
    started = [first.read(frame) for frame in clip[:9]]
    second.restore(json.loads(json.dumps(first.state())))

    assert started + [second.read(frame) for frame in clip[9:]] == expected


def test_a_state_that_does_not_fit_is_refused(analyzer: Analyzer) -> None:
    reader = FrameReader(analyzer)
    for state, words in (({}, "not the state"), (reader.state() | {"tracker": 3}, "not the state")):
        with pytest.raises(ValueError, match=words):
            reader.restore(state)
    other = FrameReader(analyzer, settings=StreamSettings(smooth_s=2))
    with pytest.raises(ValueError, match="other settings"):
        other.restore(reader.state())


def test_a_detector_that_only_detects_searches_every_frame(tiny_model: Path) -> None:
    analyzer = Analyzer(tiny_model, detector=WholeImageDetector(), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (60, 50, 3)).astype(np.uint8)
    reader = FrameReader(analyzer)
    results = [reader.read(VideoFrame(index, index / 30, image)) for index in range(3)]

    assert reader.searched == 3
    assert [face.track for result in results for face in result.faces] == [1, 1, 1]


def test_faces_come_largest_first(tiny_model: Path) -> None:
    class TwoFaces:
        def detect(self, image_rgb: ImageRgb) -> Detections:
            assert image_rgb.shape == (60, 60, 3)
            boxes = np.array([[5, 5, 15, 17], [20, 5, 50, 45]], np.float32)
            return Detections(boxes, np.array([0.9, 0.8], np.float32))

    analyzer = Analyzer(tiny_model, detector=TwoFaces(), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    result = FrameReader(analyzer).read(VideoFrame(0, 0.0, image))

    assert [face.track for face in result.faces] == [2, 1]


def test_frames_are_read_while_the_next_are_decoded(
    analyzer: Analyzer, clip: list[VideoFrame]
) -> None:
    decoded = []

    def frames() -> Iterator[VideoFrame]:
        for frame in clip[:12]:
            decoded.append(frame.index)
            yield frame

    results = read_video(analyzer, frames(), source="clip.mp4")
    first = next(results)

    assert (first.source, first.index) == ("clip.mp4", 0)
    assert len(decoded) <= 6
    assert [result.index for result in results] == list(range(1, 12))


def test_the_state_between_results_is_that_of_the_last_one(
    analyzer: Analyzer, clip: list[VideoFrame]
) -> None:
    reader, alone = FrameReader(analyzer), FrameReader(analyzer)
    results = read_video(analyzer, clip, source="", reader=reader)
    for frame in clip[:3]:
        next(results)
        alone.read(frame)
        assert reader.state() == alone.state()
    with pytest.raises(ValueError, match="the reader's own"):
        read_video(analyzer, clip, source="", reader=reader, settings=StreamSettings())


def test_what_came_before_damage_is_given(analyzer: Analyzer, clip: list[VideoFrame]) -> None:
    def frames() -> Iterator[VideoFrame]:
        yield from clip[:2]
        raise MediaError("clip.mp4: damaged")

    results = read_video(analyzer, frames(), source="clip.mp4")

    assert [next(results).index, next(results).index] == [0, 1]
    with pytest.raises(MediaError, match="damaged"):
        next(results)


def test_decoding_stops_with_the_reader(analyzer: Analyzer, clip: list[VideoFrame]) -> None:
    decoded = []

    def frames() -> Iterator[VideoFrame]:
        for index in range(1000):
            decoded.append(index)
            yield clip[0]

    results = read_video(analyzer, frames(), source="")
    next(results)
    results.close()  # type: ignore[attr-defined]

    assert len(decoded) < 10


def test_cameras_and_addresses_are_live_and_files_are_not(tmp_path: Path) -> None:
    assert is_live(0)
    assert is_live("0")
    assert is_live("rtsp://camera.local/stream")
    assert not is_live("clip.mp4")
    assert not is_live(f"{tmp_path}/7")


def test_settings_and_options_out_of_range_are_refused(analyzer: Analyzer) -> None:
    with pytest.raises(ValueError, match="hold_s"):
        StreamSettings(hold_s=-1)
    with pytest.raises(ValueError, match="smooth_s must be finite"):
        StreamSettings(smooth_s=math.inf)
    with pytest.raises(ValueError, match="margin must be 0 to 1"):
        StreamSettings(margin=1.5)
    assert StreamSettings(detect_every_s=math.inf).margin <= 1
    with pytest.raises(ValueError, match="for files"):
        next(analyzer.stream("rtsp://camera.local/stream", every=2))


def test_a_file_that_breaks_off_is_told_in_the_log(
    tiny_model: Path, write_clip: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    analyzer = Analyzer(tiny_model, detector=WholeImageDetector(), threads=1)
    path = write_clip("clip.mkv", times_s=[i / 5 for i in range(50)], codec="mpeg4")
    with caplog.at_level(logging.WARNING):
        assert len(list(analyzer.stream(path, every=10))) == 5
    assert not caplog.messages
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with caplog.at_level(logging.WARNING):
        read = list(analyzer.stream(path, every=10))

    assert 1 < len(read) < 5
    (line,) = caplog.messages
    assert line.startswith(f"{path}: ends after ")


def test_the_smallest_face_that_was_asked_for_is_kept_to(
    tiny_model: Path, clip: list[VideoFrame]
) -> None:
    detector = MtcnnDetector(min_face=200, threads=1)
    analyzer = Analyzer(tiny_model, detector=detector, threads=1)

    assert FrameReader(analyzer).read(clip[0]).faces == ()


def test_what_is_live_has_no_frames_to_choose_and_its_password_is_not_told(
    analyzer: Analyzer,
) -> None:
    with pytest.raises(ValueError, match="are for files") as raised:
        next(read_source(analyzer, "rtsp://me:secret@door/live", every=2))

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("choice", [{"fps": 1}, {"every": 10}])
def test_people_of_scene_after_scene_are_told_apart_in_few_frames(
    tiny_model: Path, tmp_path: Path, choice: dict[str, Any]
) -> None:
    scenes = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3)).astype(np.uint8)
    path = tmp_path / "montage.mp4"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for patches in scenes:
            image = patches.repeat(20, axis=0).repeat(20, axis=1)
            for _ in range(10):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        output.mux(stream.encode(None))
    analyzer = Analyzer(tiny_model, detector=WholeImageDetector(), threads=1)

    results = list(read_source(analyzer, path, **choice))

    assert [face.track for result in results for face in result.faces] == [1, 2, 3, 4, 5]
