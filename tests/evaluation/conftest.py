from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mien.data.dataset import ExpressionDataset

if TYPE_CHECKING:
    from mien.training import Recipe


@pytest.fixture(scope="session")
def quick() -> "Callable[..., Recipe]":
    """A recipe that is fitted in a tenth of a second; keywords replace its top-level values."""
    from mien.training.recipe_file import recipe_from_dict

    model = {"name": "hog_logistic", "kernel": "linear", "mirrored": False}

    def make(**values: Any) -> "Recipe":
        return recipe_from_dict({"name": "quick", "model": model, **values})

    return make


@pytest.fixture(scope="session")
def validated(
    faces: ExpressionDataset,
    quick: "Callable[..., Recipe]",
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished cross-validation in three folds, for tests that only read one."""
    from mien.evaluation.cross_validation import cross_validate

    folder = tmp_path_factory.mktemp("runs") / "validated"
    cross_validate(quick(), faces, folder, folds=3)
    return folder
