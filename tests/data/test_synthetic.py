import numpy as np
import pytest

from mien.data.synthetic import synthetic_faces


def test_the_same_seed_gives_the_same_faces() -> None:
    first, second, other = (synthetic_faces(30, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.images, second.images)
    assert not np.array_equal(first.images, other.images)


def test_all_splits_and_classes_are_there() -> None:
    faces = synthetic_faces(140, votes=True)
    assert faces.images.dtype == np.uint8
    for split in faces.splits:
        assert min(faces.split(split).counts().values()) >= 2
    assert faces.votes is not None
    assert set(faces.votes.sum(axis=1)) == {10}


def test_the_class_can_be_seen() -> None:
    """The nearest class mean, a far simpler model than any here, is right on most."""
    faces = synthetic_faces(700)
    train, test = faces.split("Training"), faces.split("PublicTest")
    pixels = train.images.reshape(len(train), -1).astype(np.float64)
    means = np.stack([pixels[train.labels == label].mean(axis=0) for label in range(7)])
    found = test.images.reshape(len(test), -1).astype(np.float64)
    nearest = ((found[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == test.labels).mean() > 0.5


def test_too_few_faces() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        synthetic_faces(9)
