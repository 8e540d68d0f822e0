from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.preprocess import standardise
from mien.training import Recipe
from mien.training.batches import (
    EvaluationBatches,
    Faces,
    FeatureBatches,
    TrainingBatches,
    epoch_seed,
)
from mien.training.recipe import RefineConfig

STANDARD: dict[str, Any] = {"mean": 0.4, "std": 0.25}


@pytest.fixture
def on_cpu(faces: ExpressionDataset) -> Faces:
    return Faces(faces, torch.device("cpu"))


def test_training_and_analysis_see_identical_arrays(
    faces: ExpressionDataset, on_cpu: Faces, make_recipe: Callable[..., Recipe]
) -> None:
    analysed = standardise(faces.images, **STANDARD)

    evaluated = torch.cat([f for f, _ in EvaluationBatches(on_cpu, batch_size=100, **STANDARD)])
    np.testing.assert_array_equal(evaluated.numpy(), analysed)

    batches = TrainingBatches(on_cpu, make_recipe(), epoch=0, **STANDARD)
    seen, _ = next(iter(batches))
    where = [int(np.abs(analysed - face.numpy()).sum(axis=(1, 2, 3)).argmin()) for face in seen]
    np.testing.assert_allclose(seen.numpy(), analysed[where], atol=1e-5)


def test_evaluation_leaves_nothing_out(faces: ExpressionDataset, on_cpu: Faces) -> None:
    batches = EvaluationBatches(on_cpu, batch_size=64, **STANDARD)

    labels = torch.cat([labels for _, labels in batches])

    assert len(batches) == 5
    np.testing.assert_array_equal(labels.numpy(), faces.labels)


def test_order_and_variation_depend_on_seed_and_epoch_alone(
    on_cpu: Faces, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(augment={"flip": 0.5, "rotation_deg": 10, "noise": 0.1})

    def first(epoch: int, recipe: Recipe = recipe) -> torch.Tensor:
        return next(iter(TrainingBatches(on_cpu, recipe, epoch=epoch, **STANDARD)))[0]

    torch.manual_seed(1)
    once = first(4)
    torch.manual_seed(2)
    assert torch.equal(once, first(4))
    assert not torch.equal(once, first(5))
    assert not torch.equal(once, first(4, make_recipe(seed=1)))


def test_an_epoch_shows_each_face_once(on_cpu: Faces, make_recipe: Callable[..., Recipe]) -> None:
    batches = TrainingBatches(on_cpu, make_recipe(batch_size=40), epoch=0, **STANDARD)

    seen = torch.cat([faces for faces, _ in batches])

    assert len(batches) == 7
    assert len(seen) == 280
    assert len({face.numpy().tobytes() for face in seen}) == 280


def test_labels_stay_with_their_faces(
    faces: ExpressionDataset, on_cpu: Faces, make_recipe: Callable[..., Recipe]
) -> None:
    analysed = standardise(faces.images, **STANDARD)
    batches = TrainingBatches(on_cpu, make_recipe(batch_size=16), epoch=2, **STANDARD)

    seen, labels = next(iter(batches))

    where = [int(np.abs(analysed - face.numpy()).sum(axis=(1, 2, 3)).argmin()) for face in seen]
    np.testing.assert_array_equal(faces.labels[where], labels.numpy())


def test_early_epochs_are_smaller(on_cpu: Faces, make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(progressive={"size": 32, "epochs": 2})

    sizes = [
        next(iter(TrainingBatches(on_cpu, recipe, epoch=epoch, **STANDARD)))[0].shape[-1]
        for epoch in range(3)
    ]

    assert sizes == [32, 32, 48]


def test_the_last_epochs_only_flip_unless_said(
    faces: ExpressionDataset, on_cpu: Faces, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(epochs=3, refine_epochs=1, augment={"flip": 0.5, "rotation_deg": 10})
    plain = standardise(faces.images, **STANDARD)
    known = {round(float(face.sum()), 1) for face in plain}  # a mirrored face has the same sum

    def unchanged(epoch: int) -> float:
        seen, _ = next(iter(TrainingBatches(on_cpu, recipe, epoch=epoch, **STANDARD)))
        return float(np.mean([round(float(face.sum()), 1) in known for face in seen]))

    assert unchanged(1) < 0.5
    assert unchanged(2) > 0.8
    recipe = replace(recipe, refine=RefineConfig(rotation_deg=5))
    assert unchanged(2) < 0.5


def test_a_set_smaller_than_a_batch_is_one_batch(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    few = Faces(faces.take(range(10)), torch.device("cpu"))

    batches = list(TrainingBatches(few, make_recipe(), epoch=0, **STANDARD))

    assert [len(labels) for _, labels in batches] == [10]


def test_neighbouring_seeds_share_no_epoch() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(5) for epoch in range(1000)}

    assert len(seeds) == 5000


def test_balanced_sampling_shows_every_class_as_often(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    few = faces.take([*np.flatnonzero(faces.labels != 1), *np.flatnonzero(faces.labels == 1)[:2]])
    on_cpu = Faces(few, torch.device("cpu"))
    recipe = make_recipe(data={"sampling": "balanced"})

    seen = torch.cat(
        [
            labels
            for epoch in range(10)
            for _, labels in TrainingBatches(on_cpu, recipe, epoch=epoch, **STANDARD)
        ]
    )

    shares = torch.bincount(seen) / len(seen)
    torch.testing.assert_close(shares, torch.full((7,), 1 / 7), atol=0.03, rtol=0)


def test_votes_have_their_share_of_the_target(make_recipe: Callable[..., Recipe]) -> None:
    voted = synthetic_faces(70, votes=True)
    recipe = make_recipe(data={"votes": 0.25})
    on_cpu = Faces(voted, torch.device("cpu"), voting=recipe.data)

    _, targets = next(iter(TrainingBatches(on_cpu, recipe, epoch=0, **STANDARD)))

    assert targets.shape == (32, 7)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(32))
    assert (targets.amax(dim=1) >= 0.75).all()
    assert (targets.amax(dim=1) < 1).any()


def test_features_come_in_the_order_of_faces(
    on_cpu: Faces, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe()
    features = torch.arange(len(on_cpu))[:, None].float()
    batches = FeatureBatches(features, on_cpu.targets, on_cpu.labels, recipe, epoch=3)

    for (ours, labels), (_, theirs) in zip(
        batches, TrainingBatches(on_cpu, recipe, epoch=3, **STANDARD), strict=True
    ):
        assert torch.equal(labels, theirs)
        assert torch.equal(on_cpu.labels[ours[:, 0].long()], labels)


def test_mixed_faces_have_soft_targets_until_refining(
    on_cpu: Faces, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(epochs=3, refine_epochs=1, augment={"mixup": 0.4})

    targets = [
        next(iter(TrainingBatches(on_cpu, recipe, epoch=epoch, **STANDARD)))[1] for epoch in (0, 2)
    ]

    assert targets[0].shape[1:] == (7,)
    assert 0 < float(targets[0].max(dim=1).values.min()) < 1
    assert targets[1].ndim == 1
