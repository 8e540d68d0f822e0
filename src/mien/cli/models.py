"""``mien models``: the networks, and one of them layer by layer."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import plain_console
from mien.cli.outputs import announce, check_output
from mien.errors import RecipeError, require_extra
from mien.expressions import EXPRESSIONS, unknown_name

if TYPE_CHECKING:
    from rich.table import Table
    from torch import nn

    from mien.models import LayerSummary, NetworkSummary

#: Unless told how deep to look, the table looks as deep as so many rows allow.
MOST_ROWS = 72
#: The table fits a terminal of so many columns.
_NAME_WIDTH = 30
_KIND_WIDTH = 28


def models(
    name: Annotated[str | None, typer.Argument(help="A network; none lists them.")] = None,
    *,
    recipe: Annotated[
        str | None, typer.Option(help="The network of a packaged recipe or a TOML file.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change an option of the network."),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many expressions it tells apart.",
            show_default="7, or the recipe's",
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="How deep to look into nested layers.")
    ] = None,
    diagram: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the network, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, whole.")] = False,
) -> None:
    """List the networks, or show one layer by layer: shapes, parameters, multiply-adds.

    Example: mien models plain --set model.widths=[32,64] --set model.convolutions=[1,1]
    """
    if name is None and recipe is None:
        if set_ or diagram is not None or depth is not None:
            raise typer.BadParameter("--set, --depth and --diagram need a network or a --recipe")
        _list(classes or len(EXPRESSIONS), as_json=as_json)
        return
    if name is not None and recipe is not None:
        raise typer.BadParameter("a network and a --recipe: choose one")
    check_output(diagram, option="--diagram", suffixes=(".svg",))
    with require_extra("train"):
        from mien.models import MODELS, summarise  # noqa: PLC0415
        from mien.models.diagram import write_diagram  # noqa: PLC0415
        from mien.training.initial import freeze  # noqa: PLC0415
        from mien.training.recipe_file import load_recipe, recipe_from_dict  # noqa: PLC0415

        if recipe is not None:
            loaded = load_recipe(recipe, set_ or ())
            title = f"{loaded.name}: {loaded.model_name}"
        else:
            assert name is not None
            _check_name(name)
            _check_settings(name, set_ or ())
            # Backbones ask for unit scaling; to a network's layers it makes no difference.
            values = {"model": {"name": name}, "data": {"scaling": "unit"}}
            loaded = recipe_from_dict(values, set_ or ())
            title = loaded.model_name
        if loaded.model_name not in MODELS:
            raise typer.BadParameter(f"{loaded.model_name} is no network and has no layers")
        network = loaded.network.build(classes or len(loaded.data.classes or EXPRESSIONS))
        if loaded.frozen:
            freeze(network)
        summary = summarise(network)
        if diagram is not None:
            write_diagram(diagram, summary, title=title)
    if as_json:
        typer.echo(json.dumps(_to_dict(summary), indent=2))
    else:
        _print_layers(title, _description(network), summary, depth)
    if diagram is not None:
        announce(diagram)


def _check_name(name: str) -> None:
    """Raise where a name is no network's.

    Raises:
        RecipeError: It is unknown.
        typer.BadParameter: It is a classical baseline's.
    """
    from mien.models import CLASSICAL, MODELS  # noqa: PLC0415
    from mien.training.figures import recipe_names  # noqa: PLC0415

    if name in CLASSICAL:
        raise typer.BadParameter(f"{name} is no network and has no layers")
    if name not in MODELS:
        if name in recipe_names():
            raise RecipeError(f"{name} is a recipe, no network: mien models --recipe {name}")
        raise RecipeError(unknown_name("model", name, tuple(MODELS)))


def _check_settings(name: str, settings: Sequence[str]) -> None:
    """Raise where a setting is none of a network's, since it would change nothing that is shown.

    Raises:
        RecipeError: It is of another part of a recipe, or of none.
    """
    from mien.models import MODELS  # noqa: PLC0415

    options = [f"model.{option.name}" for option in fields(MODELS[name])]  # type: ignore[arg-type]
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if not key.startswith("model.") and key != "data.classes":
            text = unknown_name(
                "key", key, options, aliases={o[len("model.") :]: o for o in options}
            )
            raise RecipeError(text)


def _list(classes: int, *, as_json: bool) -> None:
    with require_extra("train"):
        from mien.models import CLASSICAL, MODELS, build_model, summarise  # noqa: PLC0415

        facts = []
        for name in MODELS:
            network = build_model(name, num_classes=classes)
            summary = summarise(network)
            facts.append({"name": name, "description": _description(network), **_totals(summary)})
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("network", style="bold", no_wrap=True)
    table.add_column("at its default options")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("multiply-adds", justify="right", no_wrap=True)
    for row in facts:
        counts = (f"{row[key]:,}" for key in ("parameters", "multiply_adds"))
        table.add_row(str(row["name"]), str(row["description"]), *counts)
    console = plain_console()
    console.print(table)
    console.print(f"and baselines, which have no layers: {', '.join(CLASSICAL)}", soft_wrap=True)


def _description(network: "nn.Module") -> str:
    """Return the first sentence of a network's docstring."""
    return (type(network).__doc__ or "").strip().partition("\n")[0]


