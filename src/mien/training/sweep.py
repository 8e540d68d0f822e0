"""A sweep: one training for every combination of some values, over seeds, compared.

::

    SWEEP/
    ├── optimizer.lr=0.1,seed=0/    a run, as `mien train` leaves it
    ├── sweep.csv                   one row a combination: mean and spread over its seeds
    └── sweep.png                   validation accuracy against the first key varied
"""

import itertools
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset, check_dataset
from mien.errors import RecipeError
from mien.training.callbacks import Progress
from mien.training.recipe import Recipe, check_recipe
from mien.training.recipe_file import override_recipe
from mien.training.resumption import finish_run
from mien.training.search_space import Choices, refuse_test_split
from mien.training.splits import require_votes
from mien.training.tables import write_table

TABLE: Final = "sweep.csv"
PLOT: Final = "sweep.png"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a sweep trains: the Cartesian product of the values, each with every seed.

    Attributes:
        vary: The keys and their values.
        seeds: The recipe's seed, one training each.
    """

    vary: tuple[Choices, ...]
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.vary or not self.seeds:
            raise RecipeError("a sweep varies one key or more, over one seed or more")
        if len(set(self.seeds)) < len(self.seeds):
            raise RecipeError(f"a seed is given twice: {', '.join(map(str, self.seeds))}")
        if "seed" in (choices.key for choices in self.vary):
            raise RecipeError("seeds are what a sweep averages over: give them as the seeds")

    def cells(self) -> list[dict[str, str]]:
        """Return every combination, as values by key."""
        keys = [choices.key for choices in self.vary]
        product = itertools.product(*(choices.values for choices in self.vary))
        return [dict(zip(keys, values, strict=True)) for values in product]


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One combination of a sweep.

    Attributes:
        values: Its values by key, as written in TOML.
        accuracies: Best validation accuracy of each training so far, 0 to 1, in seeds' order.
        minutes: How long each took.
    """

    values: dict[str, str]
    accuracies: tuple[float, ...]
    minutes: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return statistics.mean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values, as the table on disk holds it."""
        return {
            **self.values,
            "runs": len(self.accuracies),
            "accuracy_mean": self.mean,
            "accuracy_deviation": "" if self.deviation is None else self.deviation,
            "minutes_mean": statistics.mean(self.minutes),
        }


def sweep(
    recipe: Recipe,
    dataset: ExpressionDataset,
    folder: str | Path,
    grid: Grid,
    *,
    device: str = "auto",
    watch: Callable[[str, Progress], None] | None = None,
) -> list[SweepRow]:
    """Train every combination of a grid; finished trainings are kept, broken ones resumed.

    Args:
        recipe: What all trainings share.
        dataset: Holds the recipe's splits.
        folder: Where the runs, the table and the plot go.
        grid: What to vary.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: Called with the run's name after every step and every epoch.

    Raises:
        CheckpointError: ``folder`` has runs of another recipe or other data.
        DataError: A split of the recipe has no images, or a combination asks for FER+ votes and
            there are none.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
        RecipeError: A combination is no recipe, or chooses on the test split.
        TypeError: ``recipe`` or ``dataset`` is a name or a file, not what was read of it.
        ValueError: There is no such device.
    """
    check_recipe(recipe)
    check_dataset(dataset)
    folder = Path(folder)
    # All seeds of a combination last: a sweep stopped half way has seen the whole grid once.
    plan = [
        (index, name, changed)
        for seed in grid.seeds
        for index, (name, changed) in enumerate(_runs(recipe, grid, seed))
    ]
    if any(changed.data.votes for _, _, changed in plan):
        require_votes(dataset)
    cells = grid.cells()
    outcomes: list[list[dict[str, Any]]] = [[] for _ in cells]
    for index, name, changed in plan:
        summary = finish_run(changed, dataset, folder / name, device=device, watch=watch)
        outcomes[index].append(summary)
        rows = [_row(cell, done) for cell, done in zip(cells, outcomes, strict=True) if done]
        write_table(folder / TABLE, [row.to_dict() for row in rows])
    draw_sweep(rows, folder / PLOT, validation=recipe.data.validation)
    return rows


def draw_sweep(rows: Sequence[SweepRow], path: Path, *, validation: str) -> None:
    """Draw accuracy against the first key, a line for every combination of the others."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    key, *others = rows[0].values
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    values = list(dict.fromkeys(row.values[key] for row in rows))
    places = _places(values)
    lines: dict[str, list[SweepRow]] = {}
    for row in rows:
        name = ", ".join(f"{other} {row.values[other]}" for other in others)
        lines.setdefault(name, []).append(row)
    for name, line in lines.items():
        line.sort(key=lambda row: places[row.values[key]])
        axes.errorbar(
            [places[row.values[key]] for row in line],
            [100 * row.mean for row in line],
            [100 * (row.deviation or 0.0) for row in line],
            marker="o",
            capsize=3,
            label=name,
        )
    smallest, largest = min(places.values()), max(places.values())
    if 0 < 10 * smallest < largest:
        axes.set_xscale("log")
    axes.set_xticks([places[value] for value in values], values)
    axes.minorticks_off()
    axes.set(xlabel=key, ylabel=f"best accuracy on {validation} (%)")
    axes.grid(alpha=0.3)
    if others:
        axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _runs(recipe: Recipe, grid: Grid, seed: int) -> Iterator[tuple[str, Recipe]]:
    """Yield the name and the recipe of every combination with one seed."""
    names = set()
    for cell in grid.cells():
        settings = [f"{key}={value}" for key, value in (*cell.items(), ("seed", seed))]
        changed = override_recipe(recipe, settings)
        refuse_test_split(changed)
        # What file systems and shells trip over is left out of the name.
        name = re.sub(r"[^\w.,=+-]+", "_", ",".join(settings))
        if name in names:
            raise RecipeError(f"two combinations would share the folder {name}: sweep them apart")
        names.add(name)
        yield name, changed


def _row(cell: dict[str, str], outcomes: Sequence[dict[str, Any]]) -> SweepRow:
    return SweepRow(
        values=cell,
        accuracies=tuple(outcome["best_accuracy"] for outcome in outcomes),
        minutes=tuple(outcome["minutes"] for outcome in outcomes),
    )


def _places(values: Sequence[str]) -> dict[str, float]:
    """Return where each value goes on an axis: at its number, or else in order."""
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {value: float(place) for place, value in enumerate(values)}
