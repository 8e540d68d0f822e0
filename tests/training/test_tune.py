import csv
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, RecipeError
from mien.metadata import BEST
from mien.training import Progress, Recipe, load_recipe, train
from mien.training.checkpoint import LAST, load_checkpoint
from mien.training.search_space import parse_search
from mien.training.study import Search
from mien.training.tune import TRIALS, TrialResult, Tuning, tune

#: From what learns to what cannot.
RATE = "optimizer.lr=1e-9..0.1:log"

#: A worker of its own process; it trains `tiny` on the faces of a file.
WORKER = """
import sys
from mien.data import read_dataset
from mien.training.recipe_file import recipe_from_dict
from mien.training.search_space import parse_search
from mien.training.study import Search
from mien.training.tune import tune

folder, data, trials, epochs = sys.argv[1:]
recipe = recipe_from_dict({"name": "tiny", "epochs": int(epochs), "batch_size": 32,
    "model": {"name": "residual", "widths": [4], "blocks": 1}, "optimizer": {"name": "sgd"}})
search = Search(space=parse_search(["optimizer.lr=1e-5..0.1:log"], recipe), trials=int(trials),
    sampler="random", pruner="none")
tuning = tune(recipe, read_dataset(data), folder, search, device="cpu",
    tell=lambda trial: print(trial.number, trial.values["optimizer.lr"], flush=True))
"""


@pytest.fixture
def search(make_recipe: Callable[..., Recipe]) -> Callable[..., Search]:
    def make(**options: object) -> Search:
        space = parse_search([RATE, "batch_size=16|32"], make_recipe())
        return Search(space=space, **{"trials": 3, "pruner": "none", **options})  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def tuned(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Tuning, list[TrialResult]]:
    recipe, told = make_recipe(), list[TrialResult]()
    space = parse_search([RATE, "batch_size=16|32"], recipe)
    folder = tmp_path_factory.mktemp("searches") / "tiny"
    wanted = Search(space=space, trials=4, pruner="none", seed=1)
    return tune(recipe, faces, folder, wanted, device="cpu", tell=told.append), told


def test_a_search_leaves_all_that_it_promises(
    tuned: tuple[Tuning, list[TrialResult]], faces: ExpressionDataset, tmp_path: Path
) -> None:
    tuning, told = tuned
    assert tuning.trials == tuple(told)
    assert [trial.state for trial in told] == ["complete"] * 4
    assert tuning.best == max(told, key=lambda trial: trial.accuracy or 0)
    assert sum(tuning.importances.values()) == pytest.approx(1)

    rows = list(csv.DictReader((tuning.folder / "trials.csv").open()))
    assert [float(row["optimizer.lr"]) for row in rows] == [t.values["optimizer.lr"] for t in told]
    assert [int(row["epochs"]) for row in rows] == [2] * 4

    best = load_recipe(tuning.folder / "best.toml")
    assert best.optimizer.lr == tuning.best.values["optimizer.lr"]
    again = train(best, faces, tmp_path / "again", device="cpu")
    assert again.best_accuracy == tuning.best.accuracy


def test_only_the_best_keeps_its_checkpoints(tuned: tuple[Tuning, list[TrialResult]]) -> None:
    tuning, _ = tuned
    assert tuning.best is not None
    best = tuning.folder / f"trial-{tuning.best.number:04d}"

    kept = {path.parent for name in (BEST, LAST) for path in tuning.folder.rglob(name)}

    assert kept == {best}
    assert load_checkpoint(best).recipe.optimizer.lr == tuning.best.values["optimizer.lr"]
    for run in tuning.folder.glob("trial-*"):
        assert (run / "metrics.csv").is_file()
        assert (run / "recipe.toml").is_file()


def test_a_search_goes_on_and_draws_what_an_unbroken_one_draws(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    search: Callable[..., Search],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(epochs=1)
    options = {"sampler": "random", "seed": 5}

    whole = tune(recipe, faces, tmp_path / "whole", search(**options), device="cpu")
    tune(recipe, faces, tmp_path / "parts", search(trials=1, **options), device="cpu")
    parts = tune(recipe, faces, tmp_path / "parts", search(**options), device="cpu")

    values = [trial.values for trial in whole.trials]
    assert [trial.values for trial in parts.trials] == values
    assert len({trial["optimizer.lr"] for trial in values}) == 3
    other = tune(recipe, faces, tmp_path / "other", search(trials=1, seed=6), device="cpu")
    assert other.trials[0].values not in values


def test_poor_trials_are_pruned_and_signals_are_as_before(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=5)
    folder = tmp_path / "search"
    folder.mkdir()
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}", study_name="tiny", direction="maximize"
    )
    perfect = optuna.trial.create_trial(
        params={"optimizer.lr": 1e-3},
        distributions={"optimizer.lr": optuna.distributions.FloatDistribution(1e-9, 0.1, log=True)},
        value=1.0,
        intermediate_values=dict.fromkeys(range(1, 6), 1.0),
    )
    study.add_trials([perfect] * 5)
    wanted = Search(space=parse_search([RATE], recipe), trials=6, pruner="median")
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    *_, pruned = tune(recipe, faces, folder, wanted, device="cpu").trials

    assert pruned.state == "pruned"
    assert pruned.epochs == 2, "none is pruned in the first fifth"
    assert pruned.accuracy is not None
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert {path.name for path in (folder / "trial-0005").iterdir()} == {
        "recipe.toml",
        "metrics.csv",
    }


