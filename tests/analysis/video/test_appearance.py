import numpy as np
import numpy.typing as npt

from mien.analysis.video.appearance import describe_faces
from mien.preprocess import crop_box, to_gray

ImageRgb = npt.NDArray[np.uint8]
BOX = np.array([179.0, 68, 266, 174])


def describe(image_rgb: ImageRgb, *boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    crops = np.stack([crop_box(to_gray(image_rgb), box) for box in boxes])
    return describe_faces(image_rgb, np.stack(boxes), crops)


def test_a_face_is_like_itself_moved_a_little_and_unlike_other_things(
    astronaut_rgb: ImageRgb,
) -> None:
    face, moved, elsewhere = describe(astronaut_rgb, BOX, BOX + 3, BOX + 150)

    np.testing.assert_allclose(np.linalg.norm([face, moved, elsewhere], axis=1), 1)
    assert face @ moved > 0.9
    assert face @ elsewhere < 0.5


def test_brightness_is_left_out(astronaut_rgb: ImageRgb) -> None:
    (face,) = describe(astronaut_rgb, BOX)
    (darker,) = describe((astronaut_rgb * 0.6).astype(np.uint8), BOX)

    assert face @ darker > 0.95


def test_faces_beyond_the_frame_and_of_one_colour_have_a_description() -> None:
    black = np.zeros((40, 50, 3), np.uint8)
    looks = describe(black, np.array([-20.0, -20, 10, 10]), np.array([60.0, 50, 90, 80]))

    assert np.isfinite(looks).all()
    assert describe_faces(black, np.empty((0, 4)), np.empty((0, 48, 48), np.uint8)).shape == (
        0,
        208,
    )
