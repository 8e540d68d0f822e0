from typing import Any

import numpy as np
import pytest

from mien.analysis.detector import Detections, WholeImageDetector


def test_whole_image_is_one_sure_face() -> None:
    found = WholeImageDetector().detect(np.zeros((30, 40, 3), np.uint8))
    assert found.boxes_xyxy.tolist() == [[0, 0, 40, 30]]
    assert found.scores.tolist() == [1]
    assert found.landmarks is None


def test_empty_has_no_faces() -> None:
    assert len(Detections.empty()) == 0


@pytest.mark.parametrize(
    ("boxes", "landmarks", "named"),
    [((2, 3), None, "boxes_xyxy"), ((3, 4), None, "boxes_xyxy"), ((2, 4), (2, 4, 2), "landmarks")],
)
def test_shapes_are_checked(
    boxes: tuple[int, ...], landmarks: tuple[int, ...] | None, named: str
) -> None:
    points = None if landmarks is None else np.zeros(landmarks, np.float32)
    with pytest.raises(ValueError, match=named):
        Detections(np.zeros(boxes, np.float32), np.zeros(2, np.float32), points)


@pytest.mark.parametrize(
    ("boxes", "score", "kind", "told"),
    [
        ([[0, 0, 9, 9]], 0.5, TypeError, "boxes_xyxy: expected an array, got list"),
        (np.array([[0, 0, 9, np.nan]]), 0.5, ValueError, "boxes_xyxy: expected numbers"),
        (np.array([[0, 0, 9, 9]]), 99, ValueError, "scores: expected 0 to 1"),
    ],
)
def test_what_is_no_face_found_is_refused(
    boxes: Any, score: float, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        Detections(boxes, np.array([score], np.float32))
