from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError, RecipeError
from mien.models import CLASSICAL, ClassicalConfig, ClassicalModel
from mien.models.classical import HogLogisticConfig, HogSvmConfig, PcaKnnConfig

#: Each baseline, small enough to be fitted in a second.
SMALL: list[ClassicalConfig] = [
    HogSvmConfig(landmarks=50),
    HogSvmConfig(kernel="linear", mirrored=False),
    HogLogisticConfig(landmarks=50),
    HogLogisticConfig(kernel="linear", mirrored=False),
    PcaKnnConfig(components=20, neighbours=5),
    PcaKnnConfig(components=20, neighbours=5, weights="uniform", metric="euclidean"),
]


def fit(config: ClassicalConfig, faces: ExpressionDataset, seed: int = 0) -> ClassicalModel:
    return config.fit(faces.images, faces.labels, seed, classes=faces.classes)


def accuracy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("config", SMALL, ids=str)
def test_every_baseline_learns_cartoons(config: ClassicalConfig, faces: ExpressionDataset) -> None:
    unseen = faces.split("PublicTest")

    logits = fit(config, faces.split("Training")).logits(unseen.images)

    assert logits.shape == (len(unseen), 7)
    assert logits.dtype == np.float32
    assert accuracy(logits, unseen.labels) > 0.5, "chance is 0.14"


@pytest.mark.parametrize("config", SMALL[::2], ids=str)
def test_the_same_seed_gives_the_same_model(
    config: ClassicalConfig, faces: ExpressionDataset
) -> None:
    training, unseen = faces.split("Training"), faces.split("PublicTest").images

    first, second = (fit(config, training, seed=4).logits(unseen) for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("config", SMALL, ids=str)
@pytest.mark.parametrize("shown", [(0, 6), (1, 3, 6)])
def test_a_class_without_training_faces_is_never_the_answer(
    config: ClassicalConfig, faces: ExpressionDataset, shown: tuple[int, ...]
) -> None:
    some = faces.take(np.flatnonzero(np.isin(faces.labels, shown)))

    logits = fit(config, some.split("Training")).logits(some.split("PublicTest").images)

    assert logits.shape[1] == 7
    assert set(logits.argmax(axis=1)) <= set(shown)
    assert accuracy(logits, some.split("PublicTest").labels) > 0.5


def test_the_temperature_makes_the_loss_mean_something(faces: ExpressionDataset) -> None:
    unseen = faces.split("PublicTest")
    model = fit(HogSvmConfig(landmarks=50), faces.split("Training"))

    def loss(temperature: float) -> float:
        logits = replace(model, temperature=temperature).logits(unseen.images)
        labels = torch.from_numpy(unseen.labels)
        return torch.nn.functional.cross_entropy(torch.from_numpy(logits), labels).item()

    assert loss(model.temperature) < loss(1.0) / 2, "distances alone are no logits"


def test_logistic_logits_are_log_probabilities(faces: ExpressionDataset) -> None:
    unseen = faces.split("PublicTest")

    logits = fit(HogLogisticConfig(kernel="linear"), faces.split("Training")).logits(unseen.images)

    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-5)
    loss = -logits[np.arange(len(unseen)), unseen.labels].mean()
    assert loss < 0.7, "guessing costs 1.95"


def test_the_optimiser_may_stop_early_without_a_word(
    faces: ExpressionDataset, recwarn: pytest.WarningsRecorder
) -> None:
    model = fit(HogLogisticConfig(kernel="linear", iterations=1), faces.split("Training"))

    assert model.pipeline.named_steps["logistic"].n_iter_ == 1
    assert not [warning for warning in recwarn if "converge" in str(warning.message)]


def test_votes_are_log_probabilities(faces: ExpressionDataset) -> None:
    training = faces.split("Training")

    logits = fit(PcaKnnConfig(components=20, neighbours=4, weights="uniform"), training).logits(
        faces.images
    )

    votes = np.exp(logits) * 5 - 1 / 7
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(votes, votes.round(), atol=1e-4)


def test_mirrored_faces_are_read_alike(faces: ExpressionDataset) -> None:
    training, unseen = faces.split("Training"), faces.split("PublicTest").images

    def change(mirrored: bool) -> float:
        model = fit(HogSvmConfig(kernel="linear", mirrored=mirrored), training)
        upright = torch.from_numpy(model.logits(unseen)).softmax(dim=1)
        turned = torch.from_numpy(model.logits(unseen[:, :, ::-1])).softmax(dim=1)
        return float((upright - turned).abs().mean())

    assert change(mirrored=True) < change(mirrored=False)


def test_parameters_are_the_numbers_stored(faces: ExpressionDataset) -> None:
    training = faces.split("Training")

    linear = fit(HogSvmConfig(kernel="linear"), training)
    knn = fit(PcaKnnConfig(components=20), training)

    assert linear.parameters == 7 * 900 + 7 + 7, "weights, biases and class numbers"
    mean, components, spectrum, classes = 2304, 20 * 2304, 3 * 20, 7
    assert knn.parameters == mean + components + spectrum + classes + len(training) * (20 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HogSvmConfig(orientations=0), "model.orientations: expected 1 or more, got 0"),
        (lambda: HogSvmConfig(C=0.0), "model.C: expected a number above 0"),
        (lambda: HogSvmConfig(gamma=-1.0), "model.gamma: expected a number above 0"),
        (lambda: HogSvmConfig(landmarks=0), "model.landmarks: expected 1 or more"),
        (lambda: HogSvmConfig(pixels_per_cell=20, cells_per_block=3), "leave 2 cells a side"),
        (lambda: HogLogisticConfig(C=0.0), "model.C: expected a number above 0"),
        (lambda: HogLogisticConfig(iterations=0), "model.iterations: expected 1 or more, got 0"),
        (lambda: PcaKnnConfig(neighbours=0), "model.neighbours: expected 1 or more"),
        (lambda: PcaKnnConfig(components=2305), "model.components: a face has 2304 pixels"),
    ],
)
def test_impossible_options_are_told(make: Callable[[], ClassicalConfig], message: str) -> None:
    with pytest.raises(RecipeError, match=r"^[^\n]+$") as error:
        make()

    assert message in str(error.value)


def test_too_few_faces_are_told(faces: ExpressionDataset) -> None:
    with pytest.raises(RecipeError, match=r"model\.components: there are 8 training faces, got 50"):
        fit(PcaKnnConfig(), faces.take(range(8)))
    with pytest.raises(RecipeError, match=r"model\.neighbours: there are 8 training faces"):
        fit(PcaKnnConfig(components=2), faces.take(range(8)))
    alike = faces.take(np.flatnonzero(faces.labels == 3))
    with pytest.raises(DataError, match="all training faces are of one class"):
        fit(HogSvmConfig(), alike)


def test_a_handful_of_faces_is_enough(faces: ExpressionDataset) -> None:
    model = fit(HogSvmConfig(), faces.take(range(3)))

    assert model.temperature == 1.0
    assert np.isfinite(model.logits(faces.images[:7])).all()


def test_the_registry_names_every_baseline() -> None:
    assert {type(config) for config in SMALL} == set(CLASSICAL.values())
