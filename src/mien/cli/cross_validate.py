"""``mien cross-validate``: every face read by a model that never saw it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import plain_console
from mien.cli.data import OwnClassesOption, VotesOption
from mien.cli.outputs import check_output, folder_option
from mien.cli.runs import (
    DataOption,
    DeviceOption,
    RecipeArgument,
    RunsDisplay,
    SetOption,
    open_inputs,
    stoppable,
)
from mien.errors import require_extra

if TYPE_CHECKING:
    from mien.evaluation.out_of_sample import CrossValidation


def cross_validate(
    recipe: RecipeArgument = "hog-logistic",
    data: DataOption = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    folds: Annotated[int, typer.Option(min=2, help="How many parts, and so trainings.")] = 5,
    output: Annotated[
        Path | None,
        folder_option("The cross-validation's folder.", show_default="runs/cross-validate-RECIPE"),
    ] = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a recipe once a fold on the other folds: accuracy with its spread.

    It leaves out-of-sample probabilities of every face, from which label errors are found. The
    same command goes on with one that was stopped.

    Example: mien cross-validate hog-logistic --data fer2013.csv --folds 5
    """
    check_output(output)
    with require_extra("train"):
        from mien.evaluation.cross_validation import cross_validate as run_folds  # noqa: PLC0415

        loaded, dataset = open_inputs(
            recipe, set_, data, device=device, votes=votes, own_classes=own_classes
        )
        folder = output or Path("runs") / f"cross-validate-{loaded.name}"
        with stoppable(), RunsDisplay() as display:
            display.say(f"{loaded.name}: {loaded.title}\n{dataset}\n→ {folder}, {folds} folds")
            found = run_folds(
                loaded, dataset, folder, folds=folds, device=device, watch=display.show
            )
    _print(found)
    typer.echo(folder)


def _print(found: "CrossValidation") -> None:
    from rich.table import Table  # noqa: PLC0415

    table = Table("fold", "faces", "accuracy", "min")
    for fold, (count, accuracy, minutes) in enumerate(
        zip(found.counts, found.accuracies, found.minutes, strict=True), start=1
    ):
        table.add_row(str(fold), f"{count:,}", f"{100 * accuracy:.2f} %", f"{minutes:.1f}")
    table.add_section()
    spread = f"{100 * found.mean:.2f} ± {100 * found.deviation:.2f} %"
    table.add_row("all", f"{sum(found.counts):,}", spread, f"{sum(found.minutes):.1f}")
    plain_console(stderr=True).print(table)
