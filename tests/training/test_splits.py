from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mien.data.balance import VARIED, balance
from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import DataError
from mien.training import Recipe
from mien.training.splits import learning_splits, pixel_scale, prepare_splits


def test_training_faces_are_cleaned_then_shared_then_balanced(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    twice = faces.take(np.concatenate([np.arange(len(faces)), np.arange(len(faces))]))
    recipe = make_recipe(data={"clean": True, "fraction": 0.5, "balance": 20})

    training, validation = learning_splits(recipe, twice)

    assert set(training.counts().values()) == {20}
    originals = {name for name in training.names if "varied" not in name}
    assert len(originals) == 7 * 16, "half of 32 a class, once each"
    assert len(validation) == 2 * len(faces.split("PublicTest")), "what is chosen on stays"


def test_classes_are_merged_in_both(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(data={"classes": ["happy", "other=sad+angry+fear"]})

    for part in learning_splits(recipe, faces):
        assert part.classes == ("happy", "other")
        assert min(part.counts().values()) > 0


def test_faces_are_held_out_where_none_are_for_validation(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(data={"hold_out": 0.25})
    alone = faces.split("Training")

    training, validation = learning_splits(recipe, alone)
    assert validation.counts() == {name: n // 4 for name, n in alone.counts().items()}
    assert not set(training.names) & set(validation.names)
    again = prepare_splits(recipe, alone).split("PublicTest")
    np.testing.assert_array_equal(again.names, validation.names)
    other = prepare_splits(replace(recipe, seed=1), alone).split("PublicTest")
    assert set(other.names) != set(validation.names)

    training, _ = learning_splits(recipe, faces)
    assert len(training) == len(alone), "there are validation faces, so all others train"
    with pytest.raises(DataError, match=r"hold_out=0\.2"):
        learning_splits(make_recipe(), alone)


def test_votes_must_be_there_where_asked_for(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(data={"votes": 0.5})

    with pytest.raises(DataError, match=r"fer2013new\.csv with --votes"):
        learning_splits(recipe, faces)
    learning_splits(recipe, synthetic_faces(70, votes=True))


def test_unit_scaling_leaves_grey_levels_from_0_to_1(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    assert pixel_scale(make_recipe(data={"scaling": "unit"}), faces) == (0.0, 1.0)
    mean, std = pixel_scale(make_recipe(), faces)
    assert mean == pytest.approx(faces.images.mean() / 255)
    assert std == pytest.approx(faces.images.std() / 255)


def test_copies_are_not_held_out_from_their_originals(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    alone = faces.split("Training")
    doubled = alone.take(np.concatenate([np.arange(len(alone)), np.arange(len(alone))]))
    varied = balance(alone, 40)
    for data in ({"hold_out": 0.25}, {"hold_out": 0.25, "clean": True}):
        for dataset in (doubled, varied):
            training, validation = learning_splits(make_recipe(data=data), dataset)

            origins = [
                {name.partition(VARIED)[0] for name in p.names} for p in (training, validation)
            ]
            assert not origins[0] & origins[1]
            assert min(validation.counts().values()) > 0


def test_nothing_left_is_told_before_training(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    one = faces.take(np.concatenate([np.full(20, 0), np.flatnonzero(faces.split_codes == 1)]))
    labels = one.labels.copy()
    labels[:10] = 3
    with pytest.raises(DataError, match="after cleaning"):
        learning_splits(make_recipe(data={"clean": True}), replace(one, labels=labels))
    few = faces.take([int(np.flatnonzero(faces.labels == label)[0]) for label in range(7)])
    with pytest.raises(DataError, match="too few PublicTest images would be held out"):
        learning_splits(make_recipe(data={"hold_out": 0.2}), few)
