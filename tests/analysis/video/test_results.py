import json
import pickle

import pytest

from mien.analysis.video.results import TrackedFace, TrackedFrame, record_columns
from mien.results import Face, Probabilities

CLASSES = ("happy", "sad")
LANDMARKS = ((1.0, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.5))


def tracked(
    smoothed: tuple[float, float] = (0.6, 0.4), expression: str = "happy", track: int = 1
) -> TrackedFace:
    face = Face((0.0, 1.0, 4.0, 6.0), 0.9, LANDMARKS, Probabilities(CLASSES, (0.2, 0.8)))
    return TrackedFace(track, face, Probabilities(CLASSES, smoothed), expression)


def frame(*faces: TrackedFace) -> TrackedFrame:
    return TrackedFrame("clip.mp4", 7, 0.28, (64, 48), faces)


def test_a_persons_box_is_that_of_the_face() -> None:
    assert tracked().box_xyxy == (0.0, 1.0, 4.0, 6.0)


def test_confidence_is_of_what_is_shown() -> None:
    assert tracked((0.4, 0.6), "happy").confidence == 0.4
    assert tracked((0.4, 0.6), "uncertain").confidence == 0.6


def test_a_row_has_raw_and_smoothed_probabilities_and_landmarks() -> None:
    (row,) = frame(tracked()).to_records()

    assert (row["frame"], row["time_s"], row["track"]) == (7, 0.28, 1)
    assert (row["sad"], row["smoothed_sad"], row["right_mouth_y"]) == (0.8, 0.4, 4.5)
    assert tuple(row) == record_columns(CLASSES)


def test_a_frame_without_a_face_is_a_row() -> None:
    (row,) = frame().to_records()

    assert row["frame"] == 7
    assert row["track"] is row["expression"] is row["left"] is None


def test_results_pickle_and_are_json() -> None:
    result = frame(tracked())

    assert pickle.loads(pickle.dumps(result)) == result
    assert json.loads(json.dumps(result.to_dict()))["faces"][0]["face"]["expression"] == "sad"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="from 1"):
        tracked(track=0)
    with pytest.raises(ValueError, match="different classes"):
        TrackedFace(1, tracked().face, Probabilities(("a", "b"), (0.5, 0.5)), "a")
