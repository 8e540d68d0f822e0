"""``mien calibrate``: probabilities that mean what they say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.analyze import UncertainOption
from mien.cli.console import plain_console
from mien.cli.data import OwnClassesOption, open_dataset
from mien.cli.outputs import announce, check_output
from mien.cli.runs import OverrideOption
from mien.errors import require_extra
from mien.metadata import DEFAULT_MODEL, model_file

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation.calibration.measure import UncertainFaces
    from mien.evaluation.calibration.temperature import TemperatureFit


def calibrate(
    model: Annotated[
        Path, typer.Argument(help="A run's folder, a checkpoint, or an ONNX file of 'mien export'.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="The data set to calibrate on.", show_default="$MIEN_FER2013"),
    ] = None,
    split: Annotated[
        Literal["Training", "PublicTest", "PrivateTest"] | None,
        typer.Option(
            help="Which of its splits; not the one that the model has learned.",
            show_default="PublicTest, or the only one",
        ),
    ] = None,
    own_classes: OwnClassesOption = False,
    uncertain_below: UncertainOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.onnx", help="Of an ONNX file: the copy."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Of an ONNX file: change the file itself.")
    ] = False,
    override_protocol: OverrideOption = False,
) -> None:
    """Fit the temperature that makes a model's probabilities mean what they say.

    A run's folder keeps it in calibration.json, which its evaluation and its export use. An ONNX
    file is copied, with the temperature in its metadata; its network stays as it is. The most
    probable expression of a face never changes; loss and calibration do, so measure anew.

    Example: mien calibrate runs/residual-20261120-233000 --data fer2013.csv --uncertain-below 0.4
    """
    is_onnx = model_file(model).suffix == ".onnx"
    _check_call(model, output, is_onnx=is_onnx, in_place=in_place)
    with require_extra("train"):
        from mien.evaluation.calibration.calibrate import calibrate as fit  # noqa: PLC0415
        from mien.evaluation.calibration.calibrate import write_calibration  # noqa: PLC0415

        dataset = open_dataset(data, own_classes=own_classes)
        calibration = fit(
            model,
            dataset,
            split,
            uncertain_below=uncertain_below,
            override_protocol=override_protocol,
        )
        path = write_calibration(calibration, model, model if in_place else output)
    console = plain_console()
    console.print(
        f"{calibration.model} on {calibration.split}, {calibration.uncertain.count} images: "
        f"temperature {calibration.temperature:.3f}",
        soft_wrap=True,
    )
    console.print(_table(calibration.fit))
    breaches = [f"AGAINST THE PROTOCOL: {breach}" for breach in calibration.breaches]
    for line in (_cross_fitted(calibration.fit), _uncertain(calibration.uncertain), *breaches):
        console.print(line, soft_wrap=True)
    announce(path)


def _check_call(model: Path, output: Path | None, *, is_onnx: bool, in_place: bool) -> None:
    """See that it is said where the result goes, before any work is done.

    Raises:
        typer.BadParameter: It is not, or it is said twice, or nothing can be written there.
    """
    check_output(output, suffixes=(".onnx",), sources=[model])
    if is_onnx and (output is not None) == in_place:
        raise typer.BadParameter(
            "name --output FILE.onnx for a calibrated copy, or --in-place, one of them"
        )
    if in_place and model_file(model) == DEFAULT_MODEL:
        raise typer.BadParameter("the model in the package stays as it is: name --output FILE.onnx")
    if not is_onnx and (output is not None or in_place):
        raise typer.BadParameter(
            "--output and --in-place are for ONNX files; a run keeps its calibration, and "
            "'mien export' takes it along"
        )
    if output is None:
        check_output(model_file(model).parent, option="MODEL")


def _table(fit: "TemperatureFit") -> "Table":
    from rich.table import Table  # noqa: PLC0415

    from mien.evaluation.calibration.measure import BINS  # noqa: PLC0415

    table = Table("", "before", "after")
    for column in table.columns[1:]:
        column.justify = "right"
    before, after = fit.before, fit.after
    rows = [
        (f"calibration error (ECE, {BINS} bins)", before.ece, after.ece),
        ("the same, bins of equal counts", before.adaptive_ece, after.adaptive_ece),
        ("the same, class by class", before.classwise_ece, after.classwise_ece),
        ("mean probability of the answer", before.confidence, after.confidence),
        ("accuracy", before.accuracy, after.accuracy),
    ]
    for name, *values in rows:
        table.add_row(name, *(f"{100 * value:.2f} %" for value in values))
    intervals = [each.ece_interval for each in (before, after)]
    texts = [f"{100 * low:.2f} to {100 * high:.2f} %" for low, high in intervals]
    table.add_row("ECE's 95 % interval", *texts)
    table.add_row("Brier score", f"{before.brier:.4f}", f"{after.brier:.4f}")
    table.add_row("cross-entropy", f"{before.cross_entropy:.4f}", f"{after.cross_entropy:.4f}")
    return table


def _cross_fitted(fit: "TemperatureFit") -> str:
    return (
        f"fitted on one half and measured on the other: ECE {100 * fit.cross_fitted_ece:.2f} %, "
        f"to be expected of other faces like these"
    )


def _uncertain(faces: "UncertainFaces") -> str:
    if not faces.below:
        return "no face is called uncertain; --uncertain-below 0.4 would call so the least sure"
    text = f"uncertain below {faces.below:g}: {100 * faces.share:.1f} % of the faces"
    if faces.error is not None:
        text += f", of which {100 * faces.error:.1f} % are read wrong"
    if faces.told_error is not None:
        text += f"; of the others {100 * faces.told_error:.1f} %"
    return text
