"""A run: one recipe trained on one data set, in a folder that a crash leaves usable.

::

    RUN/
    ├── recipe.toml     the recipe as trained, overrides included
    ├── metrics.csv     one row an epoch
    ├── curves.png      loss, accuracy and learning rate
    ├── best.ckpt       weights of the best epoch so far
    ├── last.ckpt       weights of the last epoch, to resume from
    └── run.json        data, machine, versions, and the outcome

A classical baseline's has ``model.skops`` instead of checkpoints and curves; see
:mod:`mien.training.classical`.
"""

import contextlib
import json
import logging
import math
import platform
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightning
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging
from lightning.pytorch.callbacks.callback import Callback
from torch import nn

import mien
from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset, check_dataset
from mien.data.protocol import refuse_breaches
from mien.data.seen_faces import SeenFaces
from mien.errors import CheckpointError
from mien.metadata import BEST, CHOSEN, CLASSICAL_FILE
from mien.models import ClassicalConfig, count_multiply_adds, count_parameters
from mien.preprocess import FACE_SIZE
from mien.training.callbacks import AtomicCheckpointIO, Progress, Watcher, keep_checkpoint
from mien.training.checkpoint import LAST, read_checkpoint
from mien.training.dead_units import DeadUnits
from mien.training.history import History
from mien.training.initial import build_network, load_start, resumed_start
from mien.training.losses import build_loss
from mien.training.module import ExpressionModule, TrainingData
from mien.training.processes import Processes, is_main_process
from mien.training.protocol import chosen_before, learned_before, training_breaches
from mien.training.recipe import Recipe, check_recipe
from mien.training.recipe_file import is_same_recipe
from mien.training.splits import describe_data, learning_splits
from mien.training.teachers import Teachers, load_teachers

_ALONE: Final = Processes()


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a training ended.

    Attributes:
        folder: The run's folder.
        epochs: Epochs finished, earlier sittings included.
        best_epoch: The epoch that :data:`BEST` is of, from 1.
        best_accuracy: Its accuracy on the validation split, 0 to 1.
    """

    folder: Path
    epochs: int
    best_epoch: int
    best_accuracy: float


@contextlib.contextmanager
def own_draws() -> Iterator[None]:
    """Leave torch's random numbers as the caller had them: a training seeds its own."""
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if in_use else []
    with torch.random.fork_rng(devices=devices):
        yield


