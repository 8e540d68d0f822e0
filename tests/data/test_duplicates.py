from dataclasses import replace

import numpy as np

from mien.data.dataset import ExpressionDataset
from mien.data.duplicates import find_duplicates, group_copies, group_together


def test_faces_that_differ_are_no_duplicates(faces: ExpressionDataset) -> None:
    found = find_duplicates(faces)
    assert (found.surplus, found.groups, found.conflicting) == (0, 0, 0)
    assert not found.copies.any()
    assert found.group_of.tolist() == list(range(len(faces)))


def test_groups_copies_and_conflicts_are_counted(faces: ExpressionDataset) -> None:
    few = faces.take(range(8))
    images, labels = few.images.copy(), np.zeros(8, np.int64)
    images[1] = images[2] = images[5] = images[0]  # three in Training, one in PublicTest
    images[7] = images[6]  # within PublicTest, and labelled otherwise
    labels[7] = 1
    split_codes = np.array([0, 0, 0, 0, 0, 1, 1, 1], np.uint8)
    found = find_duplicates(replace(few, images=images, labels=labels, split_codes=split_codes))
    assert (found.surplus, found.groups, found.conflicting) == (4, 2, 1)
    assert found.copies.tolist() == [[2, 1, 0], [3, 1, 0], [0, 0, 0]]


def test_a_single_grey_level_is_a_difference(faces: ExpressionDataset) -> None:
    pair = faces.take([0, 0])
    assert find_duplicates(pair).surplus == 1
    images = pair.images.copy()
    images[1, 20, 20] ^= 1
    assert find_duplicates(replace(pair, images=images)).surplus == 0


def test_copies_share_a_group(faces: ExpressionDataset) -> None:
    assert group_copies(faces.images[[4, 1, 4, 2]]).tolist() == [0, 1, 0, 2]
    assert len(group_copies(faces.images[:0])) == 0


def test_links_of_either_kind_are_followed_in_chains() -> None:
    first = np.array([0, 0, 1, 2, 3, 3])
    second = np.array(["a", "b", "b", "c", "d", "c"])

    assert group_together(first, second).tolist() == [0, 0, 0, 3, 3, 3]
    assert len(group_together(first[:0], second[:0])) == 0
