"""The ``mien`` command: its subcommands and how errors leave it."""

import codecs
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import mien
from mien.cli.analyze import analyze
from mien.cli.audit import audit
from mien.cli.calibrate import calibrate
from mien.cli.compare import compare
from mien.cli.cross_validate import cross_validate
from mien.cli.data import app as data_app
from mien.cli.evaluate import evaluate
from mien.cli.explain import explain
from mien.cli.export import export
from mien.cli.lr_range import lr_range
from mien.cli.models import models
from mien.cli.quantize import quantize
from mien.cli.recipes import recipes
from mien.cli.serve import serve
from mien.cli.sweep import sweep
from mien.cli.train import fine_tune, train
from mien.cli.tune import tune
from mien.cli.video import video
from mien.cli.webcam import webcam
from mien.errors import MienError

#: Exit code of a user's mistake: a wrong call or an input that cannot be used.
USER_ERROR = 2

#: Root of what Typer raises for a wrong call. Some of its versions take it from click and others
#: bring their own; this child of it is public in all.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="mien",
    help="Facial expression recognition: read, train and measure, offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mien {mien.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show and exit."),
    ] = False,
) -> None:
    pass


app.command()(analyze)
app.command()(video)
app.command()(webcam)
app.command()(train)
app.command("fine-tune")(fine_tune)
app.command()(tune)
app.command()(sweep)
app.command("lr-range")(lr_range)
app.command("cross-validate")(cross_validate)
app.command()(evaluate)
app.command()(compare)
app.command()(explain)
app.command()(calibrate)
app.command()(export)
app.command()(quantize)
app.command()(models)
app.command()(recipes)
app.command()(serve)
data_app.command()(audit)
app.add_typer(data_app, name="data", help="Fetch, read and check data sets.")


def main() -> None:
    """Run the command line; what cannot be used is told in one line, with exit code 2."""
    _open_closed_streams()
    # No command shows a window of matplotlib's; a notebook's own backend may not be installed.
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            _print_any_name(stream)
    try:
        # Typer would draw a usage and a box around its errors.
        sys.exit(app(standalone_mode=False))
    except _UsageError as error:
        line = _one_line(error)
    except typer.Abort:
        line = "stopped"
    except (MienError, OSError) as error:
        line = _describe(error)
    if line:
        typer.echo(f"mien: {line}", err=True)
    sys.exit(USER_ERROR)


def _open_closed_streams() -> None:
    """Open what the program was started without, as daemons and Windows' pythonw start theirs."""
    # In the order of their numbers, which the system gives to the next files that are opened:
    # else a library that prints would print into a table.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _print_any_name(stream: io.TextIOWrapper) -> None:
    """Let a stream print every file name, on Windows too, where a pipe knows 256 letters."""
    if not stream.isatty() and "PYTHONIOENCODING" not in os.environ:
        stream.reconfigure(encoding="utf-8")
    # File names need not be valid text; they are printed back byte for byte.
    is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def _one_line(error: Any) -> str:
    """Return what a usage error says, with where to read on; nothing where help was printed."""
    if type(error).__name__ == "NoArgsIsHelpError":
        # Rich has printed it already, and left nothing here; without rich it is all here.
        typer.echo(error.format_message(), err=True, nl=False)
        return ""
    text = " ".join(error.format_message().split())
    text = text.removeprefix("Invalid value: ").removeprefix("Invalid value for ")
    if error.ctx is None:
        return text
    return f"{text.removesuffix('.')}; see '{error.ctx.command_path} --help'"


def _describe(error: MienError | OSError) -> str:
    """Return an error's text; of a file that cannot be used, without the number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
