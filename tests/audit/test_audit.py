import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.audit import audit, find_label_errors
from mien.data import ExpressionDataset, load_fer2013
from mien.errors import DataError


def test_what_is_wrong_is_counted(flawed: ExpressionDataset) -> None:
    told: list[str] = []
    found = audit(flawed, watch=told.append)
    assert (found.exact.surplus, found.exact.groups, found.exact.conflicting) == (4, 3, 2)
    assert [group.tolist() for group in found.conflicts()] == [[0, 1], [2, 3, 4]]
    assert found.leaks()["Training", "PublicTest"][0] == 1
    assert found.flat.tolist() == [7]
    assert found.near is not None
    pairs = {tuple(pair) for pair in found.near.pairs.tolist()}
    assert {(6, 81), (8, 9)} <= pairs
    assert found.near_surplus is not None
    assert found.near_surplus >= 2
    assert told == ["looking for copies", "looking for near copies", "looking for faces"]


def test_the_facts_are_json(flawed: ExpressionDataset) -> None:
    facts = json.loads(json.dumps(audit(flawed).to_dict()))
    assert facts["images"] == 100
    assert facts["exact_duplicates"]["members"][0][1] == {
        "index": 1,
        "name": "row 2",
        "split": "Training",
        "label": flawed.classes[flawed.labels[1]],
    }
    assert {"split": "PublicTest", "of": "Training"}.items() <= facts["leaks"][0].items()
    assert facts["near_duplicates"]["pairs"][0]["correlation"] > 0.95
    assert facts["flat"][0]["name"] == "row 8"
    assert 7 in facts["outliers"]["contrast"]["low"]
    assert facts["label_errors"] is None


def test_what_is_not_looked_for_is_none(flawed: ExpressionDataset) -> None:
    found = audit(flawed, near=False, non_faces=False)
    assert found.near is None
    assert found.near_surplus is None
    assert found.non_faces is None
    assert found.copies is found.exact
    assert found.leaks()["Training", "PublicTest"] == (1, None)
    facts = found.to_dict()
    assert facts["near_duplicates"] is None
    assert facts["non_faces"] is None


def test_label_errors_are_part_of_it(flawed: ExpressionDataset) -> None:
    certain = np.eye(len(flawed.classes))[flawed.labels]
    certain[0] = np.roll(certain[0], 1)
    errors = find_label_errors(flawed, 0.9 * certain + 0.1 / certain.shape[1], source="certainty")

    found = replace(audit(flawed, near=False, non_faces=False), label_errors=errors)

    assert found.to_dict()["label_errors"]["source"] == "certainty"
    assert errors.ranking[0] == 0
    assert [index for index, _ in errors.surer_than(0.5) if index] == []
    assert errors.surer_than(0.95) == []


def test_no_images(flawed: ExpressionDataset) -> None:
    with pytest.raises(DataError, match="nothing to audit"):
        audit(flawed.take([]))


@pytest.mark.real_data
def test_the_known_flaws_of_fer2013() -> None:
    named = os.environ.get("MIEN_FER2013")
    if not named or not Path(named).exists():
        pytest.skip("$MIEN_FER2013 names no data")
    dataset = load_fer2013(named)
    both = dataset.take((dataset.split_codes < 2).nonzero()[0])
    found = audit(both, near=False, non_faces=False)
    assert found.exact.surplus == 1533
    assert found.exact.groups == 1274
    assert len(found.conflicts()) == found.exact.conflicting == 48
    assert found.leaks()["Training", "PublicTest"] == (280, None)
    assert len(found.flat) == 12
