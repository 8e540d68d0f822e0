"""Hyper-parameter search with Optuna: trials in one database, by as many workers as there are.

::

    SEARCH/
    ├── study.db        the trials, unless another database holds them
    ├── trial-0007/     a run; checkpoints are kept of the best trial only
    ├── trials.csv      one row a trial
    └── best.toml       the best trial's recipe, for `mien train`

A worker is a process that calls :func:`tune`; those with the same database share the work. This
module imports Optuna and is imported by nothing else here, so that training goes without it.
"""

import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import optuna
import torch
from optuna.trial import TrialState

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, RecipeError
from mien.metadata import BEST
from mien.training.callbacks import Progress
from mien.training.checkpoint import LAST
from mien.training.history import History
from mien.training.recipe import Recipe
from mien.training.recipe_file import override_recipe
from mien.training.run import train
from mien.training.search_space import Choices, Dimension, refuse_test_split
from mien.training.splits import describe_data, learning_splits
from mien.training.tables import write_table

BEST_RECIPE: Final = "best.toml"
TRIALS: Final = "trials.csv"

#: Seconds between a worker's signs of life, and without one until its trial counts as failed.
HEARTBEAT_S: Final = 10
STALE_S: Final = 60

#: How often values are tried whose worker died, since they may be what killed it.
_ATTEMPTS: Final = 3

#: Seconds that a worker waits for the database while another writes to it.
_PATIENCE_S: Final = 60