@own_draws()
def train(  # noqa: PLR0913 - all but three by name only
    recipe: Recipe,
    dataset: ExpressionDataset,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    processes: Processes = _ALONE,
    override_protocol: bool = False,
    watch: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Train a recipe on a data set and keep everything in a folder.

    Args:
        recipe: What to train and how.
        dataset: Holds the recipe's training and validation splits.
        folder: Where the run goes; made if it is not there.
        resume: Continue the run in ``folder`` to the same result as if it had never stopped; to
            the same weights on a CPU with the same number of threads.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; a classical baseline is fitted on the CPU.
        processes: How many processes train together; see :mod:`mien.training.processes`. Only the
            first one's result is of use.
        override_protocol: Train even where that is against the protocol, and tell wherever the
            run is measured.
        watch: Called after every step and every epoch.

    Raises:
        CheckpointError: ``folder`` holds a run and ``resume`` is off, or the other way round, or
            the run there is of another recipe or other data.
        DataError: The recipe's splits cannot be made from the data.
        KeyboardInterrupt: Ctrl-C; what was trained so far is kept, and can be resumed.
        ProtocolError: It learns from or chooses on the test split, chooses on faces that it learns
            from, or FER2013's splits are swapped.
        TypeError: ``recipe`` or ``dataset`` is a name or a file, not what was read of it.
        ValueError: There is no such device, or it cannot be trained by so many processes.
    """
    check_recipe(recipe)
    check_dataset(dataset)
    import matplotlib  # noqa: F401, PLC0415 - missing, it must not stop the run at its end

    folder = Path(folder)
    on_device = find_device(device)
    processes.check(recipe, on_device)
    if isinstance(recipe.model, ClassicalConfig):
        from mien.training.classical import train_classical  # noqa: PLC0415 - it imports this

        return train_classical(
            recipe,
            dataset,
            folder,
            resume=resume,
            override_protocol=override_protocol,
            watch=watch,
        )
    training, validation = learning_splits(recipe, dataset)
    data = describe_data(recipe, training, validation)
    before = _check_folder(folder, recipe, training.classes, data, resume=resume)
    start = resumed_start(before) if before else load_start(recipe, training)
    taught_by = load_teachers(recipe, training.classes)
    seen = SeenFaces.of(training.images, before=learned_before(start, taught_by, dataset))
    breaches = refuse_breaches(
        training_breaches(recipe, dataset, seen, validation), override=override_protocol
    )
    taught = [breach for each in taught_by for breach in each.breaches]
    breaches = tuple(dict.fromkeys((*start.breaches, *taught, *breaches)))
    network = build_network(recipe, training, start)
    loss = build_loss(recipe, torch.from_numpy(training.labels), training.classes)
    mean, std = start.mean, start.std
    card = {
        "recipe": recipe.to_dict(),
        "classes": training.classes,
        "mean": mean,
        "std": std,
        "data": data,
        "seen": seen.to_text(),
        "breaches": breaches,
        CHOSEN: chosen_before(start, taught_by),
    }
    history = History(folder, keep=resume)
    watchers = [Watcher(recipe, history, watch)] if is_main_process() else []
    if is_main_process():
        write_recipe(folder, recipe)

    told = watch if is_main_process() else None
    batches = TrainingData(recipe, training, validation, mean=mean, std=std, watch=told)
    teachers = Teachers(taught_by, mean=mean, std=std)
    module = ExpressionModule(network, recipe, loss, teachers, card_json=json.dumps(card))
    with _quiet():
        trainer = _trainer(recipe, folder, watchers, device=on_device, processes=processes)
        interrupted = False
        if not (resume and _is_over(folder / LAST, recipe, history)):
            interrupted = _fit(trainer, module, batches, folder / LAST if resume else None)
    result = run_result(folder, history)
    if is_main_process():
        facts = {**_hardware(trainer, on_device, processes), **_size(network)}
        facts |= {"data": data, "breaches": breaches}
        versions = {"torch": torch.__version__, "lightning": lightning.__version__}
        history.write()  # whoever had it open may have closed it
        write_summary(folder, result, history, facts, versions, interrupted=interrupted)
        history.draw()
    if interrupted:
        raise KeyboardInterrupt
    return result


def uses_bf16(recipe: Recipe, device: torch.device) -> bool:
    """Return whether a recipe is trained in mixed precision on the device."""
    return recipe.precision == "bf16" or (recipe.precision == "auto" and has_bf16_hardware(device))


def describe_hardware(recipe: Recipe, device: torch.device) -> str:
    """Return in words what a recipe is trained on, and in which precision."""
    if recipe.is_classical:
        return "on the CPU"
    precision = "bf16 mixed precision" if uses_bf16(recipe, device) else "float32"
    return f"on {_device_name(device)} in {precision}"


def find_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is the accelerator at hand, else the CPU.

    Raises:
        ValueError: The device is unknown or not there.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name not in there:
        raise ValueError(f"unknown device {name!r}: expected auto, cpu, cuda or mps")
    if not there[name]:
        raise ValueError(f"there is no {name} device here: use auto or cpu")
    return torch.device(name)


def has_bf16_hardware(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 itself.

    Without it, bf16 is emulated: on a Xeon of the Cascade Lake kind the same training ran at
    111 images/s in bf16 and 247 in float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("bf16"))
    return False


def _check_folder(
    folder: Path, recipe: Recipe, classes: tuple[str, ...], data: dict[str, Any], *, resume: bool
) -> dict[str, Any] | None:
    """Return the metadata of the run to go on with, None for a new one."""
    last = folder / LAST
    if not resume:
        refuse_run(folder)
        return None
    if not last.is_file():
        raise CheckpointError(f"{folder}: nothing to resume, there is no {LAST}")
    before: dict[str, Any] = json.loads(read_checkpoint(last).get("mien", "{}"))
    now = {"recipe": recipe.to_dict(), "classes": classes, "data": data}
    check_same_run(folder, before, now)
    return before


def refuse_run(folder: Path) -> None:
    """Raise a :class:`CheckpointError` where a folder already holds a run, of whatever kind."""
    if (folder / LAST).exists() or (folder / CLASSICAL_FILE).exists():
        raise CheckpointError(
            f"{folder} already holds a run: continue it with --resume, in Python resume=True"
        )
    if (folder / BEST).exists() and (folder / "run.json").exists():  # LAST is large, and often goes
        raise CheckpointError(f"{folder} already holds a finished run: name another folder")


def check_same_run(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compare the metadata of the run in a folder with that of the one to go on with.

    Raises:
        CheckpointError: The recipe, the data or the classes differ.
    """
    now = json.loads(json.dumps(now))  # as the one before was kept
    same = {
        "recipe": is_same_recipe(before.get("recipe", {}), now["recipe"]),
        **{part: before.get(part) == now[part] for part in ("data", "classes")},
    }
    for part, is_same in same.items():
        if not is_same:
            raise CheckpointError(
                f"{folder}: the run was begun with another {part}; resume with the same, "
                f"or start a new run elsewhere"
            )


def _is_over(last: Path, recipe: Recipe, history: History) -> bool:
    """Return whether early stopping had ended the run; resumed, it would train an epoch more."""
    states: dict[str, Any] = read_checkpoint(last).get("callbacks", {})
    waits = [state["wait_count"] for name, state in states.items() if "EarlyStopping" in name]
    watches_loss = bool(waits and history.rows) and recipe.patience_on == "loss"
    if watches_loss and not math.isfinite(history.rows[-1]["val_loss"]):
        return True  # it waits for no other epoch then
    return any(wait >= recipe.patience for wait in waits)


def _trainer(
    recipe: Recipe,
    folder: Path,
    watchers: Sequence[Callback],
    *,
    device: torch.device,
    processes: Processes,
) -> pl.Trainer:
    callbacks: list[Callback] = [*watchers, DeadUnits()]
    if recipe.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    if recipe.patience:
        mode = "max" if recipe.patience_on == "accuracy" else "min"
        watched = f"val_{recipe.patience_on}"
        callbacks.append(EarlyStopping(watched, mode=mode, patience=recipe.patience))
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=processes.strategy(),
        use_distributed_sampler=False,  # each process takes its share itself
        precision="bf16-mixed" if uses_bf16(recipe, device) else "32-true",
        max_epochs=recipe.epochs,
        callbacks=[*callbacks, keep_checkpoint(folder, BEST), keep_checkpoint(folder, LAST)],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )


