"""Fitting a classical baseline, and keeping it in a file that cannot run code.

::

    RUN/
    ├── recipe.toml     the recipe as fitted, overrides included
    ├── metrics.csv     one row
    ├── model.skops     the fitted model and its metadata
    └── run.json        data, machine, versions, and the outcome

``model.skops`` is an archive as skops writes it, and mien's metadata as ``mien.json`` within.
"""

import json
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset
from mien.data.protocol import refuse_breaches
from mien.data.seen_faces import SeenFaces
from mien.errors import CheckpointError, RecipeError
from mien.metadata import CLASSICAL_FILE
from mien.models import ClassicalConfig, ClassicalModel
from mien.preprocess import FACE_SIZE
from mien.training.callbacks import Progress
from mien.training.history import History
from mien.training.protocol import training_breaches
from mien.training.recipe import Recipe
from mien.training.recipe_file import recipe_from_dict
from mien.training.run import (
    RunResult,
    check_same_run,
    refuse_run,
    run_result,
    write_recipe,
    write_summary,
)
from mien.training.splits import describe_data, learning_splits

#: The archive's member that holds mien's metadata.
_CARD: Final = "mien.json"

#: All that a baseline is made of: the types that each kind of skops's nodes may build. skops
#: itself trusts every estimator of scikit-learn, some of which index memory by the file's numbers.
_TRUSTED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "DictNode": frozenset({"builtins.dict"}),
        "ListNode": frozenset({"builtins.list"}),
        "TupleNode": frozenset({"builtins.tuple"}),
        "JsonNode": frozenset({"builtins.str"}),
        "TypeNode": frozenset({"builtins.str"}),
        "NdArrayNode": frozenset({"numpy.ndarray", "numpy.float32", "numpy.float64"}),
        "ObjectNode": frozenset(
            {
                "sklearn.pipeline.Pipeline",
                "sklearn.kernel_approximation.Nystroem",
                "sklearn.svm._classes.LinearSVC",
                "sklearn.linear_model._logistic.LogisticRegression",
                "sklearn.decomposition._pca.PCA",
                "sklearn.neighbors._classification.KNeighborsClassifier",
            }
        ),
    }
)

#: What damage makes zip, JSON, skops and scikit-learn raise.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    ImportError,
    OSError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecipeError,
)


