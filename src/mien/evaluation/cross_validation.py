"""Cross-validation: every face read by a model that never saw it, from K trainings.

::

    FOLDER/
    ├── fold-1/                  a run, as `mien train` leaves it, on all other folds
    ├── …
    ├── cross-validation.json    recipe, data, and the accuracy of each fold
    └── cross-validation.npz     probabilities and folds of all faces
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

import mien
from mien.analysis.classifier import softmax
from mien.data.dataset import SPLITS, ExpressionDataset, check_dataset
from mien.data.protocol import learned_faces, seen_breach
from mien.data.selection import regroup_classes
from mien.errors import CheckpointError, DataError, RecipeError
from mien.evaluation.out_of_sample import (
    ARRAYS,
    FACTS,
    NO_FOLD,
    CrossValidation,
    faces_sha256,
    read_cross_validation,
    read_facts,
    write_cross_validation,
    write_facts,
)
from mien.evaluation.predictor import open_predictor
from mien.metadata import EMBEDDED

if TYPE_CHECKING:
    from mien.training import Progress, Recipe

#: Share of the learning folds to choose the epoch on, where the data has no split for that and
#: the recipe names no share.
_HOLD_OUT: Final = 0.1


def cross_validate(
    recipe: "Recipe",
    dataset: ExpressionDataset,
    folder: str | Path,
    *,
    folds: int = 5,
    device: str = "auto",
    watch: "Callable[[str, Progress], None] | None" = None,
    resume: bool = True,
) -> CrossValidation:
    """Train a recipe once a fold, each time on the other folds, and read the faces left out.

    The folds part all faces of the recipe's training split, every class evenly, by the recipe's
    seed. Copies are always in the same fold: exact ones, and those that
    :func:`mien.data.balance.balance` varied. What the recipe leaves out of training (cleaning, a
    share, balancing) is read all the same.

    Each run chooses its epoch on the recipe's validation split, never on the fold that it is
    measured on nor on copies of it. Where the data has no such split, a share of the learning
    folds is held out for it: ``data.hold_out`` of the recipe, or else a tenth.

    Args:
        recipe: What to train and how. A model that it starts from, or is taught by, must not
            have learned from these faces either, which is checked where that model tells.
        dataset: Holds the recipe's training split. Faces of its other splits are read as well.
        folder: Where the runs and the result go; made if it is not there.
        folds: At least 2.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: Called with the run's name after every step and every epoch.
        resume: Keep finished folds and go on with a broken one; without it, a folder that holds a
            cross-validation is refused.

    Raises:
        CheckpointError: ``folder`` holds a cross-validation and ``resume`` is off, or one of
            another recipe, other data or another number of folds; or a fold's training diverged.
        DataError: The folds cannot be made from the data.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
        RecipeError: The recipe learns from or chooses on the test split, or starts from or is
            taught by a model that learned from these faces.
        TypeError: ``recipe`` or ``dataset`` is a name or a file, not what was read of it.
        ValueError: There are fewer than two folds, or there is no such device.
    """
    from mien.training.recipe import check_recipe  # noqa: PLC0415 - brings torch
    from mien.training.resumption import has_begun  # noqa: PLC0415 - brings torch
    from mien.training.search_space import refuse_test_split  # noqa: PLC0415

    check_recipe(recipe)
    check_dataset(dataset)
    folder = Path(folder)
    refuse_test_split(recipe)
    if folds < 2:
        raise ValueError(f"folds: expected 2 or more, got {folds}")
    if not (folder / FACTS).is_file():  # what has begun was let begin
        _refuse_learned(recipe, dataset)
    if recipe.data.classes:
        dataset = regroup_classes(dataset, recipe.data.classes)
    fold_of = assign_folds(dataset, folds, split=recipe.data.train, seed=recipe.seed)
    plan = {
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "folds": folds,
        "faces_sha256": faces_sha256(dataset),
        "version": mien.__version__,
    }
    # What is finished may have lost its runs, which are large; it is still not written over.
    is_begun = (folder / ARRAYS).is_file() or has_begun(_run_folder(folder, 0))
    is_begun = is_begun and (folder / FACTS).is_file()
    if is_begun and _is_over(folder, plan, resume=resume):
        return read_cross_validation(folder)
    if not is_begun:
        write_facts(folder, plan)
    runs = _train_folds(recipe, dataset, folder, fold_of, device=device, watch=watch)
    found = _read_left_out(plan["recipe"], dataset, fold_of, runs, split=recipe.data.train)
    write_cross_validation(folder, found)
    return found


def assign_folds(
    dataset: ExpressionDataset, folds: int, *, split: str, seed: int
) -> npt.NDArray[np.int64]:
    """Return ``(N,)`` int64 each face's fold, from 0, copies together and classes evenly.

    Args:
        dataset: The faces.
        folds: How many folds.
        split: What is parted. A face of another split is in a fold if it is a copy of one of
            these, and otherwise in :data:`NO_FOLD`.
        seed: Which faces go where.

    Raises:
        DataError: There are fewer different faces than folds.
    """
    from mien.training.splits import group_faces  # noqa: PLC0415 - brings torch

    groups = np.unique(group_faces(dataset), return_inverse=True)[1]
    parted = np.flatnonzero(dataset.split_codes == SPLITS.index(split))
    found, first, sizes = np.unique(groups[parted], return_index=True, return_counts=True)
    if len(found) < folds:
        raise DataError(
            f"{split} has {len(found)} different faces, too few for {folds} folds: ask for fewer"
        )
    labels = dataset.labels[parted[first]]
    # Dealt like cards, class by class and large groups first, so that all folds come out alike.
    chance = np.random.default_rng(seed).random(len(found))
    fold_of_group = np.full(len(dataset), NO_FOLD, np.int64)
    fold_of_group[found[np.lexsort((chance, -sizes, labels))]] = np.arange(len(found)) % folds
    return fold_of_group[groups]


def _train_folds(
    recipe: "Recipe",
    dataset: ExpressionDataset,
    folder: Path,
    fold_of: npt.NDArray[np.int64],
    *,
    device: str,
    watch: "Callable[[str, Progress], None] | None",
) -> dict[Path, float]:
    """Train what is missing; return each fold's run and how many minutes it took."""
    from mien.training.resumption import finish_run  # noqa: PLC0415 - brings torch

    recipe = _fold_recipe(recipe, dataset)
    used = [SPLITS.index(split) for split in (recipe.data.train, recipe.data.validation)]
    is_used = np.isin(dataset.split_codes, used)
    runs = {}
    for fold in range(int(fold_of.max()) + 1):
        run = _run_folder(folder, fold)
        others = dataset.take(np.flatnonzero(is_used & (fold_of != fold)))
        summary = finish_run(recipe, others, run, device=device, watch=watch)
        runs[run] = float(summary["minutes"])
    return runs


