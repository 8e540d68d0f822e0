import json

import numpy as np
import pytest

from mien.errors import ModelError
from mien.evaluation.parity import measure_parity

CLASSES = ("calm", "glad", "sad")
LABELS = np.array([0, 0, 1, 1, 2, 2])


def test_one_reading_of_six_is_lost() -> None:
    before = 4 * np.eye(3, dtype=np.float32)[LABELS]
    after = before.copy()
    after[5] = (5, 0, 4)

    parity = measure_parity(before, after, LABELS, CLASSES)

    assert parity.count == 6
    assert (parity.before.accuracy, parity.before.macro_f1) == (1, 1)
    assert parity.after.accuracy == parity.agreement == pytest.approx(5 / 6)
    assert parity.after.macro_f1 == pytest.approx((4 / 5 + 1 + 2 / 3) / 3)
    assert parity.lost_points == pytest.approx(100 / 6)
    assert (parity.difference.only_first, parity.difference.only_second) == (1, 0)
    assert parity.difference.is_noise
    assert parity.mean_logit_change == pytest.approx(5 / 18)
    assert parity.largest_logit_change == 5
    assert parity.after.ece > parity.before.ece
    assert json.loads(json.dumps(parity.to_dict()))["after"]["accuracy"] == parity.after.accuracy


def test_what_changes_no_reading_changes_calibration() -> None:
    before = np.eye(3, dtype=np.float32)[LABELS]

    parity = measure_parity(before, 3 * before, LABELS, CLASSES)

    assert parity.agreement == 1
    assert parity.lost_points == 0
    assert parity.after.ece < parity.before.ece


@pytest.mark.parametrize("which", [0, 1])
def test_answers_that_are_not_numbers_are_told(which: int) -> None:
    forms = [np.zeros((6, 3), np.float32), np.zeros((6, 3), np.float32)]
    forms[which][2, 1] = np.nan

    with pytest.raises(ModelError, match=("first", "second")[which]):
        measure_parity(forms[0], forms[1], LABELS, CLASSES)


def test_both_forms_must_have_read_the_same_faces() -> None:
    with pytest.raises(ValueError, match="same faces"):
        measure_parity(np.zeros((6, 3)), np.zeros((5, 3)), LABELS, CLASSES)
