import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.analysis.mtcnn import MtcnnDetector, _cut

ImageRgb = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector(threads=1)


def test_finds_the_face_and_its_points(detector: MtcnnDetector, astronaut_rgb: ImageRgb) -> None:
    found = detector.detect(astronaut_rgb)
    assert found.landmarks is not None
    best = found.landmarks[0]
    assert found.scores[0] > 0.99
    np.testing.assert_allclose(best[0], (204, 101), atol=4)
    np.testing.assert_allclose(best[1], (247, 103), atol=4)
    left, top, right, bottom = found.boxes_xyxy[0]
    np.testing.assert_allclose((left, top, right, bottom), (179, 68, 266, 174), atol=15)
    left_eye, right_eye, nose, left_mouth, right_mouth = best
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


def test_finds_the_same_place_in_a_larger_picture(
    detector: MtcnnDetector, astronaut_rgb: ImageRgb
) -> None:
    large = np.asarray(Image.fromarray(astronaut_rgb).resize((1536, 1536)))
    small_points = detector.detect(astronaut_rgb).landmarks
    large_points = detector.detect(large).landmarks
    assert small_points is not None
    assert large_points is not None
    np.testing.assert_allclose(large_points[0], small_points[0] * 3, atol=9)


def test_a_picture_without_a_face_is_empty(detector: MtcnnDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    assert len(detector.detect(noise)) == 0
    assert len(detector.detect(np.zeros((120, 90, 3), np.uint8))) == 0


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 400, 3), (400, 5, 3), (12, 12, 3), (19, 21, 3)])
def test_pictures_too_small_for_a_face_are_empty(
    detector: MtcnnDetector, shape: tuple[int, ...]
) -> None:
    assert len(detector.detect(np.full(shape, 90, np.uint8))) == 0


def test_a_face_at_the_border_is_found(detector: MtcnnDetector, astronaut_rgb: ImageRgb) -> None:
    found = detector.detect(np.ascontiguousarray(astronaut_rgb[75:300, 180:400]))
    assert len(found)
    assert found.boxes_xyxy[0, 1] < 5


def test_min_face_leaves_out_smaller_ones(astronaut_rgb: ImageRgb) -> None:
    assert len(MtcnnDetector(min_face=300, threads=1).detect(astronaut_rgb)) == 0


@pytest.mark.parametrize("bad", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_other_arrays_are_refused(detector: MtcnnDetector, bad: ImageRgb) -> None:
    with pytest.raises(ValueError, match="uint8"):
        detector.detect(bad)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="min_face"):
        MtcnnDetector(min_face=5)
    with pytest.raises(ValueError, match="thresholds"):
        MtcnnDetector(thresholds=(0.6, 0.7, 7))


def test_cuts_hold_the_box_and_grey_beyond_the_border() -> None:
    picture = Image.fromarray(np.full((40, 60, 3), (10, 20, 30), np.uint8))
    inside = np.array([12, 8, 36, 32], np.float32)
    cuts = _cut([picture], np.stack((inside, inside - (24, 8, 24, 8), inside + 100)), 24)
    np.testing.assert_array_equal(cuts[0], np.full((24, 24, 3), (10, 20, 30)))
    np.testing.assert_array_equal(cuts[1, :, 12:], np.full((24, 12, 3), (10, 20, 30)))
    np.testing.assert_array_equal(cuts[1, :, :12], np.full((24, 12, 3), 127))
    np.testing.assert_array_equal(cuts[2], np.full((24, 24, 3), 127))


def test_the_smallest_face_by_default_grows_with_large_pictures(detector: MtcnnDetector) -> None:
    for size_wh, first_wh in (((640, 480), (320, 240)), ((2560, 1920), (640, 480))):
        assert detector._pyramid(Image.new("RGB", size_wh), None)[1].size == first_wh


def test_a_face_is_found_again_near_where_it_was(
    detector: MtcnnDetector, astronaut_rgb: ImageRgb
) -> None:
    found = detector.detect(astronaut_rgb)
    box = found.boxes_xyxy[0]
    nowhere, beyond = np.array([[10, 300, 90, 400], [-300, -300, -200, -200]])
    refined, sources = detector.refine(astronaut_rgb, np.stack((nowhere, box + 6, beyond)))

    assert sources.tolist() == [1]
    assert refined.landmarks is not None
    assert found.landmarks is not None
    np.testing.assert_allclose(refined.landmarks[0], found.landmarks[0], atol=4)
    np.testing.assert_allclose(refined.boxes_xyxy[0], box, atol=12)


def test_boxes_of_one_face_are_refined_to_one(
    detector: MtcnnDetector, astronaut_rgb: ImageRgb
) -> None:
    box = detector.detect(astronaut_rgb).boxes_xyxy[0]
    refined, sources = detector.refine(astronaut_rgb, np.stack((box + 15, box, box - 15)))

    assert len(refined) == len(sources) == 1


def test_nothing_is_refined_to_nothing(detector: MtcnnDetector, astronaut_rgb: ImageRgb) -> None:
    assert len(detector.refine(astronaut_rgb, np.empty((0, 4)))[0]) == 0
    with pytest.raises(ValueError, match="boxes_xyxy"):
        detector.refine(astronaut_rgb, np.zeros(4))


def test_the_smallest_face_is_set_for_one_picture(
    detector: MtcnnDetector, astronaut_rgb: ImageRgb
) -> None:
    assert len(detector.detect(astronaut_rgb, min_face=300)) == 0
    assert len(detector.detect(astronaut_rgb)) > 0
