import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.preprocess import (
    FER2013_CROP,
    FREE_ROLL_DEG,
    align_face,
    crop_box,
    crop_face,
    resize_face,
    standardise,
    standardise_factors,
    to_gray,
)

TARGETS = np.array([FER2013_CROP.left_eye_xy, FER2013_CROP.right_eye_xy, FER2013_CROP.mouth_xy])


def face_points(
    side: float, *, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)
) -> npt.NDArray[np.float64]:
    """Landmarks of a face that fills a square of ``side`` as FER2013 frames it, turned."""
    left_eye, right_eye, mouth = (TARGETS - 0.5) * side
    half_mouth = np.array([side / 8, 0])
    points = np.array([left_eye, right_eye, (0, 0), mouth - half_mouth, mouth + half_mouth])
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turned: npt.NDArray[np.float64] = points @ np.array([[cosine, sine], [-sine, cosine]])
    turned += side / 2 + np.array(shift)
    return turned


def smooth_picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width] / 96
    waves: npt.NDArray[Any] = 127 + 60 * np.sin(5 * x + 3 * y) + 60 * np.cos(7 * y - 2 * x)
    return waves.astype(np.uint8)


def test_a_face_framed_already_is_cut_as_it_is() -> None:
    picture = smooth_picture(48, 48)
    np.testing.assert_array_equal(align_face(picture, face_points(48), FER2013_CROP), picture)
    np.testing.assert_array_equal(resize_face(picture), picture)


@pytest.mark.parametrize("angle", [-170, -90, -30, -5, 12, 60])
def test_a_turned_face_comes_out_upright(angle: float) -> None:
    large = Image.fromarray(smooth_picture(480, 480))
    turned = np.asarray(large.rotate(-angle, Image.Resampling.BICUBIC))
    upright = align_face(np.asarray(large), face_points(240, shift=(120, 120)), FER2013_CROP)
    points = face_points(240, angle=angle, shift=(120, 120))
    crop = align_face(turned, points, FER2013_CROP)
    assert np.abs(crop.astype(int) - upright).mean() < 2


@pytest.mark.parametrize("side", [10, 47, 96, 311, 1500])
@pytest.mark.parametrize("angle", [0, 20])
def test_points_land_where_the_geometry_says(side: int, angle: float) -> None:
    points = face_points(side, angle=angle, shift=(40, 30))
    picture = np.zeros((side + 80, side + 80), np.float64)
    y, x = np.mgrid[: side + 80, : side + 80] + 0.5
    spot = side / 24
    for px, py in (points[0], points[1], points[3:].mean(axis=0)):
        picture += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * spot**2))
    crop = align_face((picture * 200).astype(np.uint8), points, FER2013_CROP, size=96)
    for target_x, target_y in TARGETS * 96:
        left, top = int(target_x) - 8, int(target_y) - 8
        spot_window = crop[top : top + 16, left : left + 16].astype(float)
        ys, xs = np.mgrid[top : top + 16, left : left + 16] + 0.5
        found = (spot_window * xs).sum(), (spot_window * ys).sum()
        centre = np.array(found) / spot_window.sum()
        np.testing.assert_allclose(centre, (target_x, target_y), atol=0.8 if side > 10 else 3)


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (1100, 550))
    crop = align_face(stripes, face_points(900, angle=3, shift=(100, 100)), FER2013_CROP)
    assert np.abs(crop.astype(int) - 127).max() < 12


@pytest.mark.parametrize("angle", [0, 25])
def test_beyond_the_border_the_edge_goes_on(angle: float) -> None:
    picture = np.full((60, 60), 200, np.uint8)
    crop = align_face(picture, face_points(96, angle=angle, shift=(-50, 20)), FER2013_CROP)
    assert crop.shape == (48, 48)
    assert (crop == 200).all()


@pytest.mark.parametrize("shift", [(-500, -500), (500, 0), (0, 900)])
def test_a_face_wholly_outside_is_still_a_crop(shift: tuple[float, float]) -> None:
    crop = align_face(smooth_picture(50, 60), face_points(80, shift=shift), FER2013_CROP)
    assert crop.shape == (48, 48)


