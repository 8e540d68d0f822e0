"""The packaged recipes and their figures: what the source reports, what was measured here.

Figures are facts about results. They are no part of a recipe, which is compared on resuming and
travels in checkpoints; one data file beside the recipes has them all. Nothing here needs torch.
"""

import json
import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.data.dataset import SPLITS
from mien.errors import RecipeError
from mien.expressions import unknown_name

#: Where the packaged recipes are.
RECIPES: Final = Path(__file__).parents[1] / "recipes"

#: The split that recipes are compared on.
SPLIT: Final = "PublicTest"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one recipe came to here, one value a seed.

    Attributes:
        seeds: The seeds it was trained with.
        accuracy: Share of faces read right, 0 to 1, for each seed.
        macro_f1: Mean of the classes' F1, 0 to 1, for each seed.
        without_copies: Share of those faces read right that have no exact copy among the ones it
            learned from, 0 to 1, for each seed; empty where it was not measured.
        minutes: What each training took.
        machine: What it was trained on.
        command: What was typed.
        split: What it was measured on, single view.
        parameters: All of the network's; None for models that have no such number.
        note: What else has to be known.
    """

    seeds: tuple[int, ...]
    accuracy: tuple[float, ...]
    macro_f1: tuple[float, ...]
    minutes: tuple[float, ...]
    machine: str
    command: str
    split: str = SPLIT
    without_copies: tuple[float, ...] = ()
    parameters: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        _check(_are_numbers(self.seeds, int), "seeds", "whole numbers", self.seeds)
        count = len(self.seeds)
        _check(count > 0 and len(set(self.seeds)) == count, "seeds", "different seeds", self.seeds)
        for name in ("accuracy", "macro_f1", "minutes", "without_copies"):
            values = getattr(self, name)
            if name == "without_copies" and not values:
                continue
            fits = _are_numbers(values, int | float) and len(values) == count
            _check(fits, name, f"numbers, {count} of them, one a seed", values)
            highest = math.inf if name == "minutes" else 1
            _check(all(0 <= value <= highest for value in values), name, f"0 to {highest}", values)
        _check(self.split in SPLITS, "split", " or ".join(SPLITS), self.split)
        for name in ("machine", "command", "note"):
            text = getattr(self, name)
            right = isinstance(text, str) and (bool(text) or name == "note")
            _check(right, name, "a text", text)
        counted = self.parameters is None or _are_numbers([self.parameters], int)
        _check(counted, "parameters", "a whole number", self.parameters)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is known of a recipe's results.

    Attributes:
        reported: The figure that its source gives, in words; empty where there is none.
        measured: What was measured here; None where nothing was.
        reason: Why nothing was measured; empty where something was.
    """

    reported: str = ""
    measured: Measurement | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("reported", "reason"):
            _check(isinstance(getattr(self, name), str), name, "a text", getattr(self, name))
        one = (self.measured is None) == bool(self.reason)
        _check(one, "reason", "a text if, and only if, nothing is measured", self.reason)


@dataclass(frozen=True, kw_only=True)
class PackagedRecipe:
    """One recipe file as a list of them shows it.

    Attributes:
        name: The file's name without its suffix.
        title: One line for people.
        source: The paper or report it reproduces; empty for our own.
        figures: Its results.
    """

    name: str
    title: str
    source: str
    figures: Figures


def recipe_names() -> list[str]:
    """Return the names of the packaged recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def find_packaged(name: str) -> Path:
    """Return a packaged recipe's file.

    Raises:
        RecipeError: There is none of that name; the nearest one is named.
    """
    names = recipe_names()
    if name not in names:
        raise RecipeError(unknown_name("recipe", name, names))
    return RECIPES / f"{name}.toml"


def packaged_recipes() -> list[PackagedRecipe]:
    """Return the packaged recipes by name, each with its figures.

    Raises:
        RecipeError: The file of figures is not what it should be.
    """
    figures = load_figures()
    recipes = []
    for name in recipe_names():
        values = tomllib.loads(find_packaged(name).read_text("utf-8"))
        title, source = values.get("title", ""), values.get("source", "")
        known = figures.get(name, Figures(reason="not measured yet"))
        recipes.append(PackagedRecipe(name=name, title=title, source=source, figures=known))
    return recipes


def load_figures(path: Path = RECIPES / "figures.json") -> Mapping[str, Figures]:
    """Read the figures of all recipes, by recipe.

    Raises:
        RecipeError: Not JSON, an unknown key, or a value of the wrong type or range; the message
            says where.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not a readable JSON file: {error}") from error
    _check(isinstance(entries, dict), str(path), "a table of recipes", entries)
    figures = {}
    for name, values in entries.items():
        try:
            figures[name] = _figures(values)
        except (RecipeError, TypeError) as error:  # TypeError: a key too many or too few
            raise RecipeError(f"{path}: {name}: {error}") from error
    return figures


def format_accuracy(measured: Measurement) -> str:
    """Return the accuracy in per cent, and how many seeds it is of.

    >>> facts = {"minutes": (9, 9, 9), "macro_f1": (0.6, 0.6, 0.6), "machine": "m", "command": "c"}
    >>> format_accuracy(Measurement(seeds=(0, 1, 2), accuracy=(0.66, 0.67, 0.68), **facts))
    '67.00 ± 1.00 %, 3 seeds'
    """
    count = len(measured.seeds)
    split = "" if measured.split == SPLIT else f" of {measured.split}"
    seeds = "one seed" if count == 1 else f"{count} seeds"
    return f"{format_mean([100 * value for value in measured.accuracy], 2)} %{split}, {seeds}"


def format_mean(values: Sequence[float], digits: int) -> str:
    """Return the mean, and the sample's standard deviation where there are several values."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def _figures(values: Any) -> Figures:
    _check(isinstance(values, dict), "figures", "a table", values)
    measured = values.get("measured")
    if measured is not None:
        _check(isinstance(measured, dict), "measured", "a table", measured)
        series: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in measured.items()
        }
        values = {**values, "measured": Measurement(**series)}
    return Figures(**values)


def _are_numbers(values: Any, kind: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    )


def _check(condition: bool, name: str, expected: str, got: Any) -> None:
    if not condition:
        raise RecipeError(f"{name}: expected {expected}, got {got!r}")
