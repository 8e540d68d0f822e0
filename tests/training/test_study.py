import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mien.training import Recipe
from mien.training.search_space import parse_search
from mien.training.study import ATTEMPT, Search, open_study, quiet_optuna


@pytest.mark.parametrize(("attempt", "waiting"), [(1, 1), (2, 1), (3, 0)])
def test_values_whose_workers_die_are_tried_three_times(
    attempt: int, waiting: int, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe()
    search = Search(space=parse_search(["batch_size=16|32"], recipe))
    values = {"batch_size": optuna.distributions.CategoricalDistribution([16, 32])}

    with quiet_optuna():
        study = open_study(recipe, {}, tmp_path, search)
        study.ask(values).set_user_attr(ATTEMPT, attempt)
        with sqlite3.connect(tmp_path / "study.db") as database:
            database.execute(
                "insert into trial_heartbeats (trial_id, heartbeat) "
                "select trial_id, datetime('now', '-1 hour') from trials"
            )
        optuna.storages.fail_stale_trials(study)

    dead, *again = study.trials
    assert dead.state == TrialState.FAIL
    assert [trial.state for trial in again] == [TrialState.WAITING] * waiting
    for trial in again:
        assert trial.system_attrs["fixed_params"] == dead.params
        assert trial.user_attrs[ATTEMPT] == attempt + 1
