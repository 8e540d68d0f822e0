import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.occlusion import occlude


def answers_by_the_mouth(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Two classes; the second is the more probable the brighter the lower right corner is."""
    second = crops[:, 36:, 36:].mean(axis=(1, 2)) / 255
    return np.stack([1 - second, second], axis=1).astype(np.float32)


def test_the_place_that_the_answer_hangs_on_stands_out() -> None:
    crop = np.full((48, 48), 40, np.uint8)
    crop[36:, 36:] = 200

    top_class, falls = occlude(answers_by_the_mouth, crop)

    assert top_class == 1
    assert falls.shape == (48, 48)
    assert falls.dtype == np.float32
    row, column = divmod(int(falls.argmax()), 48)
    assert min(row, column) >= 44
    assert falls[:24, :24].max() == 0
    # Covered whole, the corner has the crop's mean grey: 50.
    assert falls[-1, -1] == pytest.approx((200 - 50) / 255, abs=0.01)


@pytest.mark.parametrize("side", [12, 47, 48, 112])
def test_every_pixel_is_covered_whatever_the_size(side: int) -> None:
    def falls_when_touched(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        same = (crops == crops[-1]).all(axis=(1, 2))
        return np.stack([same, ~same], axis=1).astype(np.float32)

    crop = np.arange(side * side).reshape(side, side).astype(np.uint8) | np.uint8(1)
    _, falls = occlude(falls_when_touched, crop)
    assert np.isfinite(falls).all()
    assert (falls > 0).all()


def test_what_is_no_crop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W\) uint8"):
        occlude(answers_by_the_mouth, np.zeros((2, 48, 48), np.uint8))


def test_another_class_is_watched_on_demand() -> None:
    crop = np.full((48, 48), 40, np.uint8)
    crop[36:, 36:] = 200
    _, falls = occlude(answers_by_the_mouth, crop, patch=10, stride=7)

    watched, rises = occlude(answers_by_the_mouth, crop, watched=0, patch=10, stride=7)

    assert watched == 0
    np.testing.assert_allclose(rises, -falls, atol=1e-6)
    for patch, stride in ((49, 4), (4, 5), (4, 0)):
        with pytest.raises(ValueError, match="expected 1 <= stride <= patch <= 48"):
            occlude(answers_by_the_mouth, crop, patch=patch, stride=stride)
