from dataclasses import replace

import numpy as np
import pytest

from mien.audit import find_non_faces
from mien.data import ExpressionDataset


@pytest.fixture(scope="module")
def with_text(faces: ExpressionDataset) -> ExpressionDataset:
    """Faces of which three are stripes, one of these by its votes, and one is of one colour."""
    images = faces.images.copy()
    stripes = np.tile([[0, 255, 0], [255, 0, 255]], (24, 16)).astype(np.uint8)
    images[[4, 9, 11]] = stripes, stripes.T, stripes[::-1]
    images[20] = 7
    votes = np.zeros((len(faces), 10), np.uint8)
    votes[:, 0] = 10
    votes[9] = [0] * 9 + [10]
    return replace(faces, images=images, votes=votes)


def test_stripes_are_flagged_and_faces_are_not(with_text: ExpressionDataset) -> None:
    found = find_non_faces(with_text, threads=1)
    assert set(found.flagged.tolist()) == {4, 9, 11}
    assert found.voted_non_faces == 1
    assert set(found.flagged.tolist()) <= set(found.ranked.tolist())
    assert (np.diff(found.scores) >= 0).all()
    assert found.face_space.values[20] == 0
    assert found.face_space.values[4] > 2 * np.median(found.face_space.values)


def test_without_votes_nothing_is_said_of_them(with_text: ExpressionDataset) -> None:
    few = replace(with_text, votes=None).take([0, 1, 4, 20])
    found = find_non_faces(few, threads=1)
    assert found.voted_non_faces is None
    assert found.face_space.values.shape == (4,)


def test_flat_pictures_alone(faces: ExpressionDataset) -> None:
    flat = replace(faces.take([0, 1]), images=np.zeros((2, 48, 48), np.uint8))
    assert len(find_non_faces(flat, threads=1).ranked) == 0
