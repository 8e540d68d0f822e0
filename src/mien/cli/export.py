"""``mien export``: a trained run as one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.outputs import check_output
from mien.errors import require_extra


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="A run's folder, or a checkpoint; several are an ensemble."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file.", show_default="RUN/NAME.onnx"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What the model is called.", show_default="its recipe's name"),
    ] = None,
) -> None:
    """Write a run's best checkpoint as a self-contained ONNX file, or several as an ensemble.

    ONNX Runtime's answers are checked against torch's before anything is written. An ensemble's
    probabilities are the mean of its runs'.

    Example: mien export runs/residual-20261120-233000 --output residual.onnx
    """
    if len(runs) > 1 and output is None:
        raise typer.BadParameter("an ensemble is of no run: say where its file goes with --output")
    check_output(output, suffixes=(".onnx",))
    with require_extra("train"):
        from mien.export import export as write_onnx  # noqa: PLC0415

        done = write_onnx(runs, output, name=name)
    for remark in done.remarks:
        typer.echo(f"note: {remark}", err=True)
    for batch, difference in done.parity.items():
        typer.echo(f"parity at batch {batch}: largest difference of a logit {difference:.1e}")
    typer.echo(f"{done.path}: {done.size_bytes / 1e6:.2f} MB, {done.metadata.name}")
