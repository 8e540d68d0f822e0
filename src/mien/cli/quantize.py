"""``mien quantize``: an exported model in int8, smaller and faster."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import plain_console
from mien.cli.data import LARGEST_SEED, OwnClassesOption, open_dataset
from mien.cli.outputs import announce, check_output
from mien.cli.runs import OverrideOption
from mien.errors import require_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation.speed.paired import Speedup
    from mien.quantization import Quantization


def quantize(
    model: Annotated[Path, typer.Argument(help="An ONNX file of 'mien export'.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="The data set: ranges are measured on Training, the loss on PublicTest.",
            show_default="$MIEN_FER2013",
        ),
    ] = None,
    own_classes: OwnClassesOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file.", show_default="MODEL-int8.onnx"),
    ] = None,
    faces: Annotated[
        int,
        typer.Option(help="Training faces that the activations' ranges are measured on.", min=1),
    ] = 1024,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Which faces.")] = 0,
    most_lost: Annotated[
        float, typer.Option(help="Most points of accuracy that may be lost, chance aside.", min=0)
    ] = 0.5,
    override_protocol: OverrideOption = False,
) -> None:
    """Make an int8 copy of an exported model, and show what it loses and how much faster it is.

    It is a quarter of the size, and is used wherever the float32 file is. Nothing is written where
    more accuracy is lost than allowed, and than chance explains: a few faces cannot tell.

    Example: mien quantize residual.onnx --data fer2013.csv --output residual-int8.onnx
    """
    check_output(output, suffixes=(".onnx",), sources=[model])
    if output is None:
        check_output(model.parent, option="MODEL")
    with require_extra("train"):
        from mien.evaluation.predictor import open_predictor  # noqa: PLC0415
        from mien.evaluation.speed.paired import measure_speedup  # noqa: PLC0415
        from mien.quantization import quantize as write_int8  # noqa: PLC0415

        dataset = open_dataset(data, own_classes=own_classes)
        with plain_console(stderr=True).status("quantizing") as status:
            done = write_int8(
                model,
                dataset,
                output,
                faces=faces,
                seed=seed,
                most_lost=most_lost,
                override_protocol=override_protocol,
            )
            status.update("timing both")
            first, second = (open_predictor(path, threads=1) for path in (model, done.path))
            speedups = measure_speedup(first, second, dataset.images)
    console = plain_console()
    console.print(_table(done, speedups))
    parity = done.parity
    console.print(
        f"{100 * parity.agreement:.1f} % of {parity.count:,} PublicTest faces are read as the same "
        f"class; a logit changes by {parity.mean_logit_change:.3f} on average, by "
        f"{parity.largest_logit_change:.2f} at most",
        soft_wrap=True,
    )
    console.print(parity.difference.verdict(), soft_wrap=True)
    for breach in done.breaches:
        console.print(f"AGAINST THE PROTOCOL: {breach}", soft_wrap=True)
    announce(done.path)


def _table(done: "Quantization", speedups: Sequence["Speedup"]) -> "Table":
    from rich.table import Table  # noqa: PLC0415

    table = Table("", "float32", "int8", "change")
    for column in table.columns[1:]:
        column.justify = "right"
    old, new = done.parity.before, done.parity.after
    for name, first, second in (
        ("accuracy", old.accuracy, new.accuracy),
        ("macro-F1", old.macro_f1, new.macro_f1),
        ("calibration error (ECE)", old.ece, new.ece),
    ):
        table.add_row(name, *(f"{100 * x:.2f} %" for x in (first, second)), _points(second - first))
    sizes = (done.float_bytes, done.size_bytes)
    table.add_row("file", *(f"{x / 1e6:.2f} MB" for x in sizes), f"×{sizes[1] / sizes[0]:.2f}")
    for each in speedups:
        times = (each.first_ms, each.second_ms)
        name = "one face" if each.batch == 1 else f"{each.batch} at once"
        cells = [f"{x:.2f} ms" if each.batch == 1 else f"{1000 / x:,.0f} faces/s" for x in times]
        table.add_row(f"{name}, one thread", *cells, f"{each.ratio:.2f} × as fast")
    return table


def _points(change: float) -> str:
    return f"{100 * change:+.2f} points"
