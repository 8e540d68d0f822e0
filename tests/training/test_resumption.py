from collections.abc import Callable
from pathlib import Path

import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError
from mien.training import Progress, Recipe
from mien.training.recipe_file import recipe_from_dict
from mien.training.resumption import finish_run


def knn(neighbours: int) -> Recipe:
    model = {"name": "pca_knn", "components": 5, "neighbours": neighbours}
    return recipe_from_dict({"name": "knn", "model": model})


def test_a_finished_training_is_kept(faces: ExpressionDataset, tmp_path: Path) -> None:
    seen: list[str] = []
    folder = tmp_path / "seed-0"

    first = finish_run(knn(3), faces, folder, watch=lambda name, _: seen.append(name))
    told = len(seen)
    second = finish_run(knn(3), faces, folder, watch=lambda name, _: seen.append(name))

    assert first == second
    assert first["best_accuracy"] > 0
    assert told == len(seen) == 2
    assert set(seen) == {"seed-0"}


def test_a_training_of_something_else_is_told(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    finish_run(knn(3), faces, tmp_path)

    with pytest.raises(CheckpointError, match="another recipe"):
        finish_run(knn(4), faces, tmp_path)
    with pytest.raises(CheckpointError, match="another data"):
        finish_run(knn(3), faces.take(range(250)), tmp_path)
    for damaged in ("{", "[]", "{}"):
        (tmp_path / "run.json").write_text(damaged)
        with pytest.raises(CheckpointError, match="not the summary that mien wrote"):
            finish_run(knn(3), faces, tmp_path)


def test_ctrl_c_stops_the_larger_work_too(faces: ExpressionDataset, tmp_path: Path) -> None:
    def interrupt(_: str, progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish_run(knn(3), faces, tmp_path, watch=interrupt)
    assert finish_run(knn(3), faces, tmp_path)["interrupted"] is False
