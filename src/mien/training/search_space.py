"""What is varied in a recipe: values or intervals of its keys, written as ``KEY=SPEC``.

::

    optimizer.lr=1e-4..1e-1:log     an interval, drawn evenly in the logarithm
    augment.rotation_deg=0..20      an interval; keys of whole numbers get whole numbers
    batch_size=64|128|256           one of these; texts and lists too, written as in TOML
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mien.data.protocol import test_split_breach
from mien.errors import RecipeError
from mien.models import dropout_options
from mien.training.recipe import Recipe
from mien.training.recipe_file import override_recipe

_OPENING, _CLOSING, _QUOTES = "[{", "]}", "\"'"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A key of the recipe that takes one of a few values.

    Attributes:
        key: The key, with dots into tables.
        values: The values as they are written in TOML.
    """

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={'|'.join(self.values)}"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A key of the recipe that takes any number from ``low`` to ``high``, ends included.

    Attributes:
        key: The key, with dots into tables.
        low: Lowest value; whole when the key is of whole numbers.
        high: Highest value, of the same type.
        log: Whether numbers are drawn evenly in their logarithm.
    """

    key: str
    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.low:g}..{self.high:g}{':log' if self.log else ''}"

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int)


Dimension = Choices | Interval


def parse_search(specs: Sequence[str], recipe: Recipe) -> tuple[Dimension, ...]:
    """Read what to search, each ``KEY=SPEC``, and see that the recipe takes the ends of it.

    Raises:
        RecipeError: Not ``KEY=SPEC``, an unknown key, or values that the recipe does not take.
    """
    return tuple(_parse_spec(key, text, recipe) for key, text in _keys(specs, recipe))


def parse_vary(specs: Sequence[str], recipe: Recipe) -> tuple[Choices, ...]:
    """Read what to vary, each ``KEY=V1,V2,…``, and see that the recipe takes every value.

    Raises:
        RecipeError: Not ``KEY=V1,V2,…``, an unknown key, or values that the recipe does not take.
    """
    return tuple(_choices(key, text, ",", recipe) for key, text in _keys(specs, recipe))


def asks_for_votes(recipe: Recipe, space: Sequence[Dimension]) -> bool:
    """Return whether a recipe, or a value of what is varied in it, asks for FER+ votes.

    Args:
        recipe: What is varied.
        space: The keys and their values.

    Raises:
        RecipeError: The recipe does not take a value.
    """
    tried = (_try(each.key, value, recipe) for each in space for value in _extremes(each))
    return bool(recipe.data.votes) or any(one.data.votes for one in tried)


def _extremes(dimension: Dimension) -> tuple[str, ...]:
    """Return a dimension's values; of an interval, its ends."""
    if isinstance(dimension, Choices):
        return dimension.values
    return str(dimension.low), str(dimension.high)


def default_search(recipe: Recipe) -> tuple[Dimension, ...]:
    """Return what is worth searching in most recipes, around the values that this one has.

    That is the learning rate, weight decay, label smoothing and batch size, and dropout where
    the network has it.

    Raises:
        RecipeError: The model is a classical baseline, which has none of these.
    """
    if recipe.is_classical:
        raise RecipeError(
            f"{recipe.name} is searched by what you name with --search, as "
            "--search data.fraction=0.3|0.7"
        )
    rate, decay, batch = recipe.optimizer.lr, recipe.optimizer.weight_decay, recipe.batch_size
    lowest, highest = (decay / 10, decay * 10) if decay else (1e-6, 1e-2)
    batches = sorted({max(1, batch // 2), batch, batch * 2})
    specs = [
        f"optimizer.lr={rate / 10:g}..{rate * 10:g}:log",
        f"optimizer.weight_decay={lowest:g}..{highest:g}:log",
        "label_smoothing=0..0.2",
        f"batch_size={'|'.join(map(str, batches))}",
    ]
    specs += [f"model.{name}=0..0.6" for name in dropout_options(recipe.model)]
    return parse_search(specs, recipe)


def refuse_test_split(recipe: Recipe) -> None:
    """See that nothing is chosen on, or learned from, the split kept for the last measurement.

    Raises:
        RecipeError: The recipe trains or validates on it.
    """
    for breach in test_split_breach(recipe.data.train, recipe.data.validation):
        raise RecipeError(breach)


def _keys(specs: Sequence[str], recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield each spec's key and what is said of it."""
    seen = set()
    for spec in specs:
        key, equals, text = (part.strip() for part in spec.partition("="))
        if not (key and equals and text):
            raise RecipeError(f"{spec!r} is not KEY= and values: see --help")
        _check_table(key, recipe)
        if key in seen:
            raise RecipeError(f"{key} is given twice: write all its values in one")
        seen.add(key)
        yield key, text


def _check_table(key: str, recipe: Recipe) -> None:
    """Raise when a key lacks its table, which no nearness of spelling would find."""
    tables = {name: value for name, value in recipe.to_dict().items() if isinstance(value, dict)}
    meant = [f"{table}.{key}" for table, values in tables.items() if key in values]
    if meant and key not in recipe.to_dict():
        raise RecipeError(f"unknown key {key!r}: did you mean {' or '.join(map(repr, meant))}?")


def _parse_spec(key: str, text: str, recipe: Recipe) -> Dimension:
    bounds, _, scale = text.partition(":")
    if re.fullmatch(r"[^\[{\"'|]+\.\.[^|]+", text) is None:
        return _choices(key, text, "|", recipe)
    if text != bounds and scale != "log":
        raise RecipeError(f"{key}={text}: after an interval comes ':log' or nothing")
    low, high = (_number(key, end, recipe) for end in bounds.split("..", 1))
    if low >= high:
        raise RecipeError(f"{key}={text}: {low:g} is not below {high:g}")
    if scale and low <= 0:
        raise RecipeError(f"{key}={text}: an interval with ':log' starts above 0")
    return Interval(key=key, low=low, high=high, log=bool(scale))


def _number(key: str, text: str, recipe: Recipe) -> float:
    """Return an interval's end as the recipe takes it: whole or not, as the key is."""
    value: Any = _try(key, text, recipe).to_dict()
    for part in key.split("."):
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{key} is not a number: list its values as {key}=A|B")
    return value


def _choices(key: str, text: str, separator: str, recipe: Recipe) -> Choices:
    values = _split(text, separator)
    recipes = [_try(key, value, recipe) for value in values]
    for index, one in enumerate(recipes):
        if one in recipes[:index]:
            raise RecipeError(f"{key}: {values[index]} is given twice")
    return Choices(key=key, values=values)


def _try(key: str, text: str, recipe: Recipe) -> Recipe:
    changed = override_recipe(recipe, [f"{key}={text}"])
    refuse_test_split(changed)
    return changed


def _split(text: str, separator: str) -> tuple[str, ...]:
    """Split at separators that are in no list, table or quoted text."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if sign == separator and not depth and not quote:
            parts.append("")
            continue
        if sign in _QUOTES and quote in ("", sign):
            quote = "" if quote else sign
        elif not quote:
            depth += (sign in _OPENING) - (sign in _CLOSING)
        parts[-1] += sign
    return tuple(part.strip() for part in parts)
