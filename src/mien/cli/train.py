"""``mien train`` and ``mien fine-tune``: train a recipe, with live progress."""

import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mien.cli.console import plain_console
from mien.cli.data import OwnClassesOption, VotesOption
from mien.cli.outputs import check_output, folder_option
from mien.cli.runs import (
    INTERRUPTED,
    DataOption,
    DeviceOption,
    OverrideOption,
    RecipeArgument,
    SetOption,
    command_to_go_on,
    counted,
    open_inputs,
    usage_errors,
)
from mien.errors import CheckpointError, require_extra
from mien.metadata import CLASSICAL_FILE

if TYPE_CHECKING:
    from mien.data import ExpressionDataset
    from mien.training import Progress, Recipe

OutputOption = Annotated[
    Path | None,
    folder_option("The run's folder.", show_default="runs/RECIPE-DATE-TIME"),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the run in --output, or the recipe's newest.")
]


def train(
    recipe: RecipeArgument,
    data: DataOption = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    output: OutputOption = None,
    resume: ResumeOption = False,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, each on a GPU of its own.")
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines; run the command on each, see docs/recipes.md.")
    ] = 1,
    override_protocol: OverrideOption = False,
) -> None:
    """Train a recipe; best and last checkpoints are kept every epoch.

    Example: mien train residual --data fer2013.csv --set epochs=10
    """
    check_output(output)
    if devices * nodes > 1 and output is None:
        raise typer.BadParameter("several processes need to know the folder: name --output")
    with require_extra("train"):
        _check_unused(output, resume=resume)
        loaded, dataset = open_inputs(
            recipe, set_, data, device=device, votes=votes, own_classes=own_classes
        )
        folder = output or _run_folder(loaded.name, resume=resume)
        _train(
            loaded,
            dataset,
            folder,
            resume=resume,
            device=device,
            devices=devices,
            nodes=nodes,
            override_protocol=override_protocol,
        )


def fine_tune(
    data: Annotated[
        Path, typer.Argument(help="A folder with a folder of faces for each class, or a zip of it.")
    ],
    start: Annotated[
        str,
        typer.Option("--from", help="What to start from: 'mien-s', a run, or an ONNX file."),
    ] = "mien-s",
    own_classes: OwnClassesOption = False,
    recipe: Annotated[str, typer.Option(help="How to train.")] = "fine-tune",
    output: OutputOption = None,
    resume: ResumeOption = False,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    override_protocol: OverrideOption = False,
) -> None:
    """Train the embedded model, or another, further on faces of your own.

    Folders named by expressions give all seven classes; where none is one, or with --own-classes,
    the classes are the folders' names. Faces under train/ are learned from and those under val/
    chosen on; without such folders a fifth of each class is held out to choose on.

    Example: mien fine-tune faces/ --output runs/mine
    """
    check_output(output)
    with require_extra("train"):
        _check_unused(output, resume=resume)
        loaded, dataset = open_inputs(
            recipe, set_, data, device=device, own_classes=own_classes, start=start
        )
        folder = output or _run_folder(loaded.name, resume=resume)
        _train(
            loaded,
            dataset,
            folder,
            resume=resume,
            device=device,
            override_protocol=override_protocol,
        )


def _check_unused(folder: Path | None, *, resume: bool) -> None:
    """Raise where a new run would go into the folder of another, before the data is read."""
    from mien.training.run import refuse_run  # noqa: PLC0415

    if folder is not None and not resume:
        refuse_run(folder)