def _fit(
    trainer: pl.Trainer, module: pl.LightningModule, data: TrainingData, last: Path | None
) -> bool:
    """Train; return whether Ctrl-C ended it."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C, after its own clean-up
        if not trainer.interrupted:
            raise
        return True
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    return False


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a recipe into its run's folder, which is made where it is missing."""
    with atomic_write(folder / "recipe.toml") as temporary:
        temporary.write_text(recipe.to_toml(), "utf-8")


def run_result(folder: Path, history: History) -> RunResult:
    """Return how a run ended, by its history."""
    best = history.best()
    return RunResult(
        folder=folder,
        epochs=len(history.rows),
        best_epoch=int(best["epoch"]) if best else 0,
        best_accuracy=best["val_accuracy"] if best else 0.0,
    )


def write_summary(
    folder: Path,
    result: RunResult,
    history: History,
    facts: dict[str, Any],
    versions: dict[str, str],
    *,
    interrupted: bool = False,
) -> None:
    """Write ``run.json``: the outcome, the facts, the machine and the versions."""
    summary = {
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "best_accuracy": result.best_accuracy,
        "interrupted": interrupted,
        "minutes": sum(row["seconds"] for row in history.rows) / 60,
        **facts,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "versions": {
            "mien": mien.__version__,
            "python": platform.python_version(),
            **versions,
        },
    }
    with atomic_write(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", "utf-8")


def _hardware(trainer: pl.Trainer, device: torch.device, processes: Processes) -> dict[str, str]:
    hardware = {"device": _device_name(device), "precision": str(trainer.precision)}
    if processes.count > 1:
        hardware["processes"] = str(processes.count)
    return hardware


def _size(network: nn.Module) -> dict[str, int]:
    return {
        "parameters": count_parameters(network),
        "multiply_adds": count_multiply_adds(network, FACE_SIZE),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's banners and tips out of a library that is silent."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*(lightning|LeafSpec|treespec).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
