from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import ExpressionDataset
from mien.training import Recipe
from mien.training.lr_range import LearningRateRange, lr_range_test


def seen(losses: list[float], *, diverged: bool = False) -> LearningRateRange:
    rates = np.geomspace(1e-5, 1.0, len(losses))
    return LearningRateRange(rates=rates, losses=np.array(losses), diverged=diverged)


def test_the_suggestions_are_read_off_the_curve() -> None:
    # A loss that falls around 1e-3, is lowest at 1e-1 and rises after it.
    powers = np.linspace(-5, 0, 101)
    losses = 2 - np.tanh(2 * (powers + 3)) + 8 * np.clip(powers + 1, 0, None) ** 2
    losses -= 0.02 * np.clip(powers, None, -1)

    found = seen(list(losses))

    assert found.steepest == pytest.approx(1e-3, rel=0.2)
    assert found.tenth_of_lowest == pytest.approx(1e-2, rel=0.5)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    found = seen([1.0 + step / 10 for step in range(20)])

    assert found.steepest is None
    assert found.tenth_of_lowest is None


def test_smoothing_keeps_what_is_level_and_does_not_lag() -> None:
    assert seen([1.5] * 30).smoothed == pytest.approx(1.5)
    valley = seen(list(np.abs(np.linspace(-1, 1, 101))))
    assert valley.smoothed.argmin() == 50


def test_the_range_of_a_real_network(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe()

    found = lr_range_test(recipe, faces, lowest=1e-4, highest=1.0, steps=40, device="cpu")
    again = lr_range_test(recipe, faces, lowest=1e-4, highest=1.0, steps=40, device="cpu")
    found.draw(tmp_path / "curve.png")

    assert found.rates[0] == pytest.approx(1e-4)
    assert found.rates[1] / found.rates[0] == pytest.approx(found.rates[-1] / found.rates[-2])
    assert len(found.losses) == len(found.rates) == 40, "more batches than an epoch has"
    assert found.losses[0] == pytest.approx(np.log(7), abs=0.8)
    assert np.array_equal(found.losses, again.losses)
    assert found.steepest is not None
    assert 1e-4 < found.steepest <= 1
    assert Image.open(tmp_path / "curve.png").width > 500


def test_the_loss_of_what_is_taught_is_measured_as_in_training(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    losses = {}
    for share in (0.0, 0.5, 1.0):
        taught = {"teachers": [str(trained)], "share": share, "temperature": 2.0}
        recipe = make_recipe(distillation=taught)
        losses[share] = lr_range_test(recipe, faces, highest=1e-5, steps=10, device="cpu").losses

    untaught = lr_range_test(make_recipe(), faces, highest=1e-5, steps=10, device="cpu").losses
    assert losses[0.0] == pytest.approx(untaught)
    assert losses[1.0][0] > 2 * np.log(7), "by the square of the temperature"
    assert losses[0.5][0] == pytest.approx((losses[0.0][0] + losses[1.0][0]) / 2)


def test_a_loss_that_diverges_ends_the_test(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(
        model={"name": "plain", "widths": [8], "convolutions": [1], "norm": False, "dense": [16]}
    )

    found = lr_range_test(recipe, faces, lowest=1e-3, highest=1e4, steps=60, device="cpu")

    assert found.diverged
    assert len(found.rates) < 60
    assert np.isfinite(found.losses).all()


def test_wrong_ranges_are_told(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(ValueError, match="must rise"):
        lr_range_test(make_recipe(), faces, lowest=1.0, highest=0.1)
    with pytest.raises(ValueError, match="10 or more"):
        lr_range_test(make_recipe(), faces, steps=3)
