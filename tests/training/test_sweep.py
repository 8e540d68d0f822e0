import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError, RecipeError
from mien.training import Progress, Recipe
from mien.training.search_space import Choices
from mien.training.sweep import Grid, SweepRow, draw_sweep, sweep

RATES = Choices(key="optimizer.lr", values=("0.1", "0.001"))


def test_a_grid_is_every_combination() -> None:
    grid = Grid(vary=(RATES, Choices(key="batch_size", values=("8", "16"))))

    assert grid.cells() == [
        {"optimizer.lr": "0.1", "batch_size": "8"},
        {"optimizer.lr": "0.1", "batch_size": "16"},
        {"optimizer.lr": "0.001", "batch_size": "8"},
        {"optimizer.lr": "0.001", "batch_size": "16"},
    ]


def test_a_sweep_trains_only_what_is_missing(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe, trained = make_recipe(), list[str]()

    def stop(name: str, progress: Progress) -> None:
        if (name, progress.epoch, progress.step) == ("optimizer.lr=0.001,seed=0", 2, 2):
            raise KeyboardInterrupt

    def watch(name: str, progress: Progress) -> None:
        if progress.metrics is not None:
            trained.append(f"{name} {progress.epoch}")

    with pytest.raises(KeyboardInterrupt):
        sweep(recipe, faces, tmp_path, Grid(vary=(RATES,)), device="cpu", watch=stop)
    first = (tmp_path / "sweep.csv").read_text()
    sweep(recipe, faces, tmp_path, Grid(vary=(RATES,)), device="cpu", watch=watch)
    assert trained == ["optimizer.lr=0.001,seed=0 2"], "the other was done, this one half way"

    trained.clear()
    rows = sweep(
        recipe, faces, tmp_path, Grid(vary=(RATES,), seeds=(0, 1)), device="cpu", watch=watch
    )

    assert trained == [f"{RATES.key}={value},seed=1 {n}" for value in RATES.values for n in (1, 2)]
    assert [len(row.accuracies) for row in rows] == [2, 2]
    table = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert [row["optimizer.lr"] for row in table] == ["0.1", "0.001"]
    assert float(table[0]["accuracy_mean"]) == rows[0].mean
    assert len(first.splitlines()) == 2
    assert Image.open(tmp_path / "sweep.png").width > 500


def test_a_sweep_of_another_recipe_is_not_mixed_in(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "optimizer.lr=0.05,seed=0")
    grid = Grid(vary=(Choices(key="optimizer.lr", values=("0.05",)),))

    kept = sweep(make_recipe(ema_decay=0.9), faces, tmp_path, grid, device="cpu")
    with pytest.raises(CheckpointError, match="another recipe"):
        sweep(make_recipe(epochs=3), faces, tmp_path, grid, device="cpu")
    with pytest.raises(CheckpointError, match="another data"):
        sweep(make_recipe(ema_decay=0.9), faces.take(range(250)), tmp_path, grid, device="cpu")

    assert len(kept) == 1


def test_the_spread_is_that_of_a_sample() -> None:
    row = SweepRow(values={"a": "1"}, accuracies=(0.5, 0.7), minutes=(1.0, 3.0))

    assert row.mean == pytest.approx(0.6)
    assert row.deviation == pytest.approx(0.1414, abs=1e-4)
    assert row.to_dict()["minutes_mean"] == 2
    assert SweepRow(values={}, accuracies=(0.5,), minutes=(1.0,)).deviation is None


def test_several_keys_and_values_that_are_no_numbers_are_drawn(tmp_path: Path) -> None:
    rows = [
        SweepRow(values={"model.name": a, "seed": b}, accuracies=(0.5, 0.6), minutes=(1, 1))
        for a in ("plain", "residual")
        for b in ("x", "y")
    ]

    draw_sweep(rows, tmp_path / "plot.png", validation="PublicTest")

    assert Image.open(tmp_path / "plot.png").width > 500


def test_what_cannot_be_swept_is_told(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="give them as the seeds"):
        Grid(vary=(Choices(key="seed", values=("1", "2")),))
    with pytest.raises(RecipeError, match="one key or more"):
        Grid(vary=())
    with pytest.raises(RecipeError, match="seed is given twice"):
        Grid(vary=(RATES,), seeds=(1, 1))
    test_split = make_recipe(data={"validation": "PrivateTest"})
    with pytest.raises(RecipeError, match="test split"):
        sweep(test_split, faces, tmp_path / "sweep", Grid(vary=(RATES,)))
    together = Grid(
        vary=(
            Choices(key="schedule.name", values=("cosine", "plateau")),
            Choices(key="schedule.warmup", values=("0.0", "0.1")),
        )
    )
    with pytest.raises(RecipeError, match="0 with plateau"):
        sweep(make_recipe(), faces, tmp_path / "sweep", together)
    votes = Grid(vary=(Choices(key="data.votes", values=("0", "0.2")),))
    with pytest.raises(DataError, match="no FER"):
        sweep(make_recipe(), faces, tmp_path / "sweep", votes)
    assert not (tmp_path / "sweep").exists()
