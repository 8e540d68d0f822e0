"""``mien evaluate``: figures of a model, or of an ensemble, on a split."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.analyze import TtaOption
from mien.cli.console import plain_console
from mien.cli.data import OwnClassesOption, open_dataset
from mien.cli.outputs import PAGE, announce, check_output
from mien.cli.runs import OverrideOption
from mien.errors import require_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation import Evaluation
    from mien.evaluation.evaluation import Part


def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="A run's folder, checkpoint, ONNX file, or 'mien-s'; several are an ensemble.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="The data set to measure on.", show_default="$MIEN_FER2013"),
    ] = None,
    split: Annotated[
        Literal["Training", "PublicTest", "PrivateTest"] | None,
        typer.Option(
            help="Which of its splits to measure on.", show_default="PublicTest, or the only one"
        ),
    ] = None,
    own_classes: OwnClassesOption = False,
    tta: TtaOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the figures to this JSON file as well."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with charts and sample faces to this HTML file."),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Also measure on damaged faces: noise, blur, masks …"),
    ] = False,
    override_protocol: OverrideOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure accuracy, per-class figures, the confusion matrix, size and speed.

    A run's folder also keeps them, as evaluation-SPLIT.json (with --tta flip as
    flip-evaluation-SPLIT.json); 'mien compare' reads them and an export carries them along. The
    newest replace earlier ones, but where the model and the faces are the same, speed, explanation
    and robustness stay until they are measured again.

    Example: mien evaluate runs/residual-20261120-233000 --data fer2013.csv --report report.html
    """
    sources = models if data is None else [*models, data]
    check_output(output, suffixes=(".json",), sources=sources)
    check_output(report, option="--report", suffixes=PAGE, sources=sources)
    run = _keeping_run(models)
    with require_extra("train"):
        from mien.evaluation import evaluate as measure  # noqa: PLC0415
        from mien.evaluation.evaluation import keep_evaluation  # noqa: PLC0415
        from mien.report.evaluation import write_evaluation_page  # noqa: PLC0415

        dataset = open_dataset(data, own_classes=own_classes)
        with plain_console(stderr=True).status("opening") as status:
            evaluation = measure(
                models,
                dataset,
                split,
                tta=tta,
                parts=_parts(report=report is not None, robustness=robustness),
                override_protocol=override_protocol,
                watch=status.update,
            )
        if output is not None:
            evaluation.write(output)
        if report is not None:
            write_evaluation_page(report, evaluation)
    try:
        if as_json:
            typer.echo(evaluation.to_json())
        else:
            _print_tables(evaluation)
        for path in (output, report):
            if path is not None:
                announce(path)
    finally:  # last, so that what was asked for is there; and even where a pipe closes on it
        if run is not None:
            path, became = keep_evaluation(run, evaluation)
            announce(path)
            if became:
                typer.echo(became, err=True)


def _parts(*, report: bool, robustness: bool) -> "list[Part]":
    """Return what is measured besides: a page has all but what takes minutes."""
    wanted: list[Part] = ["speed", "explanation"] if report else []
    return [*wanted, "robustness"] if robustness else wanted


def _keeping_run(models: list[Path]) -> Path | None:
    """Return the run's folder that keeps the figures: an ensemble's go into none, being of none.

    One that cannot be written to keeps none either, which is told before the work is done.
    """
    if len(models) > 1 or not models[0].is_dir():
        return None
    if os.access(models[0], os.W_OK | os.X_OK):
        return models[0]
    typer.echo(
        f"{models[0]} cannot be written to and keeps no figures; --output FILE.json does", err=True
    )
    return None


def _print_tables(evaluation: "Evaluation") -> None:
    console = plain_console()
    lines = [_headline(evaluation), *_cautions(evaluation), *_trust(evaluation), _cost(evaluation)]
    for line in lines:
        console.print(line, soft_wrap=True)
    console.print(_per_class(evaluation))
    console.print(_confusion(evaluation))
    if evaluation.training:
        console.print(evaluation.training.verdict(), soft_wrap=True)


def _headline(evaluation: "Evaluation") -> str:
    m = evaluation.metrics
    view = "single view" if evaluation.view == "single" else f"{evaluation.view} views averaged"
    return (
        f"{evaluation.model} on {evaluation.split}, {evaluation.count} images, {view}: "
        f"accuracy {100 * m.accuracy:.2f} % ({m.interval_text()}), "
        f"macro-F1 {m.macro_f1:.3f} ({m.macro_f1_interval_text()}), loss {m.loss:.3f}"
    )


def _cautions(evaluation: "Evaluation") -> list[str]:
    """Return what must be known of the figures to trust them."""
    lines = [f"AGAINST THE PROTOCOL: {breach}" for breach in evaluation.breaches]
    if evaluation.chosen_on:
        lines.append(
            "the epoch or temperature of the model, or of one that it learned from, was chosen on "
            "these faces, which flatters it a little"
        )
    if evaluation.unseen is None:
        lines.append("which faces it learned from is not known: some of these may be among them")
    if (unseen := evaluation.unseen) and unseen.seen:
        lines.append(unseen.text())
    return lines


def _trust(evaluation: "Evaluation") -> list[str]:
    """Return how far its probabilities, and its figures elsewhere, can be trusted."""
    lines = []
    if calibration := evaluation.calibration:
        low, high = (100 * end for end in calibration.ece_interval)
        lines.append(
            f"calibration error {100 * calibration.ece:.1f} % ({low:.1f} to {high:.1f} %): "
            f"mean confidence {100 * calibration.confidence:.1f} %"
        )
    if evaluation.robustness:
        lines.append(evaluation.robustness.text())
    if evaluation.explanation:
        lines.append(evaluation.explanation.deletion.verdict())
    return lines


def _cost(evaluation: "Evaluation") -> str:
    from mien.evaluation.measures import FILE_MB, MULTIPLY_ADDS, PARAMETERS  # noqa: PLC0415

    parts = [
        f"{PARAMETERS.text(evaluation)} parameters",
        f"{MULTIPLY_ADDS.text(evaluation)} multiply-adds",
        f"{FILE_MB.text(evaluation)} MB",
    ]
    if latency := evaluation.latency:
        parts.append(
            f"{latency.batch_1_ms:.2f} ms a face ({latency.batch_64_ms:.2f} ms in batches of 64, "
            f"threads: {latency.threads})"
        )
    return ", ".join(parts)


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
