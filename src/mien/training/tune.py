"""Hyper-parameter search with Optuna: trials in one database, by as many workers as there are.

::

    SEARCH/
    ├── study.db        the trials, unless another database holds them
    ├── trial-0007/     a run; checkpoints are kept of the best trial only
    ├── trials.csv      one row a trial
    └── best.toml       the best trial's recipe, for `mien train`

A worker is a process that calls :func:`tune`; those with the same database share the work. This
module and the study's import Optuna; training itself goes without it.
"""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import optuna
import torch
from optuna.trial import TrialState

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset, check_dataset
from mien.errors import RecipeError
from mien.metadata import BEST, CLASSICAL_FILE
from mien.training.callbacks import Progress
from mien.training.checkpoint import LAST
from mien.training.history import History
from mien.training.recipe import Recipe, check_recipe
from mien.training.recipe_file import override_recipe
from mien.training.run import train
from mien.training.search_space import Choices, Dimension, asks_for_votes, refuse_test_split
from mien.training.splits import describe_data, learning_splits, require_votes
from mien.training.study import (
    ATTEMPT,
    CONTINUES,
    Search,
    open_study,
    quiet_optuna,
    try_again,
)
from mien.training.tables import write_table

BEST_RECIPE: Final = "best.toml"
TRIALS: Final = "trials.csv"

#: Of a trial in the database: why it was given up.
_REASON: Final = "reason"

#: States of the trials that count.
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial.

    Attributes:
        number: Its number, from 0.
        state: ``complete``, ``pruned``, ``fail``, ``running`` or ``waiting``.
        accuracy: Best validation accuracy it has reached, 0 to 1; None before the first epoch.
        epochs: Epochs trained.
        minutes: How long they took.
        values: What was varied, by key.
        reason: Why it was given up, where others were not simply better; empty else.
    """

    number: int
    state: str
    accuracy: float | None
    epochs: int
    minutes: float
    values: dict[str, Any]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a search ended.

    Attributes:
        folder: Where everything is.
        trials: All trials, in order.
        best: The complete trial of the highest validation accuracy; None if none was complete.
        importances: Share of each key in what sets trials apart, largest first; empty when there
            are too few to tell.
    """

    folder: Path
    trials: tuple[TrialResult, ...]
    best: TrialResult | None
    importances: dict[str, float] = field(default_factory=dict)


def tune(
    recipe: Recipe,
    dataset: ExpressionDataset,
    folder: str | Path,
    search: Search,
    *,
    device: str = "auto",
    watch: Callable[[str, Progress], None] | None = None,
    tell: Callable[[TrialResult], None] | None = None,
) -> Tuning:
    """Search for the values with the highest validation accuracy.

    A search that was stopped goes on with the same call; a trial whose worker died is counted as
    failed, and its values are tried again, from its last checkpoint where that is at hand.
    Workers that finish the last trials at the same time may finish one more than asked for.

    Args:
        recipe: What all trials share.
        dataset: Holds the recipe's splits.
        folder: Where the trials go; on one machine, workers share it.
        search: What to search, and how.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: Called with the trial's folder name after every step and every epoch.
        tell: Called with each trial that this worker ends.

    Raises:
        CheckpointError: The study was begun with another recipe, search or data, or the folder
            holds the trials of another study.
        DataError: A split of the recipe has no images, or FER+ votes are asked for and there are
            none.
        KeyboardInterrupt: Ctrl-C; what was found so far is kept.
        RecipeError: The recipe chooses on the test split.
        TypeError: ``recipe`` or ``dataset`` is a name or a file, not what was read of it.
        ValueError: The database cannot be used, or there is no such device.
    """
    check_recipe(recipe)
    check_dataset(dataset)
    refuse_test_split(recipe)
    if asks_for_votes(recipe, search.space):
        require_votes(dataset)
    data = describe_data(recipe, *learning_splits(recipe, dataset))
    folder = Path(folder)
    with quiet_optuna():
        study = open_study(recipe, data, folder, search)
        worker = _Worker(recipe, dataset, folder, search, device, watch)
        while _wait_for_work(study, search.trials):
            try:
                study.optimize(worker, n_trials=1, gc_after_trial=True)
            finally:
                _keep_results(study, recipe, search, folder)
            if tell is not None:
                tell(_result(study.get_trials(deepcopy=False)[worker.number]))
        _keep_results(study, recipe, search, folder)
        trials = tuple(_result(trial) for trial in study.get_trials(deepcopy=False))
        best = _best(study)
        importances = _importances(study)
    return Tuning(
        folder=folder,
        trials=trials,
        best=None if best is None else _result(best),
        importances=importances,
    )


