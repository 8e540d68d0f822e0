import json

import numpy as np
import numpy.typing as npt

from mien.analysis.video.scenes import CutFinder

ImageRgb = npt.NDArray[np.uint8]


def scene(seed: int) -> ImageRgb:
    """A picture of large patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return patches.repeat(40, axis=0).repeat(40, axis=1)


def test_another_scene_is_a_cut_and_movement_is_none() -> None:
    finder = CutFinder()
    moving = [np.roll(scene(0), 3 * index, axis=1) for index in range(10)]

    assert [finder.is_cut(image) for image in moving] == [False] * 10
    assert finder.is_cut(scene(1))
    assert not finder.is_cut(scene(1))


def test_another_size_is_a_cut() -> None:
    finder = CutFinder()
    finder.is_cut(scene(0))

    assert finder.is_cut(scene(0)[:120])


def test_frames_that_all_differ_are_not_cut_after_cut() -> None:
    finder = CutFinder()
    cuts = [finder.is_cut(scene(seed)) for seed in range(6)]

    assert cuts == [False, True, False, False, False, False]


def test_frames_of_few_pixels_are_compared_too() -> None:
    finder = CutFinder()
    assert not finder.is_cut(np.zeros((1, 1, 3), np.uint8))
    assert finder.is_cut(np.full((1, 1, 3), 255, np.uint8))


def test_a_restored_state_sees_the_same_cut() -> None:
    first, second = CutFinder(), CutFinder()
    first.is_cut(scene(0))
    second.restore(json.loads(json.dumps(first.state())))

    assert second.is_cut(scene(1))
