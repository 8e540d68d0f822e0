"""``mien evaluate``: a model's figures on a split."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.data import open_dataset
from mien.cli.errors import require_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation import Evaluation


def evaluate(
    model: Annotated[Path, typer.Argument(help="A run's folder, a checkpoint, or an ONNX file.")],
    data: Annotated[
        Path | None,
        typer.Option(help="What to measure on.  [default: $MIEN_FER2013]"),
    ] = None,
    split: Annotated[
        Literal["Training", "PublicTest", "PrivateTest"], typer.Option(help="What to measure on.")
    ] = "PublicTest",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure accuracy, per-class figures and the confusion matrix, single view.

    A run's folder also keeps them, as evaluation-SPLIT.json; an export carries them along.

    Example: mien evaluate runs/mien-s-20261120-233000 --data fer2013.csv
    """
    with require_extra("train"):
        from mien.evaluation import evaluate as measure  # noqa: PLC0415

        evaluation = measure(model, open_dataset(data), split)
    if as_json:
        typer.echo(json.dumps(evaluation.to_dict(), indent=2))
    else:
        _print_tables(evaluation)
    if model.is_dir():
        evaluation.write(model / f"evaluation-{split}.json")


def _print_tables(evaluation: "Evaluation") -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    console.print(_headline(evaluation), highlight=False, soft_wrap=True)
    console.print(_per_class(evaluation))
    console.print(_confusion(evaluation))


def _headline(evaluation: "Evaluation") -> str:
    m = evaluation.metrics
    return (
        f"{evaluation.model} on {evaluation.split}, {evaluation.count} images, single view: "
        f"accuracy {100 * m.accuracy:.2f} %, macro-F1 {m.macro_f1:.3f}, loss {m.loss:.3f}"
    )


def _per_class(evaluation: "Evaluation") -> "Table":
    from rich.table import Table  # noqa: PLC0415

    table = Table("expression", "precision", "recall", "F1", "images")
    m = evaluation.metrics
    for name, *rates, support in zip(
        m.classes, m.precision, m.recall, m.f1, m.support, strict=True
    ):
        table.add_row(name, *(f"{rate:.3f}" for rate in rates), str(support))
    return table


def _confusion(evaluation: "Evaluation") -> "Table":
    from rich.table import Table  # noqa: PLC0415

    m = evaluation.metrics
    table = Table("is ↓  read as →", *m.classes, title="confusion")
    for name, row in zip(m.classes, m.confusion, strict=True):
        table.add_row(name, *(str(count) for count in row))
    return table