def _read_left_out(
    recipe: Mapping[str, Any],
    dataset: ExpressionDataset,
    fold_of: npt.NDArray[np.int64],
    runs: Mapping[Path, float],
    *,
    split: str,
) -> CrossValidation:
    """Read every face by the runs that did not learn from it, and measure each run."""
    probabilities = np.zeros((len(dataset), len(dataset.classes)), np.float32)
    is_parted = dataset.split_codes == SPLITS.index(split)
    accuracies, counts = [], []
    for fold, run in enumerate(runs):
        predictor = open_predictor(run)
        for where, share in ((fold_of == fold, 1.0), (fold_of == NO_FOLD, 1 / len(runs))):
            if where.any():
                read = softmax(predictor.logits(dataset.images[where]))
                if not np.isfinite(read).all():
                    raise CheckpointError(
                        f"{run}: its answers are not numbers, as after a training that diverged: "
                        f"begin anew in another folder, say with a lower learning rate"
                    )
                probabilities[where] += np.float32(share) * read
        left_out = is_parted & (fold_of == fold)
        right = probabilities[left_out].argmax(axis=1) == dataset.labels[left_out]
        accuracies.append(float(right.mean()))
        counts.append(len(right))
    return CrossValidation(
        recipe=recipe,
        classes=dataset.classes,
        probabilities=probabilities,
        fold_of=fold_of,
        accuracies=tuple(accuracies),
        counts=tuple(counts),
        minutes=tuple(runs.values()),
        fingerprint=dataset.fingerprint,
        faces_sha256=faces_sha256(dataset),
    )


def _run_folder(folder: Path, fold: int) -> Path:
    return folder / f"fold-{fold + 1}"


def _refuse_learned(recipe: "Recipe", dataset: ExpressionDataset) -> None:
    """Raise where a model to start from or to be taught by learned from these faces.

    They are known by their pixels; FER2013 by the numbers in its classes, too, which resized or
    re-encoded copies keep.
    """
    from mien.training.initial import load_initial  # noqa: PLC0415 - brings torch
    from mien.training.teachers import check_teachers, load_teacher  # noqa: PLC0415

    check_teachers(recipe)
    split = recipe.data.train
    faces = dataset.split(split)
    named = [("initial", recipe.initial)] if recipe.initial else []
    named += [("distillation.teachers", name) for name in recipe.distillation.teachers]
    for key, name in named:
        model = load_initial(name) if key == "initial" else load_teacher(name)
        learned = learned_faces(model.seen, model.data, dataset)
        remembered = learned is not None and seen_breach(learned.contains(faces.images), split)
        alike = name == EMBEDDED and faces.counts() == model.data["counts"].get(split)
        if remembered or alike:
            raise RecipeError(
                f"{key}: {name} learned from these faces, so what it passes on cannot read them "
                f"out of sample: do without it with --set {key}={'' if key == 'initial' else '[]'}"
            )


def _fold_recipe(recipe: "Recipe", dataset: ExpressionDataset) -> "Recipe":
    """Return the recipe for one fold's run, whose data has its classes already."""
    data = replace(recipe.data, classes=())
    if data.validation not in dataset.splits and not data.hold_out:
        data = replace(data, hold_out=_HOLD_OUT)
    return replace(recipe, data=data)


def _is_over(folder: Path, plan: Mapping[str, Any], *, resume: bool) -> bool:
    """Return whether the cross-validation in a folder, which must be this one, is finished."""
    from mien.training.recipe_file import is_same_recipe  # noqa: PLC0415 - brings torch

    if not resume:
        raise CheckpointError(
            f"{folder} already holds a cross-validation: resume it, or name another folder"
        )
    before = read_facts(folder)
    same = {
        "recipe": is_same_recipe(before.get("recipe"), plan["recipe"]),
        "data": before.get("faces_sha256") == plan["faces_sha256"],
        "number of folds": before.get("folds") == plan["folds"],
    }
    for part, is_same in same.items():
        if not is_same:
            raise CheckpointError(
                f"{folder}: the cross-validation was begun with another {part}; go on with the "
                f"same, or name another folder"
            )
    return (folder / ARRAYS).is_file()