def test_values_that_do_not_go_together_are_pruned(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=1)
    specs = ["schedule.name=cosine|plateau", "schedule.warmup=0.1|0.2"]
    wanted = Search(space=parse_search(specs, recipe), trials=4, pruner="hyperband")

    tuning = tune(recipe, faces, tmp_path / "search", wanted, device="cpu")

    states = {trial.values["schedule.name"]: trial.state for trial in tuning.trials}
    assert states == {"cosine": "complete", "plateau": "pruned"}
    reasons = {trial.state: trial.reason for trial in tuning.trials}
    assert reasons["complete"] == ""
    assert "warmup" in reasons["pruned"]
    assert reasons["pruned"] in (tmp_path / "search" / TRIALS).read_text("utf-8")


def test_ctrl_c_in_a_trial_is_gone_on_with(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    search: Callable[..., Search],
    tmp_path: Path,
) -> None:
    recipe, wanted, seen = make_recipe(epochs=3), search(trials=2), list[tuple[str, int]]()

    def stop(name: str, progress: Progress) -> None:
        if (name, progress.epoch, progress.step) == ("trial-0001", 3, 1):
            raise KeyboardInterrupt

    def watch(name: str, progress: Progress) -> None:
        if progress.metrics is not None:
            seen.append((name, progress.epoch))

    with pytest.raises(KeyboardInterrupt):
        tune(recipe, faces, tmp_path / "search", wanted, device="cpu", watch=stop)
    assert (tmp_path / "search" / "best.toml").is_file()
    tuning = tune(recipe, faces, tmp_path / "search", wanted, device="cpu", watch=watch)

    assert [trial.state for trial in tuning.trials] == ["complete", "fail", "complete"]
    assert tuning.trials[2].values == tuning.trials[1].values
    assert seen == [("trial-0002", 3)], "the first two epochs were there"
    assert tuning.trials[2].epochs == 3


def test_searches_are_not_mixed(
    tuned: tuple[Tuning, list[TrialResult]],
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    search: Callable[..., Search],
) -> None:
    folder = tuned[0].folder

    with pytest.raises(CheckpointError, match="another recipe"):
        tune(make_recipe(epochs=9), faces, folder, search(), device="cpu")
    with pytest.raises(CheckpointError, match="another data"):
        tune(make_recipe(), faces.take(range(250)), folder, search(), device="cpu")
    fewer = Search(space=search().space[:1], trials=4)
    with pytest.raises(CheckpointError, match="another search"):
        tune(make_recipe(), faces, folder, fewer, device="cpu")
    for _ in range(2):  # refused, it leaves no study that the next call would join
        with pytest.raises(CheckpointError, match="trials of another study"):
            tune(make_recipe(), faces, folder, search(name="other"), device="cpu")


def test_what_cannot_be_searched_is_told(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    search: Callable[..., Search],
    tmp_path: Path,
) -> None:
    test_split = make_recipe(data={"validation": "PrivateTest"})
    with pytest.raises(RecipeError, match="test split"):
        tune(test_split, faces, tmp_path / "search", search())
    with pytest.raises(RecipeError, match="nothing to search"):
        Search(space=())
    for url in ("nonsense", "sqlite:////no/such/folder/study.db"):
        with pytest.raises(ValueError, match="the database cannot be used"):
            tune(make_recipe(), faces, tmp_path / "search", search(storage=url))
    for url in ("postgresql://me:secret@127.0.0.1:1/x", "postgresql://me:secret@host:port/x"):
        with pytest.raises(ValueError, match="the database cannot be used") as caught:
            tune(make_recipe(), faces, tmp_path / "search", search(storage=url))
        assert "secret" not in str(caught.value)


def start_worker(folder: Path, data: Path, *, trials: int, epochs: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(data), str(trials), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def data(faces: ExpressionDataset, tmp_path: Path) -> Path:
    from mien.data import save_dataset

    save_dataset(faces, tmp_path / "faces.npz")
    return tmp_path / "faces.npz"


def test_two_workers_share_a_search_and_never_draw_alike(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "search"

    workers = [start_worker(folder, data, trials=8, epochs=3) for _ in range(2)]
    told = [worker.communicate(timeout=300)[0].splitlines() for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0]
    assert all(told), "both had trials"
    lines = [line for lines in told for line in lines]
    assert 8 <= len(lines) <= 9
    assert len({line.split()[1] for line in lines}) == len(lines)
    assert sum(1 for _ in folder.rglob(BEST)) == 1
    assert load_recipe(folder / "best.toml").epochs == 3


def test_a_trial_whose_worker_was_killed_is_tried_again(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    worker = start_worker(folder, data, trials=1, epochs=10)
    deadline = time.monotonic() + 300
    while not (folder / "trial-0000" / LAST).exists():
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.kill()
    worker.communicate()
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("update trial_heartbeats set heartbeat = datetime('now', '-1 hour')")

    again = start_worker(folder, data, trials=1, epochs=10)
    told, _ = again.communicate(timeout=300)

    assert again.returncode == 0
    assert [line.split()[0] for line in told.splitlines()] == ["1"]
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [row["state"] for row in rows] == ["fail", "complete"]
    assert rows[0]["optimizer.lr"] == rows[1]["optimizer.lr"]
    assert rows[1]["epochs"] == "10"
    assert not (folder / "trial-0000").exists(), "its epochs went on under the new number"
