"""Figures of a package, and ratios paired by round."""

import json

import pytest

from measurement import Measurement, Ratio, paired_ratio
from mien.errors import MienError
from roster import PACKAGES


def test_ratios_are_of_the_same_round() -> None:
    # The second round was slow for both: the medians' ratio would be 2, and spread over rounds.
    ratio = paired_ratio([3.0, 30.0, 3.0], [1.0, 10.0, 1.5])

    assert ratio == Ratio(median=3.0, low=2.0, high=3.0)


def test_rounds_that_one_has_not_reached_do_not_count() -> None:
    assert paired_ratio([4.0], [2.0, 1.0]) == Ratio(median=2.0, low=2.0, high=2.0)
    assert paired_ratio([], [2.0]) is None


def test_a_failure_is_kept_and_does_not_spread() -> None:
    measurement = Measurement(package=PACKAGES[1])
    with measurement.isolated():
        measurement.add("face_ms", 2.0)
        raise MienError("its process ended with -11")

    assert measurement.failure == "its process ended with -11"
    assert measurement.median("face_ms") == 2.0
    assert measurement.median("photo_ms") is None
    assert json.loads(json.dumps(measurement.to_dict()))["times"] == {"face_ms": [2.0]}


def test_a_bug_is_not_taken_for_a_failure() -> None:
    with pytest.raises(KeyError), Measurement(package=PACKAGES[1]).isolated():
        raise KeyError("bug")