def test_a_head_turned_aside_keeps_its_size() -> None:
    points = face_points(96)
    points[:, 0] = 48 + (points[:, 0] - 48) * 0.5
    picture = np.zeros((96, 96), np.uint8)
    picture[70:80] = 255
    plain = align_face(picture, face_points(96), FER2013_CROP)
    aside = align_face(picture, points, FER2013_CROP)
    assert abs(int((plain > 127).sum()) - int((aside > 127).sum())) < 0.35 * (plain > 127).sum()


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((5, 2)),
        np.full((5, 2), np.nan),
        face_points(48) * (1, -1),
        np.zeros((4, 2)),
        # A line down from both eyes, almost: the crop that fits it would be larger than memory.
        np.array([(0, 0), (1e-3, 0), (0, 0), (5e5, 1e-3), (5e5, 1e-3)]),
    ],
)
def test_points_of_no_face_are_refused(points: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        align_face(smooth_picture(48, 48), points, FER2013_CROP)


@pytest.mark.parametrize("shift", [(60, 40), (-50, 20)], ids=["inside", "beyond the edge"])
@pytest.mark.parametrize("angle", [5, 40], ids=["upright", "turned"])
def test_colours_give_the_crop_of_their_grey_levels(shift: tuple[int, int], angle: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (200, 240, 3), np.uint8)
    points = face_points(96, angle=angle, shift=shift)

    crop = crop_face(rgb, BOX, points, FER2013_CROP)

    np.testing.assert_array_equal(crop, crop_face(to_gray(rgb), BOX, points, FER2013_CROP))
    np.testing.assert_array_equal(crop_box(rgb, BOX), crop_box(to_gray(rgb), BOX))


def test_crop_box_squares_about_the_middle() -> None:
    picture = smooth_picture(100, 100)
    box = np.array([26, 20, 74, 60], np.float32)
    np.testing.assert_array_equal(crop_box(picture, box), picture[16:64, 26:74])


def test_crop_box_refuses_one_without_area() -> None:
    with pytest.raises(ValueError, match="no area"):
        crop_box(smooth_picture(9, 9), np.array([5, 5, 5, 9], np.float32))


@pytest.mark.parametrize("shape", [(90, 140), (140, 90), (30, 140), (140, 30)])
def test_resize_face_does_not_squeeze(shape: tuple[int, int]) -> None:
    middle_y, middle_x = shape[0] / 2, shape[1] / 2
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    disc = np.hypot(y - middle_y, x - middle_x) < 12
    crop = resize_face((disc * 200).astype(np.uint8)) > 100
    width, height = crop.any(axis=0).sum(), crop.any(axis=1).sum()
    assert crop[24, 24]
    assert abs(int(width) - int(height)) <= 1
    assert width == pytest.approx(24 * 48 / 140, abs=1.5)


def test_resize_face_goes_on_at_the_edges() -> None:
    wide = np.repeat(np.array([[10], [200]], np.uint8), 60, axis=0).repeat(480, axis=1)
    crop = resize_face(wide)
    assert (crop[:17] == 10).all()
    assert (crop[-17:] == 200).all()
    tall = resize_face(wide.T)
    assert (tall[:, :17] == 10).all()
    assert (tall[:, -17:] == 200).all()


@pytest.mark.parametrize("shape", [(10, 40_000), (40_000, 10)])
def test_a_long_thin_picture_takes_little_memory(shape: tuple[int, int]) -> None:
    picture = np.full(shape, 77, np.uint8)
    tracemalloc.start()
    try:
        crop = resize_face(picture)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (crop == 77).all()
    assert peak < 30 * picture.nbytes


def test_gray_is_luma() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    assert to_gray(colours).tolist() == [[76, 150, 29, 9]]


def test_standardise_scales_and_shifts() -> None:
    faces = np.array([[[0, 255]]], np.uint8)
    np.testing.assert_allclose(standardise(faces, mean=0.5, std=0.25), [[[[-2, 2]]]])
    scale, shift = standardise_factors(mean=0.5, std=0.25)
    assert 255 * scale + shift == pytest.approx(2)
    with pytest.raises(ValueError, match="std"):
        standardise_factors(mean=0.5, std=0)


def test_a_face_is_cut_by_its_landmarks_or_else_by_its_box() -> None:
    image = np.random.default_rng(2).integers(0, 256, (90, 120)).astype(np.uint8)
    box = np.array([20.0, 10.0, 80.0, 70.0])
    points = np.array([[38, 32], [62, 33], [50, 45], [42, 58], [58, 58]], np.float64)
    by_box = crop_box(image, box)

    by_points = crop_face(image, box, points, FER2013_CROP)

    as_rolled = align_face(image, points, FER2013_CROP, free_roll_deg=FREE_ROLL_DEG)
    np.testing.assert_array_equal(by_points, as_rolled)
    assert (by_points != by_box).any()
    np.testing.assert_array_equal(crop_face(image, box, None, FER2013_CROP), by_box)
    np.testing.assert_array_equal(crop_face(image, box, 0 * points, FER2013_CROP), by_box)


@pytest.mark.parametrize(("angle", "left"), [(-12, -12), (20, 20), (35, 20), (-80, -20)])
def test_a_face_is_turned_by_what_its_roll_exceeds(angle: float, left: float) -> None:
    """Where the points lie in the crop: rolled by the free roll, and no more."""
    picture = np.zeros((400, 400), np.uint8)
    points = face_points(200, angle=angle, shift=(100, 100))
    for point in points[:2]:
        x, y = np.rint(point).astype(int)
        picture[y - 4 : y + 4, x - 4 : x + 4] = 255
    crop = align_face(picture, points, FER2013_CROP, size=100, free_roll_deg=20)
    rows, columns = np.nonzero(crop > 128)
    left_eye, right_eye = columns < 50, columns >= 50
    width = columns[right_eye].mean() - columns[left_eye].mean()
    height = rows[right_eye].mean() - rows[left_eye].mean()
    assert np.degrees(np.arctan2(height, width)) == pytest.approx(left, abs=1.5)
    assert np.hypot(width, height) == pytest.approx(36.8, abs=1)


BOX = np.array([5.0, 5, 40, 40])


@pytest.mark.parametrize("size_wh", [(48, 48), (200, 200), (220, 200)])
def test_a_picture_that_is_a_face_crop_is_not_cut_again(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    picture = smooth_picture(height, width)
    points = face_points(0.9 * height, angle=10, shift=(0.04 * width, 0.08 * height))
    crop = crop_face(picture, BOX, points, FER2013_CROP)
    np.testing.assert_array_equal(crop, resize_face(picture))


@pytest.mark.parametrize(
    ("pixels", "side", "angle", "shift"),
    [
        *[(60, 60, 0, (7, 0)), (60, 42, 0, (9, 9)), (60, 88, 0, (-14, -14)), (60, 60, 30, (0, 0))],
        *[(48, 48, 0, (10, 0)), (48, 25, 0, (12, 12)), (48, 96, 0, (-24, -24))],
        (48, 48, 30, (0, 0)),
    ],
)
def test_a_face_framed_otherwise_is_cut(
    pixels: int, side: float, angle: float, shift: tuple[float, float]
) -> None:
    picture = smooth_picture(pixels, pixels)
    points = face_points(side, angle=angle, shift=shift)
    crop = crop_face(picture, BOX, points, FER2013_CROP)
    expected = align_face(picture, points, FER2013_CROP, free_roll_deg=FREE_ROLL_DEG)
    np.testing.assert_array_equal(crop, expected)
    assert (crop != resize_face(picture)).any()


@pytest.mark.parametrize(("pixels", "cut_anew"), [(40, False), (48, False), (49, True)])
@pytest.mark.parametrize(("ratio", "shift"), [(1.0, 0.15), (1.5, -0.25), (0.7, 0.15)])
def test_a_picture_without_pixels_to_spare_may_be_framed_freely(
    pixels: int, cut_anew: bool, ratio: float, shift: float
) -> None:
    picture = smooth_picture(pixels, pixels)
    points = face_points(ratio * pixels, shift=(shift * pixels, shift * pixels))
    crop = crop_face(picture, BOX, points, FER2013_CROP)
    assert (crop != resize_face(picture)).any() == cut_anew


def test_a_long_picture_is_no_face_crop() -> None:
    picture = smooth_picture(48, 96)
    points = face_points(80, shift=(8, -16))
    crop = crop_face(picture, BOX, points, FER2013_CROP)
    np.testing.assert_array_equal(crop, align_face(picture, points, FER2013_CROP))
