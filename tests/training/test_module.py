from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mien.data.dataset import ExpressionDataset
from mien.training import Progress, Recipe, train
from mien.training.module import build_optimizer, rate_factor
from mien.training.recipe import OptimizerConfig, ScheduleConfig


def rates(schedule: ScheduleConfig, *ends: int) -> list[float]:
    return [rate_factor(schedule, step=step, ends=ends) for step in range(ends[-1])]


def test_the_rate_rises_then_falls_to_nothing() -> None:
    curve = rates(ScheduleConfig(name="cosine", warmup=0.1), 100)

    assert curve[0] == pytest.approx(1 / 25)
    assert max(curve) == curve[10] == 1
    assert curve[:11] == sorted(curve[:11])
    assert curve[10:] == sorted(curve[10:], reverse=True)
    assert curve[-1] < 0.01
    assert curve[55] == pytest.approx(0.5)


def test_linear_and_constant_do_as_they_say() -> None:
    assert rates(ScheduleConfig(name="linear"), 4) == [1, 0.75, 0.5, 0.25]
    assert rates(ScheduleConfig(name="constant"), 4) == [1, 1, 1, 1]


def test_a_restart_does_not_change_what_came_before() -> None:
    schedule = ScheduleConfig(
        name="cosine", warmup=0.1, restart_epochs=(1, 2), restart_factors=(0.5, 0.2)
    )

    curve = rates(schedule, 100, 150, 170)

    assert curve[:100] == rates(ScheduleConfig(name="cosine", warmup=0.1), 100)
    assert curve[100] == 0.5
    assert curve[125] == pytest.approx(0.25)
    assert curve[149] < 0.01
    assert curve[150] == 0.2
    assert curve[169] < 0.01
    assert rate_factor(schedule, step=170, ends=(100, 150, 170)) == pytest.approx(0)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_biases_and_normalisation(name: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 7))
    config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.5)  # type: ignore[arg-type]

    decayed, spared = build_optimizer(network, config).param_groups

    assert decayed["weight_decay"] == 0.5
    assert [p.shape for p in decayed["params"]] == [torch.Size([4, 1, 3, 3]), torch.Size([7, 4])]
    assert spared["weight_decay"] == 0
    assert len(spared["params"]) == 4


def test_sgd_has_the_momentum_asked_for() -> None:
    network = nn.Linear(4, 7)

    for momentum in (0.0, 0.8):
        optimizer = build_optimizer(network, OptimizerConfig(name="sgd", lr=0.1, momentum=momentum))
        assert isinstance(optimizer, torch.optim.SGD)
        for group in optimizer.param_groups:
            assert (group["lr"], group["momentum"]) == (0.1, momentum)
            assert group["nesterov"] == (momentum > 0)


def test_sgd_is_what_takes_over_from_adam() -> None:
    config = OptimizerConfig(name="adam", lr=0.01, switch_epoch=2, switch_lr=0.3)

    first = build_optimizer(nn.Linear(4, 7), config)
    then = build_optimizer(nn.Linear(4, 7), config, switched=True)

    assert (type(first), type(then)) == (torch.optim.Adam, torch.optim.SGD)
    assert {group["lr"] for group in first.param_groups} == {0.01}
    assert {group["lr"] for group in then.param_groups} == {0.3}


def test_sgd_takes_over_where_asked(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    optimizer = {"name": "adam", "lr": 0.01, "switch_epoch": 2, "switch_lr": 0.4}
    recipe = make_recipe(epochs=4, optimizer=optimizer, schedule={"name": "linear"})
    rates: list[float] = []
    train(recipe, faces, tmp_path / "run", device="cpu", watch=collect(rates))

    assert rates == pytest.approx([0.005, 0, 0.2, 0])


def collect(rates: list[float]) -> Callable[[Progress], None]:
    def watch(progress: Progress) -> None:
        if progress.metrics is not None:
            rates.append(progress.metrics["lr"])

    return watch


def test_the_rate_falls_when_the_validation_loss_does_not(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    rates: list[float] = []
    recipe = make_recipe(
        epochs=6,
        precision="fp32",
        model={"name": "plain", "widths": [4], "convolutions": [1], "norm": False, "dense": []},
        optimizer={"name": "sgd", "lr": 5e-8},  # next to nothing is learned
        schedule={"name": "plateau", "factor": 0.5, "plateau_epochs": 1},
    )
    train(recipe, faces, tmp_path / "run", device="cpu", watch=collect(rates))

    assert rates[0] == 5e-8
    assert rates[-1] <= 1.25e-8
    assert rates == sorted(rates, reverse=True)
