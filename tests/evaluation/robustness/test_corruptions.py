import numpy as np
import numpy.typing as npt
import pytest

from mien.data.dataset import ExpressionDataset
from mien.evaluation.robustness.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from mien.preprocess import FER2013_CROP

#: Those that leave nothing to chance.
FIXED = {"gaussian_blur", "jpeg", "contrast", "low_resolution", "sunglasses", "mask"}


@pytest.fixture(scope="module")
def images(faces: ExpressionDataset) -> npt.NDArray[np.uint8]:
    return faces.images[:24]


def flat(grey: int) -> npt.NDArray[np.uint8]:
    """Faces of one grey that differ in one corner pixel, and so in what chance does to them."""
    made = np.full((40, 48, 48), grey, np.uint8)
    made[:, 0, 0] = np.arange(40)
    return made


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_strength_does_more(name: str, images: npt.NDArray[np.uint8]) -> None:
    before = images.copy()
    changes = []
    for strength in STRENGTHS:
        damaged = corrupt(images, name, strength)
        assert damaged.shape == images.shape
        assert damaged.dtype == np.uint8
        changes.append(float(np.abs(damaged.astype(float) - images).mean()))

    assert changes[0] > 0.5
    assert changes == sorted(changes)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_face_is_damaged_alike_wherever_it_stands(
    name: str, images: npt.NDArray[np.uint8]
) -> None:
    whole = corrupt(images, name, 3)

    np.testing.assert_array_equal(corrupt(images[::-1], name, 3), whole[::-1])
    np.testing.assert_array_equal(corrupt(images[5:6], name, 3), whole[5:6])
    other = corrupt(images, name, 3, seed=1)
    assert np.array_equal(other, whole) == (name in FIXED)


def test_no_face_is_no_error() -> None:
    assert corrupt(np.empty((0, 48, 48), np.uint8), "hand", 1).shape == (0, 48, 48)


def test_levels_mean_what_they_say() -> None:
    grey = flat(128)
    inner = np.s_[:, 12:36, 12:36]

    noise = corrupt(grey, "gaussian_noise", 3)[inner].astype(float) - 128
    assert noise.std() == pytest.approx(18, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.5)

    assert set(np.unique(corrupt(grey, "brightness", 2)[inner])) == {128 - 45, 128 + 45}

    halves = flat(100)
    halves[:, :, 24:] = 200
    kept = np.ptp(corrupt(halves, "contrast", 1)[inner].astype(int), axis=(1, 2))
    assert set(kept) == {60}


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur", "low_resolution", "shift"])
def test_where_nothing_is_seen_nothing_changes(name: str) -> None:
    grey = np.full((3, 48, 48), 77, np.uint8)

    np.testing.assert_array_equal(corrupt(grey, name, 5), grey)


def test_a_shift_moves_a_dot_so_far() -> None:
    dots = np.zeros((30, 48, 48), np.uint8)
    dots[:, 23:25, 23:25] = 255
    dots[:, 0, 0] = np.arange(30)

    moved = corrupt(dots, "shift", 3).astype(float)
    moved[:, :8, :8] = 0  # where the corner pixel that tells the faces apart may be

    ys, xs = np.mgrid[:48, :48] - 23.5
    total = moved.sum(axis=(1, 2))
    places = np.stack([(moved * axis).sum(axis=(1, 2)) / total for axis in (xs, ys)])
    np.testing.assert_allclose(np.hypot(*places), 6, atol=0.7)
    assert (np.ptp(places, axis=1) > 6).all(), "in every direction"


def test_a_turned_face_is_turned_to_either_side() -> None:
    lines = np.zeros((30, 48, 48), np.uint8)
    lines[:, :, 22:26] = 255
    lines[:, 0, 0] = np.arange(30)

    turned = corrupt(lines, "rotation", 3)

    # Twelve pixels above and below the middle the line has left it by 12 · tan 18°.
    middles = turned[:, 12].argmax(axis=1), turned[:, 36].argmax(axis=1)
    offsets = (middles[0] - middles[1]) / 2
    np.testing.assert_allclose(np.abs(offsets), 12 * np.tan(np.radians(18)), atol=1)
    assert {-1, 1} == set(np.sign(offsets))


def test_things_lie_before_the_right_part_of_the_face(images: npt.NDArray[np.uint8]) -> None:
    def changed(name: str, strength: int) -> npt.NDArray[np.bool_]:
        both = [corrupt(np.full((1, 48, 48), grey, np.uint8), name, strength) for grey in (0, 255)]
        covered: npt.NDArray[np.bool_] = both[0][0] == both[1][0]
        return covered

    def pixel(xy: tuple[float, float]) -> tuple[int, int]:
        return int(48 * xy[1]), int(48 * xy[0])

    eyes = pixel(FER2013_CROP.left_eye_xy), pixel(FER2013_CROP.right_eye_xy)
    mouth = pixel(FER2013_CROP.mouth_xy)
    for strength in STRENGTHS:
        glasses, mask = changed("sunglasses", strength), changed("mask", strength)
        assert all(glasses[eye] for eye in eyes)
        assert not glasses[mouth]
        assert not glasses[:5].any()
        assert mask[mouth[0] + 3, mouth[1]]
        assert not any(mask[eye] for eye in eyes)
    assert mask[mouth]


def test_a_hand_is_a_square_of_the_mean_grey() -> None:
    grey = flat(90)
    grey[:, 24:] = 210

    hidden = corrupt(grey, "hand", 2)

    squares = [np.argwhere(face == 150) for face in hidden]
    assert all(len(square) == 14 * 14 for square in squares)
    corners = np.array([square.min(axis=0) for square in squares])
    assert all((np.ptp(square, axis=0) == 13).all() for square in squares)
    assert (corners.std(axis=0) > 5).all(), "at any place"


@pytest.mark.parametrize(
    ("name", "strength", "shape", "words"),
    [
        ("fog", 1, (1, 48, 48), "unknown corruption 'fog': expected one of gaussian_noise"),
        ("hand", 0, (1, 48, 48), "strength must be 1 to 5, got 0"),
        ("hand", 6, (1, 48, 48), "got 6"),
        ("hand", 1, (48, 48), r"expected uint8 \(N, 48, 48\)"),
        ("hand", 1, (1, 64, 64), r"got uint8 \(1, 64, 64\)"),
    ],
)
def test_what_cannot_be_done_is_told(
    name: str, strength: int, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        corrupt(np.zeros(shape, np.uint8), name, strength)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_lower_resolution_moves_nothing(strength: int, images: npt.NDArray[np.uint8]) -> None:
    damaged = corrupt(images, "low_resolution", strength)
    mirrored = corrupt(images[:, ::-1, ::-1], "low_resolution", strength)[:, ::-1, ::-1]

    assert np.abs(damaged.astype(int) - mirrored).max() <= 1
