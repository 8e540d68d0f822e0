"""``mien sweep``: train a grid of values over seeds, and compare."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import plain_console
from mien.cli.data import LARGEST_SEED, OwnClassesOption, VotesOption
from mien.cli.outputs import check_output, folder_option
from mien.cli.runs import (
    DataOption,
    DeviceOption,
    RecipeArgument,
    RunsDisplay,
    SetOption,
    counted,
    open_inputs,
    stoppable,
)
from mien.errors import require_extra

if TYPE_CHECKING:
    from mien.training.sweep import SweepRow


def sweep(
    recipe: RecipeArgument,
    vary: Annotated[
        list[str],
        typer.Option(metavar="KEY=V1,V2,…", help="A key and its values; several make a grid."),
    ],
    data: DataOption = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    output: Annotated[
        Path | None,
        folder_option("The sweep's folder.", show_default="runs/sweep-RECIPE"),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="S1,S2,…", help="Each combination is trained with each seed.")
    ] = "0",
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train every combination of some values; a table and a plot compare them on validation.

    The same command goes on with a sweep that was stopped, and with more values or seeds it
    trains only what is new.

    Example: mien sweep residual --vary batch_size=64,128,256 --seeds 0,1,2 --set epochs=10
    """
    check_output(output)
    numbers = _numbers(seeds)
    with require_extra("train"):
        from mien.training.search_space import parse_vary  # noqa: PLC0415
        from mien.training.sweep import PLOT, TABLE, Grid  # noqa: PLC0415
        from mien.training.sweep import sweep as run_sweep  # noqa: PLC0415

        loaded, dataset = open_inputs(
            recipe,
            set_,
            data,
            device=device,
            votes=votes,
            own_classes=own_classes,
            varied=lambda one: parse_vary(vary, one),
        )
        grid = Grid(vary=parse_vary(vary, loaded), seeds=numbers)
        folder = output or Path("runs") / f"sweep-{loaded.name}"
        with stoppable(), RunsDisplay() as display:
            runs = counted(len(grid.cells()) * len(numbers), "run")
            display.say(f"{loaded.name}: {loaded.title}\n{dataset}\n→ {folder}, {runs}")
            rows = run_sweep(loaded, dataset, folder, grid, device=device, watch=display.show)
    _print(rows, loaded.data.validation)
    typer.echo(folder / TABLE)
    typer.echo(folder / PLOT)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        numbers = (-1,)
    if not all(0 <= number <= LARGEST_SEED for number in numbers):
        raise typer.BadParameter(
            f"expected whole numbers from 0 as in 0,1,2, got {text!r}", param_hint="--seeds"
        )
    return numbers


def _print(rows: "Sequence[SweepRow]", validation: str) -> None:
    from rich.table import Table  # noqa: PLC0415

    table = Table(*rows[0].values, "runs", f"best on {validation}", "min")
    for row in rows:
        spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
        table.add_row(
            *row.values.values(),
            str(len(row.accuracies)),
            f"{100 * row.mean:.2f}{spread} %",
            f"{statistics.mean(row.minutes):.1f}",
        )
    plain_console(stderr=True).print(table)
