"""``mien tune``: search a recipe's values with Optuna."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    usage_errors,
)
from mien.errors import require_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mien.training import Recipe
    from mien.training.search_space import Dimension
    from mien.training.tune import TrialResult, Tuning

#: Trials in the table of the best.
SHOWN = 10


def tune(
    recipe: RecipeArgument,
    *,
    data: DataOption = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    output: Annotated[
        Path | None,
        folder_option("The search's folder.", show_default="runs/tune-RECIPE"),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Finished trials wanted, those of earlier calls included.")
    ] = 20,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=SPEC",
            help="What to search: optimizer.lr=1e-4..1e-1:log, batch_size=64|128.",
            show_default="rate, weight decay, label smoothing, batch size, dropout",
        ),
    ] = None,
    sampler: Annotated[
        Literal["tpe", "random"], typer.Option(help="How values are drawn.")
    ] = "tpe",
    pruner: Annotated[
        Literal["median", "hyperband", "none"], typer.Option(help="How poor trials are ended.")
    ] = "median",
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The database.", show_default="sqlite in the folder"),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Name in the database.", show_default="RECIPE")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seeds the values drawn.")] = 0,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Search for the values with the highest validation accuracy; the test split stays unseen.

    The same command goes on with a search that was stopped, and started several times it shares
    the work among as many workers.

    Example: mien tune residual --trials 30 --search "optimizer.lr=1e-3..1:log" --set epochs=10
    """
    check_output(output)
    with require_extra("train"):
        from mien.training.study import Search  # noqa: PLC0415
        from mien.training.tune import tune as run_search  # noqa: PLC0415

        loaded, dataset = open_inputs(
            recipe,
            set_,
            data,
            device=device,
            votes=votes,
            own_classes=own_classes,
            varied=lambda one: _space(search, one),
        )
        wanted = Search(
            space=_space(search, loaded),
            trials=trials,
            sampler=sampler,
            pruner=pruner,
            storage=storage,
            name=study,
            seed=seed,
        )
        folder = output or Path("runs") / f"tune-{loaded.name}"
        with stoppable(), RunsDisplay() as display:
            display.say(f"{loaded.name}: {loaded.title}\n{dataset}\n→ {folder}")
            display.say("searching " + ", ".join(map(str, wanted.space)))
            with usage_errors():
                tuning = run_search(
                    loaded,
                    dataset,
                    folder,
                    wanted,
                    device=device,
                    watch=display.show,
                    tell=lambda trial: display.say(_line(trial)),
                )
    _print(tuning, loaded.data.validation)


def _space(search: list[str] | None, recipe: "Recipe") -> "tuple[Dimension, ...]":
    """Return what is searched: what is named, or else what is worth it in most recipes."""
    from mien.training.search_space import default_search, parse_search  # noqa: PLC0415

    return parse_search(search, recipe) if search else default_search(recipe)


def _line(trial: "TrialResult") -> str:
    values = ", ".join(f"{key} {_short(value)}" for key, value in trial.values.items())
    return (
        f"trial {trial.number:3d}  {trial.state:8}  {_percent(trial.accuracy):>7}  "
        f"{counted(trial.epochs, 'epoch')}, {trial.minutes:.1f} min  {values}"
        + (f"; {trial.reason}" if trial.reason else "")
    )


def _print(tuning: "Tuning", validation: str) -> None:
    from mien.training.tune import BEST_RECIPE  # noqa: PLC0415

    console = plain_console(stderr=True)
    console.print(_table(tuning, validation))
    if tuning.importances:
        shares = ", ".join(f"{key} {100 * s:.0f} %" for key, s in tuning.importances.items())
        console.print(f"what sets them apart: {shares}", soft_wrap=True)
    if tuning.best is None:
        console.print("no trial was complete: there is no best recipe yet", soft_wrap=True)
        return
    best = tuning.folder / BEST_RECIPE
    console.print(f"next: mien train {best}", soft_wrap=True)
    typer.echo(best)


def _table(tuning: "Tuning", validation: str) -> "Table":
    from rich.table import Table  # noqa: PLC0415

    complete = [trial for trial in tuning.trials if trial.state == "complete"]
    complete.sort(key=lambda trial: trial.accuracy or 0.0, reverse=True)
    keys = list(complete[0].values) if complete else []
    pruned = sum(trial.state == "pruned" for trial in tuning.trials)
    # A key breaks after its table, so that the columns stay as narrow as their values.
    table = Table("trial", validation, "min", *(key.replace(".", ".\n") for key in keys))
    table.title = f"best of {counted(len(complete), 'complete trial')}; {pruned} pruned"
    for trial in complete[:SHOWN]:
        values = (_short(trial.values[key]) for key in keys)
        table.add_row(str(trial.number), _percent(trial.accuracy), f"{trial.minutes:.1f}", *values)
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
