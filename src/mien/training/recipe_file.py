"""Recipes read from TOML, every key and type checked, single values changed from outside.

Unknown keys are errors that name the nearest known one. There is no inheritance between files; a
value is changed with ``--set optimizer.lr=0.01``.
"""

import copy
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal

from mien.errors import RecipeError
from mien.expressions import unknown_name
from mien.models import CLASSICAL, MODELS
from mien.training.figures import find_packaged
from mien.training.recipe import Recipe


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a packaged recipe by name, or a TOML file by path.

    Args:
        name_or_path: ``vgg``, or ``my-recipe.toml``.
        overrides: ``key=value`` each, with dots into tables and values written as in TOML, e.g.
            ``optimizer.lr=0.01``; a bare word is taken as text. A change of ``model.name`` leaves
            the options of the network before: another has its own.

    Raises:
        RecipeError: No such recipe, not TOML, an unknown key or a value of the wrong type.
    """
    path = _find_recipe(name_or_path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from error
    if "name" in values:
        raise RecipeError(f"{path}: 'name' is the file's own name, leave it out")
    return recipe_from_dict({**values, "name": path.stem}, overrides)


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Return the recipe with some values changed, each ``key=value`` as in :func:`load_recipe`.

    Raises:
        RecipeError: Not ``key=value``, an unknown key or a value of the wrong type.
    """
    return recipe_from_dict(recipe.to_dict(), overrides)


def recipe_from_dict(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Build a recipe from the nested plain types of :meth:`Recipe.to_dict`.

    Args:
        values: What the recipe says, without what it leaves at its default.
        overrides: As for :func:`load_recipe`.

    Raises:
        RecipeError: An unknown key or a value of the wrong type.
    """
    values = dict(copy.deepcopy(values))
    _leave_other_options(values, overrides)
    for override in overrides:
        _override(values, override)
    model = values.pop("model", {})
    if not isinstance(model, Mapping):
        raise RecipeError(f"model: expected a table, got {model!r}")
    if "model_name" in values:
        raise RecipeError("unknown key 'model_name': did you mean 'model.name'?")
    model = dict(model)
    model_name = model.pop("name", Recipe.model_name)
    known = {**MODELS, **CLASSICAL}
    if not isinstance(model_name, str) or model_name not in known:
        raise RecipeError(unknown_name("model", str(model_name), tuple(known)))
    if model_name in CLASSICAL:
        values.setdefault("epochs", 1)
    config = _build(known[model_name], model, "model.")
    recipe = _build(Recipe, {**values, "model_name": model_name, "model": config}, "")
    assert isinstance(recipe, Recipe)
    return recipe


def _leave_other_options(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Empty the table of a network whose place another takes."""
    changes: dict[str, Any] = {}
    for override in overrides:
        _override(changes, override)
    before, after = values.get("model", {}), changes.get("model")
    if not (isinstance(before, Mapping) and isinstance(after, dict)):
        return
    old = before.get("name", Recipe.model_name)
    new = after.get("name", old)
    if new == old or not isinstance(new, str):
        return
    values["model"] = {}
    if (new in CLASSICAL) != (old in CLASSICAL) and "epochs" not in changes:
        values.pop("epochs", None)  # a baseline is fitted in one, which is none for a network


def _find_recipe(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"{path}: no such file")
        return path
    return find_packaged(str(name_or_path))


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{override!r} is not key=value, e.g. optimizer.lr=0.01")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    if key.strip() == "name":
        raise RecipeError("name is the recipe file's own name: copy the file under another")
    *parents, last = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{override!r}: {parent} is a value, not a table")
    values[last] = value


def _build(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Build a dataclass from plain values, checking names and types; ``where`` names the table."""
    hints = typing.get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise RecipeError(unknown_name("key", where + key, [where + item for item in known]))
        checked[key] = _convert(hints[key], value, where + key)
    return kind(**checked)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Return ``value`` as the type the field asks for, or raise."""
    if is_dataclass(value):
        return value  # the model's table, built already by recipe_from_dict
    if isinstance(hint, UnionType) and isinstance(value, list | tuple):
        hint = next((arm for arm in typing.get_args(hint) if _is_tuple(arm)), hint)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _build(typing.cast(type[Any], hint), value, f"{where}.")
    if _is_tuple(hint) and isinstance(value, list | tuple):
        inner = typing.get_args(hint)
        if Ellipsis in inner:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            return tuple(_convert(h, item, where) for h, item in zip(inner, value, strict=True))
    if hint is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if _fits(hint, value):
        return value
    told = f"{where}: expected {_describe(hint)}, got {value!r}"
    if _is_tuple(hint) and isinstance(value, str) and value.startswith("["):
        told += f'; quote it for the shell: \'{where}=["a", "b"]\''
    raise RecipeError(told)


def _is_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _fits(hint: Any, value: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(arm, value) for arm in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    return type(value) is hint and (hint is not float or math.isfinite(value))


def _describe(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(map(_describe, typing.get_args(hint)))
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    if _is_tuple(hint):
        return "a list"
    if is_dataclass(hint):
        return "a table"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]


def is_same_recipe(one: Any, other: Any) -> bool:
    """Return whether two recipes as plain types train alike; what is no recipe is like none.

    What a newer version added has its default, so that an older version's is still the same. What
    a recipe is called does not matter: a run's own has the name of its file.
    """
    try:
        mine, others = (
            replace(recipe_from_dict(each), name="", title="", source="") for each in (one, other)
        )
        return mine == others
    except (AttributeError, TypeError, ValueError, RecipeError):
        return False
