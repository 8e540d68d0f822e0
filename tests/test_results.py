import json
import pickle
from dataclasses import replace

import pytest

from mien.errors import ModelError
from mien.expressions import UNCERTAIN
from mien.results import FACE_COLUMNS, Face, FrameResult, Probabilities

HAPPY = Probabilities(("happy", "sad"), (0.75, 0.25))
POINTS = ((1.0, 1.0), (3.0, 1.0), (2.0, 2.0), (1.0, 3.0), (3.0, 3.0))
FACE = Face(box_xyxy=(0.0, 0.0, 4.0, 5.0), score=0.9, landmarks=POINTS, probabilities=HAPPY)


def test_probabilities_are_a_mapping_in_class_order() -> None:
    assert list(HAPPY) == ["happy", "sad"]
    assert HAPPY["sad"] == 0.25
    assert HAPPY.top == "happy"
    assert "fear" not in HAPPY
    assert hash(HAPPY) == hash(Probabilities(("happy", "sad"), (0.75, 0.25)))
    assert pickle.loads(pickle.dumps(HAPPY)) == HAPPY
    with pytest.raises(KeyError):
        HAPPY["fear"]
    with pytest.raises(ValueError, match="2 names for 1"):
        Probabilities(("happy", "sad"), (1.0,))


def test_a_face_knows_its_expression() -> None:
    assert (FACE.expression, FACE.confidence, FACE.area) == ("happy", 0.75, 20)


def test_a_face_is_checked() -> None:
    with pytest.raises(ValueError, match="no area"):
        Face(box_xyxy=(4, 0, 4, 5), score=1, landmarks=None, probabilities=HAPPY)
    with pytest.raises(ValueError, match="5 landmarks"):
        Face(box_xyxy=(0, 0, 4, 5), score=1, landmarks=POINTS[:4], probabilities=HAPPY)


def test_a_result_is_frozen_and_plain() -> None:
    result = FrameResult(source="a.jpg", size_wh=(8, 9), faces=(FACE,))
    assert (result.expression, result.probabilities) == ("happy", HAPPY)
    with pytest.raises(AttributeError):
        result.source = "b.jpg"  # type: ignore[misc]
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_result_comes_back_from_its_json() -> None:
    bare = replace(FACE, landmarks=None, uncertain_below=0.8)
    for faces in ((FACE, bare), ()):
        result = FrameResult(source="a.jpg", size_wh=(8, 9), faces=faces)
        assert FrameResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "a"},
        {"source": "a", "size_wh": [1], "faces": []},
        {"source": "a", "size_wh": [1, 2], "faces": None},
        {"source": "a", "size_wh": [1, 2], "faces": [{}]},
        {"source": "a", "size_wh": [1, 2], "faces": [FACE.to_dict() | {"landmarks": [1]}]},
        {"source": "a", "size_wh": [1, 2], "faces": [FACE.to_dict() | {"probabilities": [1]}]},
        {"source": "a", "size_wh": [1, 2], "faces": [FACE.to_dict() | {"score": "high"}]},
    ],
)
def test_json_that_is_no_result(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"to_dict|unpack|float"):
        FrameResult.from_dict(wrong)


def test_records_are_flat_one_a_face() -> None:
    records = FrameResult(source="a.jpg", size_wh=(8, 9), faces=(FACE, FACE)).to_records()
    assert [record["face"] for record in records] == [0, 1]
    assert records[0]["right"] == 4
    assert records[0]["sad"] == 0.25


def test_no_face_is_an_empty_result_with_a_row() -> None:
    result = FrameResult(source="a.jpg", size_wh=(8, 9))
    assert (result.expression, result.probabilities) == (None, None)
    assert (result.expression, result.confidence, result.probabilities) == (None, None, None)
    (row,) = result.to_records()
    assert {name for name, value in row.items() if value is None} == {"face", *FACE_COLUMNS}
    assert (row["source"], row["width"], row["height"]) == ("a.jpg", 8, 9)


def test_a_class_does_not_take_the_column_of_something_else() -> None:
    names = ("face", "left", "none", "nose_x", "smoothed_none")
    probabilities = Probabilities(names, (0.2, 0.5, 0.1, 0.15, 0.05))
    face = Face((10.0, 1.0, 20.0, 9.0), 0.5, None, probabilities)

    (row,) = FrameResult("a.jpg", (30, 30), (face,)).to_records()

    assert (row["face"], row["left"]) == (0, 10.0)
    assert (row["class_face"], row["class_left"], row["none"]) == (0.2, 0.5, 0.1)
    assert (row["class_nose_x"], row["class_smoothed_none"]) == (0.15, 0.05), "video's have those"


def test_too_improbable_an_expression_is_not_told() -> None:
    at_limit, below = (replace(FACE, uncertain_below=limit) for limit in (0.75, 0.76))

    assert (at_limit.expression, at_limit.is_uncertain) == ("happy", False)
    assert (below.expression, below.is_uncertain) == (UNCERTAIN, True)
    assert (below.confidence, below.probabilities) == (0.75, HAPPY), "as they were"
    assert not FACE.is_uncertain
    assert below.to_dict() == {**FACE.to_dict(), "expression": UNCERTAIN, "uncertain_below": 0.76}
    result = FrameResult(source="a.jpg", size_wh=(8, 9), faces=(below,))
    assert result.expression == UNCERTAIN
    (record,) = result.to_records()
    assert (record["expression"], record["confidence"]) == (UNCERTAIN, 0.75)
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_limit_is_a_probability() -> None:
    for limit in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="uncertain_below must be 0 to 1"):
            replace(FACE, uncertain_below=limit)


def test_a_class_of_that_name_cannot_be_mistaken() -> None:
    own = replace(FACE, probabilities=Probabilities((UNCERTAIN, "sad"), (0.6, 0.4)))

    assert (own.expression, own.is_uncertain) == (UNCERTAIN, False)
    with pytest.raises(ModelError, match="of its own"):
        replace(own, uncertain_below=0.5)
