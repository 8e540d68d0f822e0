"""What a training may choose on: see :mod:`mien.data.protocol`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mien.data.dataset import ExpressionDataset
from mien.data.protocol import learned_faces, seen_breach, swapped_splits, test_split_breach
from mien.data.seen_faces import SeenFaces
from mien.metadata import CHOSEN, each_once, with_members
from mien.training.initial import Start
from mien.training.recipe import Recipe
from mien.training.teachers import Teacher


def learned_before(
    start: Start, teachers: Iterable[Teacher], dataset: ExpressionDataset
) -> SeenFaces | None:
    """Return the faces that a run knows of before it begins or goes on.

    Args:
        start: Where it begins.
        teachers: What it is taught by, which passes on what it learned.
        dataset: The data set, as it was read.

    Returns:
        None where there are none, or where the model that it starts from does not tell.
    """
    own = start.seen
    if start.initial is not None:
        own = learned_faces(start.seen, start.initial.data, dataset)
    taught = (learned_faces(each.seen, each.data, dataset) for each in teachers)
    return SeenFaces.union((own, *taught))


def chosen_before(start: Start, teachers: Iterable[Teacher]) -> list[Mapping[str, Any]]:
    """Return what the models that a run learns from were chosen and calibrated on, each once.

    Args:
        start: Where it begins.
        teachers: What it is taught by.
    """
    initial = [] if start.initial is None else [start.initial.data]
    found = list(start.chosen)
    for data in (*initial, *(teacher.data for teacher in teachers)):
        found += [choice for facts in with_members(data) for choice in _choices(facts)]
        found += data.get(CHOSEN, ())
    return each_once(found)


def _choices(facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a model was chosen on, and what it was calibrated on."""
    if "validation" in facts:
        split = facts["validation"]
        counts = facts.get("counts", {}).get(split)
        chosen = {"validation": split, "fingerprint": facts.get("fingerprint")}
        yield chosen if counts is None else {**chosen, "counts": {split: counts}}
    if calibration := facts.get("calibration"):
        yield {"calibration": {name: calibration.get(name) for name in ("split", "fingerprint")}}


def training_breaches(
    recipe: Recipe, dataset: ExpressionDataset, seen: SeenFaces, validation: ExpressionDataset
) -> list[str]:
    """Return what a training would do against the protocol, a clause each.

    Args:
        recipe: What is trained.
        dataset: The data set, as it was read.
        seen: The faces that are learned from, or were before.
        validation: The faces that the epoch is chosen on.
    """
    return [
        *swapped_splits(dataset),
        *test_split_breach(recipe.data.train, recipe.data.validation),
        *seen_breach(seen.contains(validation.images), recipe.data.validation),
    ]