def _train(
    recipe: "Recipe",
    dataset: "ExpressionDataset",
    folder: Path,
    *,
    resume: bool,
    device: str,
    override_protocol: bool,
    devices: int = 1,
    nodes: int = 1,
) -> None:
    """Train with live progress; say where the run is, or after Ctrl-C how to go on."""
    from mien import training  # noqa: PLC0415
    from mien.evaluation.dynamics import training_dynamics  # noqa: PLC0415
    from mien.training.history import History  # noqa: PLC0415
    from mien.training.processes import Processes, is_main_process  # noqa: PLC0415
    from mien.training.run import describe_hardware  # noqa: PLC0415

    processes = Processes(devices, nodes)
    with usage_errors():
        where = training.find_device(device)
        processes.check(recipe, where)
    if processes.count > 1:
        _name_main_module()
    console = plain_console(stderr=True)
    console.quiet = not is_main_process()
    console.print(f"{recipe.name}: {recipe.title}\n{dataset}", soft_wrap=True)
    console.print(f"{describe_hardware(recipe, where)} → {folder}", soft_wrap=True)
    try:
        with _Display(console) as display:
            result = training.train(
                recipe,
                dataset,
                folder,
                resume=resume,
                device=device,
                processes=processes,
                override_protocol=override_protocol,
                watch=display.show,
            )
    except KeyboardInterrupt as stopped:
        if not is_main_process():
            return
        epochs = len(History(folder, keep=True).rows)
        console.print(
            f"stopped after {counted(epochs, 'whole epoch')}; go on with: "
            f"{_again(folder, resume=epochs > 0)}",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from stopped
    if not is_main_process():
        return
    rows = History(folder, keep=True).rows
    if rows and (diverged := training_dynamics(rows).diverged_epoch) is not None:
        console.print(
            f"its loss is no number from epoch {diverged} on: a lower optimizer.lr, see "
            f"'mien lr-range'",
            soft_wrap=True,
        )
    best = f"{100 * result.best_accuracy:.2f} % on {recipe.data.validation}"
    console.print(f"best: {best}, epoch {result.best_epoch} of {result.epochs}", soft_wrap=True)
    typer.echo(folder)


def _name_main_module() -> None:
    """Give the main module the name by which ``python -m`` starts it.

    Lightning starts the other processes so. In ``mien.exe``, a zip, it is called ``__main__``.
    """
    main = sys.modules["__main__"]
    if main.__spec__ is not None and main.__spec__.name == "__main__":
        main.__spec__ = importlib.util.find_spec("mien.__main__")


def _again(folder: Path, *, resume: bool) -> str:
    """Return the command that goes on with a run; before its first checkpoint, the same again."""
    options = []
    if resume and "--resume" not in sys.argv:
        options.append("--resume")
    if not any(word.startswith(("--output", "-o")) for word in sys.argv[1:]):
        options += ["--output", str(folder)]
    return command_to_go_on(*options)


def _run_folder(name: str, *, resume: bool) -> Path:
    """Return a fresh run's folder, or the newest one of the recipe to resume."""
    if not resume:
        return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folders = sorted(Path("runs").glob(f"{name}-????????-??????"))
    found = [f for f in folders if (f / "last.ckpt").exists() or (f / CLASSICAL_FILE).exists()]
    if not found:
        raise CheckpointError(f"no run of {name} under runs/ to resume: name it with --output")
    return found[-1]


class _Display:
    """A live bar with the time left on a terminal; a line an epoch everywhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._prepares = False
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: "Progress") -> None:
        """Draw how far the training is."""
        if progress.prepared is not None:
            if not self._prepares:
                self._console.print("computing features, once for all epochs")
                self._prepares = True
            self._bar.update(
                self._task, description="features", total=1, completed=progress.prepared
            )
            return
        self._bar.update(
            self._task,
            description=f"epoch {progress.epoch}/{progress.epochs}",
            total=progress.epochs * progress.steps,
            completed=(progress.epoch - 1) * progress.steps + progress.step,
        )
        if progress.metrics is None:
            return
        m = progress.metrics
        self._console.print(
            f"epoch {progress.epoch:3d}/{progress.epochs}  "
            f"train {m['train_loss']:.4f} {100 * m['train_accuracy']:5.2f} %  "
            f"validation {m['val_loss']:.4f} {100 * m['val_accuracy']:5.2f} %  "
            f"{m['seconds']:.0f} s",
            soft_wrap=True,
        )
