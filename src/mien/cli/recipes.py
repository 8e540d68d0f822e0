"""``mien recipes``: the packaged recipes, what their sources report and what was measured here."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import plain_console

if TYPE_CHECKING:
    from mien.training.figures import Measurement, PackagedRecipe

_COLUMNS = (
    "recipe",
    "source",
    "reported",
    "ours on PublicTest",
    "without copies",
    "macro-F1",
    "parameters",
    "minutes",
    "machine",
    "command",
)


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe; none lists them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print a Markdown table: figures, how measured, notes."),
    ] = False,
) -> None:
    """List the packaged recipes with reported and measured figures, or print one.

    Example: mien recipes vgg > my-recipe.toml
    """
    from mien.training.figures import find_packaged, packaged_recipes  # noqa: PLC0415

    if as_json and markdown:
        raise typer.BadParameter("--json and --markdown: choose one")
    path = find_packaged(name) if name is not None else None
    shown = [recipe for recipe in packaged_recipes() if name in (None, recipe.name)]
    if as_json:
        facts = [asdict(recipe) for recipe in shown]
        typer.echo(json.dumps(facts if path is None else facts[0], indent=2, ensure_ascii=False))
    elif markdown:
        typer.echo("\n".join(_markdown_lines(shown)))
    elif path is None:
        _print_table(shown)
    else:
        # Comments, so that what is printed is a recipe file still.
        typer.echo("\n".join(f"# {line}" for line in _fact_lines(shown[0])))
        typer.echo(f"\n{path.read_text('utf-8')}", nl=False)


def _print_table(recipes: Sequence["PackagedRecipe"]) -> None:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("recipe", style="bold", no_wrap=True)
    for column in ("title", "source", "reported", "ours"):
        table.add_column(column)
    for recipe in recipes:
        cells = (recipe.title, recipe.source or "ours", recipe.figures.reported, _ours(recipe))
        table.add_row(recipe.name, *cells)
    plain_console().print(table)


def _ours(recipe: "PackagedRecipe") -> str:
    from mien.training.figures import format_accuracy  # noqa: PLC0415

    measured = recipe.figures.measured
    return recipe.figures.reason if measured is None else format_accuracy(measured)


def _fact_lines(recipe: "PackagedRecipe") -> Iterator[str]:
    from mien.training.figures import format_mean  # noqa: PLC0415

    yield f"reported: {recipe.figures.reported or 'nothing'}"
    measured = recipe.figures.measured
    if measured is None:
        yield f"ours: {recipe.figures.reason}"
        return
    macro_f1 = format_mean(measured.macro_f1, 3)
    yield f"ours on {measured.split}: {_ours(recipe)}, macro-F1 {macro_f1}"
    if measured.without_copies:
        yield f"without faces that have a copy in training: {_without_copies(measured)}"
    size = f"{_size(measured)} parameters, " if measured.parameters else ""
    yield f"{size}{_minutes(measured)} minutes, {measured.machine}"
    yield measured.command
    if measured.note:
        yield measured.note


def _minutes(measured: "Measurement") -> str:
    from mien.training.figures import format_mean  # noqa: PLC0415

    return format_mean(measured.minutes, 0 if min(measured.minutes) >= 10 else 1)


def _markdown_lines(recipes: Sequence["PackagedRecipe"]) -> Iterator[str]:
    from mien.training.figures import format_mean  # noqa: PLC0415

    yield _markdown_row(_COLUMNS)
    yield _markdown_row(["---"] * len(_COLUMNS))
    for recipe in recipes:
        measured = recipe.figures.measured
        cells = [recipe.name, recipe.source or "ours", recipe.figures.reported, _ours(recipe)]
        if measured is not None:
            cells += [
                _without_copies(measured),
                format_mean(measured.macro_f1, 3),
                _size(measured),
                _minutes(measured),
                measured.machine,
                f"`{measured.command}`",
            ]
        yield _markdown_row([*cells, *[""] * (len(_COLUMNS) - len(cells))])
    measurements = {recipe.name: recipe.figures.measured for recipe in recipes}
    notes = [f"- {name}: {m.note}" for name, m in measurements.items() if m and m.note]
    yield from ("", *notes) if notes else ()


def _without_copies(measured: "Measurement") -> str:
    from mien.training.figures import format_mean  # noqa: PLC0415

    if not measured.without_copies:
        return ""
    return f"{format_mean([100 * share for share in measured.without_copies], 2)} %"


def _markdown_row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") or "–" for cell in cells) + " |"


def _size(measured: "Measurement") -> str:
    return "" if measured.parameters is None else f"{measured.parameters / 1e6:.2f} M"
