"""The ``mien`` command: its subcommands and how errors leave it."""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer

import mien
from mien.cli.errors import USER_ERROR
from mien.errors import MienError

app = typer.Typer(
    name="mien",
    help="Facial expression recognition: read, train and measure, offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"mien {mien.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show and exit.")
    ] = False,
) -> None:
    pass


for _name in ("analyze", "train", "export", "evaluate"):
    try:
        app.command(_name)(getattr(import_module(f"mien.cli.{_name}"), _name))
    except ModuleNotFoundError:
        continue
try:
    app.add_typer(import_module("mien.cli.data").app, name="data")
except ModuleNotFoundError:
    pass


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a user's mistake is one line and exit code 2."""
    try:
        return app(arguments)
    except MienError as error:
        typer.echo(f"mien: {error}", err=True)
        sys.exit(USER_ERROR)