def train_classical(
    recipe: Recipe,
    dataset: ExpressionDataset,
    folder: str | Path,
    *,
    resume: bool = False,
    override_protocol: bool = False,
    watch: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Fit a classical baseline on a data set and keep everything in a folder.

    Args:
        recipe: What to fit.
        dataset: Holds the recipe's training and validation splits.
        folder: Where the run goes; made if it is not there.
        resume: Return the result of the run in ``folder``; there is no unfinished one.
        override_protocol: As for :func:`mien.training.train`.
        watch: Called at the start and at the end.

    Raises:
        CheckpointError: ``folder`` holds a run and ``resume`` is off, or the other way round, or
            the run there is of another recipe or other data.
        DataError: A split of the recipe has no images, or there is nothing to learn from them.
        ProtocolError: As for :func:`mien.training.train`.
        RecipeError: The recipe asks for more than the training faces have.
    """
    folder = Path(folder)
    training, validation = learning_splits(recipe, dataset)
    data = describe_data(recipe, training, validation)
    seen = SeenFaces.of(training.images)
    breaches = refuse_breaches(
        training_breaches(recipe, dataset, seen, validation), override=override_protocol
    )
    card = {
        "recipe": recipe.to_dict(),
        "classes": list(training.classes),
        "data": data,
        "seen": seen.to_text(),
        "breaches": breaches,
    }
    if resume:
        if not (folder / CLASSICAL_FILE).is_file():
            raise CheckpointError(f"{folder}: nothing to resume, there is no {CLASSICAL_FILE}")
        check_same_run(folder, read_card(folder / CLASSICAL_FILE), card)
        return run_result(folder, History(folder, keep=True))
    refuse_run(folder)
    write_recipe(folder, recipe)
    history = History(folder, keep=False)
    model = _fit(recipe, training, validation, history, watch)
    result = run_result(folder, history)
    facts: dict[str, Any] = {"device": "cpu", "precision": None, "parameters": model.parameters}
    versions = {name: version(name) for name in ("scikit-learn", "scikit-image", "skops")}
    facts |= {"multiply_adds": None, "data": data, "breaches": breaches}
    write_summary(folder, result, history, facts, versions)
    save_classical(model, folder / CLASSICAL_FILE, card)  # last: what has it is a finished run
    return result


def save_classical(model: ClassicalModel, path: Path, card: Mapping[str, Any]) -> None:
    """Write a fitted baseline and its metadata as one file.

    Args:
        model: The baseline.
        path: Where the file goes.
        card: ``recipe``, ``classes``, ``data``, ``seen`` and ``breaches``, as plain JSON types.
    """
    import skops.io  # noqa: PLC0415 - slow to import

    with atomic_write(path) as temporary:
        skops.io.dump(model.pipeline, temporary, compression=zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_CARD, json.dumps({**card, "temperature": model.temperature}))


def load_classical(path: str | Path) -> tuple[ClassicalModel, Recipe]:
    """Load a fitted baseline and its recipe from its file, or from its run's folder.

    Types that no baseline of mien is made of are refused before anything is built.

    Raises:
        CheckpointError: Missing, damaged, not mien's, or unsafe.
    """
    import skops.io  # noqa: PLC0415 - slow to import

    path = Path(path)
    if path.is_dir():
        path = path / CLASSICAL_FILE
    card = read_card(path)
    _refuse_strangers(path)
    try:
        recipe = recipe_from_dict(card["recipe"])
        if not isinstance(recipe.model, ClassicalConfig):
            raise TypeError(f"{recipe.model_name} is no classical baseline")
        model = ClassicalModel(
            config=recipe.model,
            classes=tuple(card["classes"]),
            pipeline=skops.io.load(path),
            temperature=float(card["temperature"]),
        )
        _check_lengths(model.pipeline)
        model.logits(np.zeros((1, FACE_SIZE, FACE_SIZE), np.uint8))
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: damaged, or not a model of mien: {reason}") from error
    return model, recipe


def _fit(
    recipe: Recipe,
    training: ExpressionDataset,
    validation: ExpressionDataset,
    history: History,
    watch: Callable[[Progress], None] | None,
) -> ClassicalModel:
    """Fit the recipe's baseline, keep its figures as the history's one row, and tell of both."""
    import skops.io  # noqa: PLC0415 - slow to import

    assert isinstance(recipe.model, ClassicalConfig)
    tell = watch or (lambda _: None)
    tell(Progress(epoch=1, epochs=1, step=0, steps=1))
    began = time.monotonic()
    fresh = recipe.model.fit(
        training.images, training.labels, recipe.seed, classes=training.classes
    )
    # Arrays are read back in another order in memory, which changes sums in their last digit and
    # so an answer among nearly equal neighbours: what is measured is the model as it is read.
    model = replace(fresh, pipeline=skops.io.loads(skops.io.dumps(fresh.pipeline)))
    metrics = {
        "lr": 0.0,
        **_figures("train", model, training),
        **_figures("val", model, validation),
    }
    metrics["seconds"] = time.monotonic() - began
    history.append(1, metrics)
    tell(Progress(epoch=1, epochs=1, step=1, steps=1, metrics=metrics))
    return model


def _figures(stage: str, model: ClassicalModel, faces: ExpressionDataset) -> dict[str, float]:
    """Return the loss in nats and the accuracy, by their columns' names."""
    logits = model.logits(faces.images)
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(faces.labels))
    accuracy = float((logits.argmax(axis=1) == faces.labels).mean())
    return {f"{stage}_loss": loss.item(), f"{stage}_accuracy": accuracy}


def read_card(path: Path) -> dict[str, Any]:
    """Return the metadata in a model's file.

    Raises:
        CheckpointError: It is missing, damaged, or not mien's.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such model; a run of a baseline holds {CLASSICAL_FILE}")
    card = _read_json(path, _CARD)
    if not isinstance(card, dict) or not isinstance(card.get("data"), dict):
        raise CheckpointError(f"{path}: damaged, or not a model of mien: no record of its data")
    try:
        if "seen" in card:
            SeenFaces.from_text(card["seen"])
    except (AttributeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, or not a model of mien: seen: {error}") from error
    return card


def _read_json(path: Path, member: str) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(member))
    except _DAMAGE as error:
        raise CheckpointError(f"{path}: damaged, or not a model of mien: {error}") from error


def _refuse_strangers(path: Path) -> None:
    """Raise where a file asks for more than :data:`_TRUSTED`.

    Raises:
        CheckpointError: It does, or it is damaged.
    """
    try:
        for loader, kind in _nodes(_read_json(path, "schema.json")):
            if kind not in _TRUSTED.get(loader, ()):
                raise CheckpointError(
                    f"{path}: refused: it holds {kind} ({loader}), which no model of mien is made "
                    f"of, and loading it could run code; use models written by mien"
                )
    except RecursionError as error:
        raise CheckpointError(f"{path}: damaged, or not a model of mien") from error


def _nodes(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield the loader and the full name of the type of each of a schema's nodes."""
    if isinstance(tree, dict):
        if "__loader__" in tree:
            yield str(tree["__loader__"]), f"{tree.get('__module__')}.{tree.get('__class__')}"
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)


def _check_lengths(pipeline: Any) -> None:
    """Refuse neighbours without labels, which scikit-learn would look for beyond their array.

    Raises:
        ValueError: There are fewer labels than neighbours.
    """
    for step in pipeline.named_steps.values():
        faces = getattr(step, "_fit_X", None)
        if faces is not None and len(faces) != len(step._y):
            raise ValueError(f"{len(faces)} neighbours with {len(step._y)} labels")
