from dataclasses import replace

import numpy as np

from mien.data.dataset import ExpressionDataset
from mien.data.projection import project_faces


def test_coordinates_rebuild_the_faces(faces: ExpressionDataset) -> None:
    few = faces.take(range(20))
    projection = project_faces(few)
    assert projection is not None
    assert projection.indices.tolist() == list(range(20))
    pixels = few.images / 255.0
    rebuilt = np.tensordot(projection.coordinates, projection.eigenfaces, 1) + pixels.mean(axis=0)
    np.testing.assert_allclose(rebuilt, pixels, atol=1e-3)  # 19 components hold all of 20 faces
    np.testing.assert_allclose(projection.explained.sum(), 1, rtol=1e-4)
    assert (np.diff(projection.explained) <= 0).all()


def test_a_seed_draws_the_same_faces(faces: ExpressionDataset) -> None:
    one, again, other = (project_faces(faces, limit=100, seed=seed) for seed in (1, 1, 2))
    assert one is not None
    assert again is not None
    assert other is not None
    assert len(one.indices) == 100
    np.testing.assert_array_equal(one.coordinates, again.coordinates)
    assert (one.indices != other.indices).any()


def test_too_few_different_faces_are_none(faces: ExpressionDataset) -> None:
    assert project_faces(faces.take(range(3))) is None
    assert project_faces(faces.take(range(4))) is not None
    same = np.repeat(faces.images[:1], len(faces), axis=0)
    assert project_faces(replace(faces, images=same)) is None