class _Worker:
    """Trains one trial after the other; what Optuna calls the objective."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: ExpressionDataset,
        folder: Path,
        search: Search,
        device: str,
        watch: Callable[[str, Progress], None] | None,
    ) -> None:
        self._recipe = recipe
        self._dataset = dataset
        self._folder = folder
        self._search = search
        self._device = device
        self._watch = watch
        self.number = -1

    def __call__(self, trial: optuna.Trial) -> float:
        """Train a trial's recipe and return its best validation accuracy."""
        self.number = trial.number
        values = {dimension.key: _suggest(trial, dimension) for dimension in self._search.space}
        try:
            recipe = _with_values(self._recipe, values)
        except RecipeError as error:  # values that are right alone and wrong together
            raise _given_up(trial, str(error)) from error
        run = self._open_run(trial)
        resume = (run / LAST).is_file()
        for row in History(run, keep=resume).rows:
            trial.report(row["val_accuracy"], int(row["epoch"]))
        try:
            result = train(
                recipe,
                self._dataset,
                run,
                resume=resume,
                device=self._device,
                watch=lambda progress: self._follow(trial, run.name, progress),
            )
        except KeyboardInterrupt:
            try_again(trial.study, trial, attempt=trial.user_attrs.get(ATTEMPT, 1))
            raise
        except torch.OutOfMemoryError as error:  # a fact about the values, not about the search
            raise _given_up(trial, str(error).partition("\n")[0]) from error
        finally:
            rows = History(run, keep=True).rows
            trial.set_user_attr("epochs", len(rows))
            trial.set_user_attr("minutes", sum(row["seconds"] for row in rows) / 60)
        return result.best_accuracy

    def _open_run(self, trial: optuna.Trial) -> Path:
        """Return the trial's folder, which takes over what a trial before it had reached."""
        run = self._folder / _run_name(trial.number)
        before = trial.user_attrs.get(CONTINUES)
        if before is not None and (self._folder / _run_name(before) / LAST).is_file():
            (self._folder / _run_name(before)).rename(run)
        return run

    def _follow(self, trial: optuna.Trial, name: str, progress: Progress) -> None:
        if self._watch is not None:
            self._watch(name, progress)
        if progress.metrics is None:
            return
        trial.report(progress.metrics["val_accuracy"], progress.epoch)
        if not math.isfinite(progress.metrics["train_loss"]):
            raise _given_up(trial, "the training loss is no number")
        # After the last epoch there is nothing left to save.
        if progress.epoch < progress.epochs and trial.should_prune():
            raise optuna.TrialPruned


def _given_up(trial: optuna.Trial, reason: str) -> optuna.TrialPruned:
    trial.set_user_attr(_REASON, reason)
    return optuna.TrialPruned(reason)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(dimension.key, dimension.values)
    suggest = trial.suggest_int if dimension.whole else trial.suggest_float
    return suggest(dimension.key, dimension.low, dimension.high, log=dimension.log)


def _with_values(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    return override_recipe(recipe, [f"{key}={value}" for key, value in values.items()])


def _run_name(number: int) -> str:
    return f"trial-{number:04d}"


def _wait_for_work(study: optuna.Study, wanted: int) -> bool:
    """Return whether one more trial is needed, when the other workers' may still fail."""
    while True:
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        finished = sum(state in _FINISHED for state in states)
        if finished >= wanted:
            return False
        if finished + states.count(TrialState.RUNNING) < wanted:
            return True
        time.sleep(1)
        optuna.storages.fail_stale_trials(study)


def _keep_results(study: optuna.Study, recipe: Recipe, search: Search, folder: Path) -> None:
    """Write the table and the best recipe, and drop the checkpoints that are not the best's."""
    trials = study.get_trials(deepcopy=False)
    write_table(folder / TRIALS, [_row(_result(trial), search) for trial in trials])
    best = _best(study)
    if best is not None:
        text = _with_values(recipe, best.params).to_toml()
        title = f"# Trial {best.number} of study {study.study_name}: "
        title += f"{100 * best.value:.2f} % on {recipe.data.validation}\n"
        with atomic_write(folder / BEST_RECIPE) as temporary:
            temporary.write_text(title + text, "utf-8")
    wanted = {best.number} if best is not None else set()
    # What is to go on, or goes on now, is needed too.
    wanted |= {t.user_attrs.get(CONTINUES, -1) for t in trials if not t.state.is_finished()}
    for trial in trials:
        if trial.state.is_finished() and trial.number not in wanted:
            for name in (BEST, LAST, CLASSICAL_FILE):
                (folder / _run_name(trial.number) / name).unlink(missing_ok=True)


def _best(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    with contextlib.suppress(ValueError):  # no trial is complete
        return study.best_trial
    return None


def _result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    reached = max(trial.intermediate_values.values(), default=None)
    return TrialResult(
        number=trial.number,
        state=trial.state.name.lower(),
        accuracy=reached if trial.value is None else trial.value,
        epochs=trial.user_attrs.get("epochs", 0),
        minutes=trial.user_attrs.get("minutes", 0.0),
        values=dict(trial.params),
        reason=trial.user_attrs.get(_REASON, ""),
    )


def _row(result: TrialResult, search: Search) -> dict[str, Any]:
    """Return a trial as plain values, as the table on disk holds it."""
    return {
        "trial": result.number,
        "state": result.state,
        "accuracy": "" if result.accuracy is None else result.accuracy,
        "epochs": result.epochs,
        "minutes": result.minutes,
        **{d.key: result.values.get(d.key, "") for d in search.space},
        "reason": result.reason,
    }


def _importances(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in complete}) < 2:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(study))
    except (ImportError, RuntimeError, ValueError):  # too few trials, or all of one value
        return {}
