from dataclasses import replace

import numpy as np
import pytest

from mien.audit import find_non_faces
from mien.data import ExpressionDataset


@pytest.fixture(scope="module")
def with_noise(faces: ExpressionDataset) -> ExpressionDataset:
    """Faces of which three are noise, one of these no face to its voters, and one is flat."""
    images = faces.images.copy()
    images[[4, 9, 11]] = np.random.default_rng(0).integers(0, 256, (3, 48, 48))
    images[20] = 7
    votes = np.zeros((len(faces), 10), np.uint8)
    votes[:, 0] = 10
    votes[9] = [0] * 9 + [10]
    return replace(faces, images=images, votes=votes)


def test_noise_is_flagged(with_noise: ExpressionDataset) -> None:
    found = find_non_faces(with_noise, threads=1)
    assert {4, 9} <= set(found.flagged.tolist())
    assert 11 in found.ranked  # far from face space; the network alone doubts
    assert 11 not in found.flagged
    assert len(found.flagged) < 20  # cartoons are no faces to the network, yet near face space
    assert found.voted_non_faces == 1
    assert set(found.flagged.tolist()) <= set(found.ranked.tolist())
    assert (np.diff(found.scores) >= 0).all()
    assert found.face_space.values[20] == 0
    assert found.face_space.values[4] > 2 * np.median(found.face_space.values)


def test_without_votes_nothing_is_said_of_them(with_noise: ExpressionDataset) -> None:
    few = replace(with_noise, votes=None).take([0, 1, 4, 20])
    found = find_non_faces(few, threads=1)
    assert found.voted_non_faces is None
    assert found.face_space.values.shape == (4,)


def test_flat_pictures_alone(faces: ExpressionDataset) -> None:
    flat = replace(faces.take([0, 1]), images=np.zeros((2, 48, 48), np.uint8))
    assert len(find_non_faces(flat, threads=1).ranked) == 0
