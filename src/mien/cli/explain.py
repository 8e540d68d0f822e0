"""``mien explain``: which pixels of the faces in a photo their readings rest on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.console import plain_console
from mien.cli.outputs import announce, check_output
from mien.errors import MediaError, require_extra

if TYPE_CHECKING:
    from mien.evaluation.explanation import FaceExplanation, Method

_METHODS: "dict[str, tuple[Method, ...]]" = {
    "grad-cam": ("grad-cam",),
    "occlusion": ("occlusion",),
    "both": ("grad-cam", "occlusion"),
}


def explain(
    photo: Annotated[Path, typer.Argument(help="The picture.")],
    *,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A run's folder, a checkpoint, or an ONNX file.", show_default="the packaged one"
        ),
    ] = None,
    method: Annotated[
        Literal["grad-cam", "occlusion", "both"],
        typer.Option(help="Grad-CAM needs a network; occlusion takes any model, and longer."),
    ] = "grad-cam",
    expression: Annotated[
        str | None,
        typer.Option(help="What to explain.", show_default="what each face is read as"),
    ] = None,
    whole_image: Annotated[
        bool, typer.Option("--whole-image", help="The picture is a face crop already.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The picture to write.", show_default="explained.png"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Draw heat maps of what each face's reading rests on, and check that it does.

    The check replaces the highlighted pixels by blurred ones: a map that is right lowers the
    probability sooner than random areas do.

    Example: mien explain photo.jpg --method both --output explained.png
    """
    output = output or Path("explained.png")
    check_output(output, suffixes=(".png", ".jpg", ".jpeg"), sources=[photo])
    with require_extra("train"):
        from mien.evaluation.explanation import explain_photo  # noqa: PLC0415
        from mien.report.explanation import write_explanations  # noqa: PLC0415

        explained = explain_photo(
            photo,
            model,
            methods=_METHODS[method],
            expression=expression,
            whole_image=whole_image,
        )
        if not explained:
            raise MediaError(f"{photo}: no face found; a face crop is one with --whole-image")
        write_explanations(output, explained)
    if as_json:
        facts = {"source": str(photo), "faces": [one.to_dict() for one in explained]}
        typer.echo(json.dumps(facts, indent=2, allow_nan=False))
    else:
        _print_verdicts(explained)
    announce(output)


def _print_verdicts(explained: "Sequence[FaceExplanation]") -> None:
    console = plain_console()
    for number, one in enumerate(explained, start=1):
        read = "" if one.expression == one.face.expression else f", read as {one.face.expression}"
        for each in one.maps:
            console.print(
                f"{number}  {one.expression} {one.probability:.0%}{read}, {each.method}: "
                f"{each.deletion.verdict()}",
                soft_wrap=True,
            )
