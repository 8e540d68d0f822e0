from dataclasses import replace

import numpy as np
import pytest

from mien.audit import Audit, NearDuplicates, audit, repair
from mien.data import ExpressionDataset
from mien.data.duplicates import count_copies


@pytest.fixture(scope="module")
def exact_only(flawed: ExpressionDataset) -> Audit:
    return audit(flawed, near=False, non_faces=False)


def test_copies_are_merged_or_dropped(exact_only: Audit) -> None:
    changes = {change.index: change for change in repair(exact_only)}
    assert sorted(changes) == [0, 1, 3, 4, 5, 7]
    assert {changes[index].action for index in (0, 1)} == {"drop"}
    assert changes[0].reason.startswith("copies are labelled ")
    assert [(changes[index].action, changes[index].of) for index in (3, 4)] == [("merge", 2)] * 2
    assert changes[5].reason == "exact copy of a PublicTest face"
    assert (changes[5].action, changes[5].of, changes[5].name) == ("drop", 80, "row 6")
    assert changes[7].reason == "one flat colour"


def test_near_copies_of_held_out_faces_are_dropped(flawed: ExpressionDataset) -> None:
    changes = {change.index: change for change in repair(audit(flawed, non_faces=False))}
    assert (changes[6].action, changes[6].of) == ("drop", 81)
    assert changes[6].reason == "near copy of a PublicTest face"
    assert {8, 9} & set(changes)
    assert max(changes) < 80


def test_a_split_changes_only_when_it_is_named(flawed: ExpressionDataset) -> None:
    images = flawed.images.copy()
    images[90] = images[80]
    found = audit(replace(flawed, images=images), near=False, non_faces=False)
    alone = {change.index: change.of for change in repair(found, splits=["PublicTest"])}
    assert alone == {80: 90}
    both = {change.index for change in repair(found, splits=["Training", "PublicTest"])}
    assert {5, 80} <= both
    assert 90 not in both


def with_near(found: Audit, *pairs: tuple[int, int]) -> Audit:
    """Return an audit with just these near copies, all of one group."""
    group_of = np.arange(len(found))
    group_of[np.unique(pairs)] = np.min(pairs)
    near = NearDuplicates(
        pairs=np.array(pairs),
        correlations=np.full(len(pairs), 0.95, np.float32),
        mirrored=np.zeros(len(pairs), np.bool_),
        group_of=group_of,
        duplicates=count_copies(group_of, found.labels, found.split_codes),
    )
    return replace(found, near=near)


@pytest.mark.parametrize("pairs", [((10, 82), (82, 92)), ((82, 92), (10, 82))])
def test_a_face_is_not_left_out_for_one_that_is_left_out(
    exact_only: Audit, pairs: tuple[tuple[int, int], ...]
) -> None:
    found = with_near(exact_only, *pairs)
    changes = {change.index: change for change in repair(found, splits=["Training", "PublicTest"])}
    assert changes[82].of == 92
    assert 10 not in changes
    assert {change.index for change in repair(found)} & {10, 82, 92} == {10}


@pytest.mark.parametrize("same_label", [True, False])
def test_a_copy_of_copies_leaks_only_where_one_of_them_is_kept(
    flawed: ExpressionDataset, *, same_label: bool
) -> None:
    images, labels = flawed.images.copy(), flawed.labels.copy()
    images[[82, 83]] = images[10]
    labels[82] = labels[10]
    labels[83] = labels[10] if same_label else (labels[10] + 1) % 7
    found = audit(replace(flawed, images=images, labels=labels), near=False, non_faces=False)
    changes = {change.index: change for change in repair(found, splits=["PublicTest", "Training"])}
    if same_label:
        assert (changes[10].action, changes[10].of) == ("drop", 82)
        assert 82 not in changes
    else:
        assert {82, 83} <= set(changes)
        assert 10 not in changes


def test_a_copy_of_a_merged_face_leaks_to_the_one_that_is_kept(exact_only: Audit) -> None:
    same = np.full_like(exact_only.labels, 3)
    found = with_near(replace(exact_only, labels=same), (82, 83), (10, 83))
    changes = {change.index: change for change in repair(found, splits=["Training", "PublicTest"])}
    assert (changes[83].action, changes[83].of) == ("merge", 82)
    assert (changes[10].action, changes[10].of) == ("drop", 82)


def test_relabelling_counts_in_a_merge(exact_only: Audit) -> None:
    label = int(exact_only.labels[0])
    relabel = [(1, label), (22, 0), (22, 6), (21, int(exact_only.labels[21])), (99, 0)]
    changes = {change.index: change for change in repair(exact_only, relabel=relabel)}
    assert (changes[1].action, changes[1].of) == ("merge", 0)
    assert 0 not in changes
    assert (changes[22].action, changes[22].label) == ("relabel", exact_only.classes[6])
    assert changes[22].reason == f"labelled {exact_only.class_of(22)}"
    assert 21 not in changes
    assert 99 not in changes


def test_what_shows_no_face_is_dropped(flawed: ExpressionDataset) -> None:
    images = flawed.images.copy()
    images[30] = np.random.default_rng(0).integers(0, 256, (48, 48))
    found = audit(replace(flawed, images=images), near=False)
    changes = {change.index: change for change in repair(found)}
    assert changes[30].reason.startswith("no face: far from face space, face score 0.0")


def test_wrong_arguments(exact_only: Audit) -> None:
    with pytest.raises(ValueError, match="unknown split 'train'"):
        repair(exact_only, splits=["train"])
    with pytest.raises(ValueError, match="no image 100"):
        repair(exact_only, relabel=[(100, 0)])
