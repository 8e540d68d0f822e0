import numpy as np
import numpy.typing as npt

from mien.analysis.boxes import shift_edges, square, suppress


def boxes(*rows: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_square_grows_the_shorter_side_about_the_middle() -> None:
    assert square(boxes((0, 0, 10, 4))).tolist() == [[0, -3, 10, 7]]


def test_shift_edges_is_in_sides() -> None:
    moved = shift_edges(boxes((0, 0, 10, 20)), boxes((0.1, 0.1, -0.1, 0)))
    np.testing.assert_allclose(moved, [[1, 2, 9, 20]], rtol=1e-6)


def test_suppress_keeps_the_best_of_overlapping_boxes_best_first() -> None:
    found = boxes((0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60))
    kept = suppress(found, np.array([0.8, 0.9, 0.95], np.float32), threshold=0.5)
    assert kept.tolist() == [2, 1]


def test_a_box_inside_another_goes_only_relative_to_the_smaller() -> None:
    found, scores = boxes((0, 0, 10, 10), (4, 4, 6, 6)), np.array([0.9, 0.8], np.float32)
    assert len(suppress(found, scores, threshold=0.7)) == 2
    assert len(suppress(found, scores, threshold=0.7, relative_to="smaller")) == 1


def test_suppress_in_blocks_is_as_box_by_box() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 200, (700, 2))
    sides = random.uniform(5, 40, (700, 2))
    found = np.concatenate((corners, corners + sides), axis=1).astype(np.float32)
    scores = random.random(700).astype(np.float32)
    kept = suppress(found, scores, threshold=0.3)
    slow: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if all(_iou(found[index], found[other]) <= 0.3 for other in slow):
            slow.append(int(index))
    assert kept.tolist() == slow


def test_nothing_to_suppress() -> None:
    assert suppress(boxes().reshape(0, 4), np.empty(0, np.float32), threshold=0.5).shape == (0,)


def _iou(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.maximum(sides, 0).prod())
    return common / (float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()) - common)
