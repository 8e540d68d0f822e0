"""``mien compare``: measured models side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.console import plain_console
from mien.cli.outputs import PAGE, announce, check_output
from mien.errors import require_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation import Comparison


def compare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|JSON...",
            help="Run folders measured by 'mien evaluate', or JSON files it wrote.",
        ),
    ],
    split: Annotated[
        Literal["Training", "PublicTest", "PrivateTest"],
        typer.Option(help="Whose figures to read from run folders."),
    ] = "PublicTest",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML page with all charts.")
    ] = Path("comparison.html"),
) -> None:
    """Compare measured models: figures, curves, confusions, speed and size.

    All must have been measured on the same split of the same data.

    Example: mien compare runs/residual runs/vgg --output comparison.html
    """
    check_output(output, suffixes=PAGE)
    with require_extra("train"):
        from mien.evaluation import compare as read_all  # noqa: PLC0415
        from mien.report.comparison import write_comparison_page  # noqa: PLC0415

        comparison = read_all(sources, split)
        write_comparison_page(output, comparison)
    _print_table(comparison)
    announce(output)


def _print_table(comparison: "Comparison") -> None:
    first = comparison.evaluations[0]
    console = plain_console()
    console.print(f"{first.split}, {first.count} images")
    console.print(_table(comparison))
    lines = [*comparison.cautions(), *_difference_lines(comparison), *_seed_lines(comparison)]
    for line in lines:
        console.print(line, soft_wrap=True)


def _difference_lines(comparison: "Comparison") -> list[str]:
    """Return what is known of each difference from the first model, a sentence each."""
    differences = comparison.differences()
    if differences is None:
        return ["measure all anew with 'mien evaluate' to see which differences are noise"]
    return [
        f"{name} against {comparison.names[0]}: {difference.verdict()}"
        for name, difference in zip(comparison.names[1:], differences, strict=True)
    ]


def _seed_lines(comparison: "Comparison") -> list[str]:
    return [spread.text() for spread in comparison.seed_spreads()]


def _table(comparison: "Comparison") -> "Table":
    """Return a table of figures by models: that way round, four models fit into 80 columns."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("")
    for name in comparison.names:
        table.add_column(name, justify="right", overflow="fold")
    for measure in comparison.measures:
        best = comparison.best(measure)
        texts = [measure.text(evaluation) for evaluation in comparison.evaluations]
        table.add_row(
            measure.name,
            *(Text(text, style="bold" if i in best else "") for i, text in enumerate(texts)),
        )
    return table
