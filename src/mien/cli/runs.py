"""What the commands that train share: options, a live line, and Ctrl-C."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.status import Status
from rich.text import Text

from mien.cli.console import plain_console
from mien.cli.data import open_dataset

if TYPE_CHECKING:
    from mien.data import ExpressionDataset
    from mien.training import Progress, Recipe
    from mien.training.search_space import Dimension

#: Shells report a program ended by Ctrl-C with 128 + SIGINT.
INTERRUPTED = 130

RecipeArgument = Annotated[str, typer.Argument(help="A packaged recipe's name, or a TOML file.")]
DataOption = Annotated[
    Path | None, typer.Option(help="What to train on.", show_default="$MIEN_FER2013")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe."),
]
OverrideOption = Annotated[
    bool,
    typer.Option(
        "--override-protocol", help="Go on where a figure would be worthless; reports tell."
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
]


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a wrong argument that the library finds into a wrong use of the command."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def open_inputs(
    recipe: str,
    settings: Sequence[str] | None,
    data: Path | None,
    *,
    device: str,
    votes: Path | None = None,
    own_classes: bool = False,
    start: str | None = None,
    varied: "Callable[[Recipe], Sequence[Dimension]]" = lambda _: (),
) -> "tuple[Recipe, ExpressionDataset]":
    """Return the recipe and the data set, once the device and who teaches are known to be there.

    FER+ votes are looked for beside the data where the recipe, or what is varied in it, asks for
    them and none are named.

    Args:
        recipe: A packaged recipe's name, or a TOML file.
        settings: Changes of it, each ``key=value``.
        data: Where the data set is; ``$MIEN_FER2013`` when left out.
        device: Where to train.
        votes: FER+ votes.
        own_classes: Whether folders' names are classes as they are.
        start: What to fine-tune; None trains from what the recipe says.
        varied: Gives what is varied in the recipe.
    """
    from mien.training import find_device, load_recipe  # noqa: PLC0415
    from mien.training.initial import continue_recipe  # noqa: PLC0415
    from mien.training.search_space import asks_for_votes  # noqa: PLC0415
    from mien.training.teachers import check_teachers  # noqa: PLC0415

    if start is None:
        loaded = load_recipe(recipe, settings or ())
    else:
        loaded = continue_recipe(load_recipe(recipe), start, settings or ())
    with usage_errors():
        find_device(device)
    check_teachers(loaded)
    if votes is None and asks_for_votes(loaded, varied(loaded)):
        votes = Path("auto")
    return loaded, open_dataset(data, votes=votes, own_classes=own_classes)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "epoch"), counted(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def command_to_go_on(*options: str, without: str | None = None) -> str:
    """Return this call as the system's shell takes it, with options that it may not have had.

    Args:
        options: What is added.
        without: An option that is left out together with its value.
    """
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if without is not None and word == without:
            next(words, None)
        elif without is None or not word.startswith(f"{without}="):
            kept.append(word)
    command = ["mien", *kept, *options]
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)


class RunsDisplay:
    """A live line of the current run's epochs on a terminal; lines that stay, everywhere."""

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._status = Status("starting", console=self._console)

    def __enter__(self) -> "RunsDisplay":
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def show(self, run: str, progress: "Progress") -> None:
        """Draw how far a run is."""
        if progress.prepared is not None:
            self._status.update(Text(f"{run}  features, {100 * progress.prepared:.0f} %"))
            return
        epoch, epochs = f"epoch {progress.epoch}/{progress.epochs}", progress.metrics
        reached = "" if epochs is None else f", validation {100 * epochs['val_accuracy']:.2f} %"
        step = f"step {progress.step}/{progress.steps}"
        self._status.update(Text(f"{run}  {epoch}, {step}{reached}"))

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._status.update("waiting for the next run, or for other workers")
        self._console.print(line, soft_wrap=True)


@contextmanager
def stoppable() -> Iterator[None]:
    """On Ctrl-C, say how to go on: the same command knows what is done."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; go on with the same command: {command_to_go_on()}", err=True)
        raise typer.Exit(INTERRUPTED) from None