#: Trial's attributes in the database: the trial it goes on with, and how often it was tried.
_CONTINUES, _ATTEMPT = "continues", "attempt"

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to search, and how.

    Attributes:
        space: The keys to vary.
        trials: Finished trials wanted, those already in the database included.
        sampler: ``tpe`` learns from the trials so far (Bergstra et al. 2011,
            https://proceedings.neurips.cc/paper/2011/hash/86e8f7ab32cfd12577bc2619bc635690-Abstract.html),
            ``random`` does not.
        pruner: Ends a trial that is behind: ``median`` when below the median of the others at
            the same epoch, ``hyperband`` by brackets (Li et al. 2018,
            https://arxiv.org/abs/1603.06560), ``none`` never.
        storage: Database URL; a SQLite file in the folder when left out.
        name: The study's name in the database; the recipe's when left out.
        seed: Seeds the values drawn, together with the trial's number: a search that was stopped
            draws the same, and workers never draw alike.
    """

    space: tuple[Dimension, ...]
    trials: int = 20
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "median"
    storage: str | None = None
    name: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.space:
            raise RecipeError("there is nothing to search: name a key, e.g. batch_size=64|128")
        if self.trials < 1:
            raise ValueError(f"trials must be 1 or more, got {self.trials}")


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
    """

    number: int
    state: str
    accuracy: float | None
    epochs: int
    minutes: float
    values: dict[str, Any]


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
        DataError: A split of the recipe has no images.
        KeyboardInterrupt: Ctrl-C; what was found so far is kept.
        RecipeError: The recipe chooses on the test split.
        ValueError: The database cannot be used, or there is no such device.
    """
    refuse_test_split(recipe)
    learning_splits(recipe, dataset)
    folder = Path(folder)
    with _quiet():
        study = _open_study(recipe, dataset, folder, search)
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
            raise optuna.TrialPruned(str(error)) from error
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
        except torch.OutOfMemoryError as error:  # a fact about the values, not about the search
            raise optuna.TrialPruned(str(error)) from error
        finally:
            rows = History(run, keep=True).rows
            trial.set_user_attr("epochs", len(rows))
            trial.set_user_attr("minutes", sum(row["seconds"] for row in rows) / 60)
        if result.interrupted:
            _try_again(trial.study, trial, attempt=trial.user_attrs.get(_ATTEMPT, 1))
            raise KeyboardInterrupt
        return result.best_accuracy

    def _open_run(self, trial: optuna.Trial) -> Path:
        """Return the trial's folder, which takes over what a trial before it had reached."""
        run = self._folder / _run_name(trial.number)
        before = trial.user_attrs.get(_CONTINUES)
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
            raise optuna.TrialPruned("the training loss is no number")
        # After the last epoch there is nothing left to save.
        if progress.epoch < progress.epochs and trial.should_prune():
            raise optuna.TrialPruned


class _PerTrial(optuna.samplers.BaseSampler):  # type: ignore[misc] # Optuna is not followed
    """A sampler that is seeded anew for every trial, by the trial's number."""

    def __init__(self, name: str, seed: int) -> None:
        kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        self._kind = kinds[name]
        self._seed = seed
        self._sampler = self._kind(seed=seed)

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Seed for this trial."""
        seed = np.random.SeedSequence((self._seed, trial.number)).generate_state(1)[0]
        self._sampler = self._kind(seed=int(seed))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, Any]:
        """Return what is drawn together."""
        return dict(self._sampler.infer_relative_search_space(study, trial))

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw what is drawn together."""
        return dict(self._sampler.sample_relative(study, trial, search_space))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: Any,
    ) -> Any:
        """Draw one value."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Pass on how the trial ended."""
        self._sampler.after_trial(study, trial, state, values)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(dimension.key, dimension.values)
    suggest = trial.suggest_int if dimension.whole else trial.suggest_float
    return suggest(dimension.key, dimension.low, dimension.high, log=dimension.log)


def _with_values(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    return override_recipe(recipe, [f"{key}={value}" for key, value in values.items()])


def _run_name(number: int) -> str:
    return f"trial-{number:04d}"


def _open_study(
    recipe: Recipe, dataset: ExpressionDataset, folder: Path, search: Search
) -> optuna.Study:
    """Return the study, made or joined, once it is seen to be of the same search."""
    name = search.name or recipe.name
    options = {
        "study_name": name,
        "storage": _open_storage(folder, search),
        "sampler": _PerTrial(search.sampler, search.seed),
        "pruner": _pruner(search.pruner, recipe.epochs),
    }
    held = next(folder.glob("trial-*"), None)
    try:
        study = optuna.create_study(direction="maximize", **options)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(**options)
    else:
        if held is not None:
            optuna.delete_study(study_name=name, storage=options["storage"])
            raise CheckpointError(
                f"{folder} holds the trials of another study: name it, or take another folder"
            )
    facts = {
        "recipe": recipe.to_dict(),
        "search": [str(dimension) for dimension in search.space],
        "data": describe_data(recipe, *learning_splits(recipe, dataset)),
    }
    now = json.loads(json.dumps(facts))
    for part, begun in study.user_attrs.items():
        if part in now and begun != now[part]:
            raise CheckpointError(
                f"study {name}: it was begun with another {part}; go on with the same, or begin "
                f"another study in another folder"
            )
    for part, value in now.items():
        if part not in study.user_attrs:
            study.set_user_attr(part, value)
    return study


def _open_storage(folder: Path, search: Search) -> optuna.storages.RDBStorage:
    import sqlalchemy  # noqa: PLC0415 - Optuna's own, imported only to name its errors

    folder.mkdir(parents=True, exist_ok=True)
    url = search.storage or f"sqlite:///{(folder / 'study.db').resolve().as_posix()}"
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": _PATIENCE_S}
    for attempt in range(5):
        try:
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT_S,
                grace_period=STALE_S,
                heartbeat_stale_trial_callback=_try_again_if_stale,
            )
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError) as error:
            # Workers that start at once may make the same tables at once; one of them wins.
            if attempt == 4:
                raise ValueError(f"{url}: the database cannot be used: {error.args[0]}") from error
            time.sleep(0.5)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            raise ValueError(f"{url}: the database cannot be used: {error}") from error
    raise AssertionError("the last attempt returns or raises")


def _pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    if name == "median":
        # The first fifth says little: the rate is still rising, or far too high to rank by.
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 5 + 1)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs)
    return optuna.pruners.NopPruner()


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


def _try_again_if_stale(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    attempt = trial.user_attrs.get(_ATTEMPT, 1)
    if attempt < _ATTEMPTS:
        _try_again(study, trial, attempt=attempt + 1)


def _try_again(
    study: optuna.Study, trial: optuna.Trial | optuna.trial.FrozenTrial, *, attempt: int
) -> None:
    study.enqueue_trial(trial.params, user_attrs={_CONTINUES: trial.number, _ATTEMPT: attempt})


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
    wanted |= {t.user_attrs.get(_CONTINUES, -1) for t in trials if not t.state.is_finished()}
    for trial in trials:
        if trial.state.is_finished() and trial.number not in wanted:
            for name in (BEST, LAST):
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
    }


def _importances(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in complete}) < 2:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(study))
    except (ImportError, RuntimeError, ValueError):  # too few trials, or all of one value
        return {}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's log and its notes on what is experimental out of a library that is silent."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