def _totals(layer: "LayerSummary") -> dict[str, int]:
    return {
        "parameters": layer.parameters,
        "trainable_parameters": layer.trainable_parameters,
        "multiply_adds": layer.multiply_adds,
    }


def _to_dict(layer: "LayerSummary") -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "detail": layer.detail,
        "input_shape": layer.input_shape,
        "output_shape": layer.output_shape,
        **_totals(layer),
        "shortcut": layer.shortcut,
        "layers": [_to_dict(inner) for inner in layer.layers],
    }


def _print_layers(
    title: str, description: str, summary: "NetworkSummary", depth: int | None
) -> None:
    from mien.models.diagram import format_shape  # noqa: PLC0415

    console = plain_console()
    shapes = f"{format_shape(summary.input_shape)} → {format_shape(summary.output_shape)}"
    console.print(title, style="bold")
    console.print(f"{description}\n{shapes}\n")
    console.print(_table(summary, depth or _readable_depth(summary)))
    trainable = summary.trainable_parameters
    share = "all" if trainable == summary.parameters else f"{trainable:,}"
    console.print(
        f"\n{summary.parameters:,} parameters, {share} of them trainable\n"
        f"{summary.multiply_adds:,} multiply-adds a face, of convolutions and matrix products; "
        "not counted:\nnormalisation, activations, pooling, sums",
    )


def _readable_depth(summary: "NetworkSummary") -> int:
    """Return the largest depth at which the table has :data:`MOST_ROWS` or fewer, at least 1."""
    depth, rows = 1, 0
    while (deeper := len(list(_rows(summary.layers, depth + 1)))) <= MOST_ROWS and deeper != rows:
        depth, rows = depth + 1, deeper
    return depth


def _table(summary: "NetworkSummary", depth: int) -> "Table":
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("layer", no_wrap=True, max_width=_NAME_WIDTH)
    table.add_column("kind", no_wrap=True, max_width=_KIND_WIDTH)
    table.add_column("output", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("multiply-adds", justify="right", no_wrap=True)
    for row in _rows(summary.layers, depth):
        table.add_row(*row)
    if summary.own_parameters or summary.own_multiply_adds:
        own = (summary.own_parameters, summary.own_multiply_adds)
        table.add_row("(outside layers)", "", "", *map(_number, own))
    return table


def _rows(
    layers: Sequence["LayerSummary"], depth: int, level: int = 0
) -> Iterator[tuple[str, ...]]:
    """Yield the table's rows: a layer that is opened has only what is outside its inner layers.

    So every column adds up to the network's total. Of layers that differ in nothing but their
    names, the first is opened and the others are one row.
    """
    from mien.models.summary import group_repeats  # noqa: PLC0415

    for group in group_repeats([layer for layer in layers if not layer.is_idle]):
        rest = group
        if depth > 1 and group[0].layers:
            own = group[0].own_parameters, group[0].own_multiply_adds
            yield _row(group[:1], level, own)
            yield from _rows(group[0].layers, depth - 1, level + 1)
            rest = group[1:]
        parts = [rest] if group[0].layers and rest else [(layer,) for layer in rest]
        for part in parts:
            parameters = sum(layer.parameters for layer in part)
            yield _row(part, level, (parameters, sum(layer.multiply_adds for layer in part)))


def _row(layers: Sequence["LayerSummary"], level: int, counts: tuple[int, int]) -> tuple[str, ...]:
    from mien.models.diagram import format_shape  # noqa: PLC0415

    first, last = (layer.name.rpartition(".")[2] for layer in (layers[0], layers[-1]))
    name = first if first == last else f"{first}–{last}"
    kind = f"{layers[0].kind} {layers[0].detail}".strip()
    if len(layers) > 1:
        kind = f"{len(layers)} × {kind}"
    shape = format_shape(layers[0].output_shape)
    return ("  " * level + name, kind, shape, *map(_number, counts))


def _number(count: int) -> str:
    return f"{count:,}" if count else ""
