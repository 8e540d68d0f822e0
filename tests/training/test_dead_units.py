"""Networks that die in training are told of; those that live are not."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.data.dataset import ExpressionDataset
from mien.training import Recipe, train


def train_dense(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    folder: Path,
    *,
    dense_norm: bool,
    lr: float,
) -> None:
    recipe = make_recipe(
        epochs=2,
        model={
            "name": "plain",
            "widths": [8, 8],
            "convolutions": [1, 1],
            "dense": [32],
            "dense_norm": dense_norm,
        },
        optimizer={"name": "adam", "lr": lr},
    )
    train(recipe, faces, folder, device="cpu")


def test_a_dense_layer_that_dies_is_told_once(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="mien"):
        train_dense(faces, make_recipe, tmp_path, dense_norm=False, lr=0.1)

    (told,) = [record.getMessage() for record in caplog.records]
    assert "of 32 units of dense layers are dead" in told
    assert int(told.split()[0]) > 16
    assert "model.dense_norm=true" in told


def test_normalised_dense_layers_are_never_told_of(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="mien"):
        train_dense(faces, make_recipe, tmp_path, dense_norm=True, lr=1.0)

    assert not caplog.records
