from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces

if TYPE_CHECKING:
    from mien.training import Recipe


@pytest.fixture(scope="session")
def faces() -> ExpressionDataset:
    return synthetic_faces(280, seed=3)


@pytest.fixture(scope="session")
def make_recipe() -> "Callable[..., Recipe]":
    """A recipe small enough to train in a second; keywords replace its top-level values."""
    from mien.training.recipe import recipe_from_dict

    def make(**values: Any) -> "Recipe":
        small: dict[str, Any] = {
            "name": "tiny",
            "epochs": 2,
            "batch_size": 32,
            "model": {"name": "residual", "widths": [8, 16], "blocks": 1, "squeeze_from": 1},
            "optimizer": {"name": "sgd", "lr": 0.05},
        }
        return recipe_from_dict({**small, **values})

    return make


@pytest.fixture(scope="session")
def trained(
    faces: ExpressionDataset,
    make_recipe: "Callable[..., Recipe]",
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run, for tests that only read one."""
    from mien.training import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(make_recipe(ema_decay=0.9), faces, folder, device="cpu")
    return folder
