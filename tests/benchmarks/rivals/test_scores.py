"""Words of other packages as our expressions, and what they score."""

import numpy as np
import pytest

from mien.expressions import EXPRESSIONS
from scores import UNKNOWN, score_readings, to_column

#: The words of each package, in its own order: from deepface's EMOTION_LABELS, fer's _get_labels
#: and the idx_to_class of EmotiEffLib and hsemotion-onnx.
WORDS = {
    "deepface": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    "emotiefflib": (
        *("Anger", "Contempt", "Disgust", "Fear"),
        *("Happiness", "Neutral", "Sadness", "Surprise"),
    ),
}


@pytest.mark.parametrize("package", WORDS)
def test_every_expression_has_a_word_of_its_own(package: str) -> None:
    columns = [to_column(word) for word in WORDS[package] if word != "Contempt"]

    assert sorted(columns) == list(range(len(EXPRESSIONS)))


def test_another_expression_is_none_of_ours() -> None:
    assert to_column("Contempt") == to_column("uncertain") == to_column("None") == UNKNOWN


def test_scores_count_what_is_none_of_the_seven_as_wrong() -> None:
    labels = np.array([3, 3, 4, 4])

    score = score_readings(["Happiness", "happy", "sad", "Contempt"], labels)

    assert score.accuracy == 0.75
    # happy 1, sad 2·1 / (1 given + 2 there) = 2/3; contempt has no faces and is no class
    assert score.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert (score.faces, score.unknown) == (4, 1)
    assert score.interval[0] < 0.75 < score.interval[1]


def test_a_reading_that_lacks_is_told() -> None:
    with pytest.raises(ValueError, match="1 readings of 2 faces"):
        score_readings(["happy"], np.array([3, 4]))
