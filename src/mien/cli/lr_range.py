"""``mien lr-range``: the learning-rate range test."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.data import OwnClassesOption, VotesOption
from mien.cli.outputs import announce, check_output
from mien.cli.runs import (
    DataOption,
    DeviceOption,
    RecipeArgument,
    SetOption,
    open_inputs,
    usage_errors,
)
from mien.errors import require_extra

#: Formats that the curve is drawn in, by suffix.
FORMATS = (".png", ".svg", ".pdf")


def lr_range(
    recipe: RecipeArgument,
    *,
    data: DataOption = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The curve: .png, .svg or .pdf.")
    ] = Path("lr-range.png"),
    lowest: Annotated[float, typer.Option(help="Learning rate of the first batch.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Learning rate of the last batch.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Batches to train on.")] = 100,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train on some batches with a growing learning rate, and suggest one.

    Two rates are told: where the loss fell fastest, which is the one suggested, and a tenth of
    where it was lowest. They should be close; if not, look at the curve.

    Example: mien lr-range residual --data fer2013.csv
    """
    check_output(output, suffixes=FORMATS)
    with require_extra("train"):
        from mien.training.lr_range import lr_range_test  # noqa: PLC0415

        loaded, dataset = open_inputs(
            recipe, set_, data, device=device, votes=votes, own_classes=own_classes
        )
        with usage_errors():
            seen = lr_range_test(
                loaded, dataset, lowest=lowest, highest=highest, steps=steps, device=device
            )
        seen.draw(output)
    ended = "loss diverged" if seen.diverged else "ended"
    typer.echo(f"{ended} at {seen.rates[-1]:.2g}, step {len(seen.rates)}", err=True)
    announce(output)
    if seen.steepest is None or seen.tenth_of_lowest is None:
        typer.echo("the loss never fell: try a lower --lowest, or more --steps", err=True)
        raise typer.Exit(1)
    typer.echo(f"steepest descent: {seen.steepest:.2g} (suggested)", err=True)
    typer.echo(f"a tenth of the lowest loss's rate: {seen.tenth_of_lowest:.2g}", err=True)
    typer.echo(f"--set optimizer.lr={seen.steepest:.2g}")
