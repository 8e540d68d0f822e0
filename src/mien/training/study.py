"""The study of a search: its database, how values are drawn, and what a dead worker leaves."""

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import optuna
from optuna.trial import TrialState

from mien.errors import CheckpointError, RecipeError
from mien.training.recipe import Recipe
from mien.training.search_space import Dimension

#: Seconds between a worker's signs of life, and without one until its trial counts as failed.
HEARTBEAT_S: Final = 10
STALE_S: Final = 60

#: How often values are tried whose worker died, since they may be what killed it.
_ATTEMPTS: Final = 3

#: Seconds that a worker waits for the database while another writes to it.
_PATIENCE_S: Final = 60

#: Trial's attributes in the database: the trial it goes on with, and how often it was tried.
CONTINUES, ATTEMPT = "continues", "attempt"


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


def open_study(recipe: Recipe, data: dict[str, Any], folder: Path, search: Search) -> optuna.Study:
    """Return the study, made or joined, once it is seen to be of the same search.

    Args:
        recipe: What all trials share.
        data: The record of what it learns from and chooses on.
        folder: Where the trials go.
        search: What to search, and how.

    Raises:
        CheckpointError: It is of another search, or the folder holds another study's trials.
        ValueError: The database cannot be used.
    """
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
        "data": data,
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
    try:
        named = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        expected = "a URL such as postgresql://user:password@host/studies"
        raise ValueError(f"the database cannot be used: expected {expected}") from None
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
                raise ValueError(
                    f"{named}: the database cannot be used: {error.args[0]}"
                ) from error
            time.sleep(0.5)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            raise ValueError(f"{named}: the database cannot be used: {error}") from error
    raise AssertionError("the last attempt returns or raises")


def _pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    if name == "median":
        # The first fifth says little: the rate is still rising, or far too high to rank by.
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 5 + 1)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs)
    return optuna.pruners.NopPruner()


def _try_again_if_stale(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    attempt = trial.user_attrs.get(ATTEMPT, 1)
    if attempt < _ATTEMPTS:
        try_again(study, trial, attempt=attempt + 1)


def try_again(
    study: optuna.Study, trial: optuna.Trial | optuna.trial.FrozenTrial, *, attempt: int
) -> None:
    """Queue a trial's values again, to go on from where it was."""
    study.enqueue_trial(trial.params, user_attrs={CONTINUES: trial.number, ATTEMPT: attempt})


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log and its notes on what is experimental out of a library that is silent."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


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
