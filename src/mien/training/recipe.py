"""Recipes: everything that decides a training's result, typed, read from TOML.

A recipe file says only what differs from the defaults below. Unknown keys are errors that name
the nearest known one, and there is no inheritance between files; a single value is changed with
``--set optimizer.lr=0.01``.
"""

import json
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mien.data.dataset import SPLITS
from mien.errors import RecipeError
from mien.expressions import nearest_name
from mien.models import MODELS, ModelConfig
from mien.preprocess import FACE_SIZE

#: Where the packaged recipes are.
RECIPES: Final = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which splits are learned from and chosen on, and how pixels reach the network.

    Attributes:
        train: Split the weights are fitted to.
        validation: Split that the best epoch is chosen on; never a test split.
        scaling: ``standardise`` by the mean and standard deviation of the training pixels, or
            ``unit``: grey levels as 0 to 1.
    """

    train: str = "Training"
    validation: str = "PublicTest"
    scaling: Literal["standardise", "unit"] = "standardise"

    def __post_init__(self) -> None:
        for split in (self.train, self.validation):
            if split not in SPLITS:
                raise RecipeError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
        if self.train == self.validation:
            raise RecipeError(f"train and validation are both {self.train!r}: choose two splits")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How a training face is varied; each value is the largest change, drawn anew per face.

    Attributes:
        flip: Probability of mirroring left and right.
        rotation_deg: Rotation in degrees, either way.
        scale: Zoom in or out, as a fraction of the size.
        shift: Shift along each axis, as a fraction of the side.
        brightness: Brightness added or removed, as a fraction of full scale.
        contrast: Contrast gained or lost around the face's mean, as a fraction.
        noise: Standard deviation of Gaussian noise, as a fraction of full scale.
        noise_probability: Probability that a face gets noise.
        erase_probability: Probability that a rectangle is erased.
        erase_area: Smallest and largest erased share of the face.
    """

    flip: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    noise_probability: float = 1.0
    erase_probability: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        for item in ("flip", "noise_probability", "erase_probability"):
            _check(0 <= getattr(self, item) <= 1, f"augment.{item}", "0 to 1", getattr(self, item))
        _check(0 <= self.scale < 1, "augment.scale", "0 up to 1", self.scale)
        for item in ("rotation_deg", "shift", "brightness", "contrast", "noise"):
            _check(getattr(self, item) >= 0, f"augment.{item}", "0 or more", getattr(self, item))
        smallest, largest = self.erase_area
        _check(0 < smallest <= largest < 1, "augment.erase_area", "0 to 1, rising", self.erase_area)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimiser. Weight decay is not applied to biases and normalisation layers.

    Attributes:
        name: ``sgd`` (with Nesterov momentum), ``adam`` or ``adamw``.
        lr: Highest learning rate.
        momentum: Momentum of ``sgd``.
        weight_decay: L2 penalty of ``sgd`` and ``adam``, decoupled decay of ``adamw``.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self.lr > 0, "optimizer.lr", "a number above 0", self.lr)
        _check(0 <= self.momentum < 1, "optimizer.momentum", "0 up to 1", self.momentum)
        decay = self.weight_decay
        _check(decay >= 0, "optimizer.weight_decay", "0 or more", decay)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the run: a linear warm-up, then a decay, and again from restarts.

    A warm restart (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983) leaves a usable
    model at its first end and improves it from there.

    Attributes:
        name: ``cosine`` or ``linear`` decay to zero, ``constant``, or ``plateau``: lowered when
            the validation loss has stopped falling.
        factor: What ``plateau`` multiplies the rate by.
        plateau_epochs: Epochs without a lower validation loss that ``plateau`` waits.
        warmup: Share of the first decay's steps spent rising from a twenty-fifth to the full rate.
        restart_epochs: After how many epochs the rate has decayed and starts anew, each time;
            those that training does not reach do not count.
        restart_factors: Share of the full rate that it starts anew at, each time.
    """

    name: Literal["cosine", "linear", "constant", "plateau"] = "cosine"
    factor: float = 0.5
    plateau_epochs: int = 3
    warmup: float = 0.0
    restart_epochs: tuple[int, ...] = ()
    restart_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        epochs = self.restart_epochs
        rising = list(epochs) == sorted({epoch for epoch in epochs if epoch > 0})
        _check(rising, "schedule.restart_epochs", "rising numbers above 0", epochs)
        same = len(epochs) == len(self.restart_factors)
        _check(same, "schedule.restart_factors", f"{len(epochs)} factors", self.restart_factors)
        _check(0 <= self.warmup < 1, "schedule.warmup", "0 up to 1", self.warmup)
        _check(0 < self.factor < 1, "schedule.factor", "above 0 and below 1", self.factor)
        waits = self.plateau_epochs
        _check(waits >= 0, "schedule.plateau_epochs", "0 or more", waits)
        if self.name == "plateau":
            _check(not self.warmup, "schedule.warmup", "0 with plateau", self.warmup)
            _check(not epochs, "schedule.restart_epochs", "none with plateau", epochs)


@dataclass(frozen=True, kw_only=True)
class ProgressiveConfig:
    """Smaller faces first: the early epochs are shown shrunk faces, which train twice as fast.

    Attributes:
        size: Side in pixels of the early epochs' faces.
        epochs: How many epochs are early; 0 turns it off.
    """

    size: int = 32
    epochs: int = 0

    def __post_init__(self) -> None:
        _check(16 <= self.size <= FACE_SIZE, "progressive.size", "16 to 48", self.size)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training, whole.

    Attributes:
        name: The file's name without its suffix.
        title: One line for people.
        source: The paper or report it reproduces; empty for our own.
        epochs: Most epochs to train.
        batch_size: Faces a step.
        seed: Seeds weights, order and augmentation.
        label_smoothing: Probability mass spread over the other classes.
        ema_decay: Decay a step of the averaged weights, which are the ones validated and kept;
            0 keeps the raw weights.
        refine_epochs: Last epochs, which see faces flipped at most and otherwise as they are; a
            model ends closer to what it will be shown (He et al. 2019,
            https://arxiv.org/abs/1909.09148).
        patience: Epochs without a better validation accuracy before stopping; 0 never stops.
        precision: ``bf16``, ``fp32``, or ``auto``: bf16 where the hardware multiplies it.
        data: The splits.
        model_name: The network's name in the registry; ``name`` under ``[model]`` in the file.
        model: The network's options.
        augment: How training faces are varied.
        progressive: Smaller faces first.
        optimizer: The optimiser.
        schedule: The learning rate over time.
    """

    name: str = "unnamed"
    title: str = ""
    source: str = ""
    epochs: int = 50
    batch_size: int = 128
    seed: int = 0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    refine_epochs: int = 0
    patience: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    model_name: str = "residual"
    model: ModelConfig = field(default_factory=MODELS["residual"])
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    progressive: ProgressiveConfig = field(default_factory=ProgressiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        for item in ("epochs", "batch_size"):
            _check(getattr(self, item) >= 1, item, "1 or more", getattr(self, item))
        for item in ("seed", "refine_epochs", "patience"):
            _check(0 <= getattr(self, item) < 2**32, item, "0 to 2^32", getattr(self, item))
        _check(0 <= self.label_smoothing < 1, "label_smoothing", "0 up to 1", self.label_smoothing)
        _check(0 <= self.ema_decay < 1, "ema_decay", "0 up to 1", self.ema_decay)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested plain types, as a file would hold it."""
        values = asdict(self)
        values["model"] = {"name": values.pop("model_name"), **values["model"]}
        return values

    def to_toml(self) -> str:
        """Return the recipe as the text of a file that :func:`load_recipe` reads."""
        tables = {k: v for k, v in self.to_dict().items() if isinstance(v, dict)}
        plain = {k: v for k, v in self.to_dict().items() if k != "name" and k not in tables}
        blocks = [_toml_lines(plain)]
        blocks += [f"[{name}]\n{_toml_lines(values)}" for name, values in tables.items()]
        return "\n".join(blocks)


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a packaged recipe by name, or a TOML file by path.

    Args:
        name_or_path: ``mien-s``, or ``my-recipe.toml``.
        overrides: ``key=value`` each, with dots into tables and values written as in TOML, e.g.
            ``optimizer.lr=0.01``; a bare word is taken as text.

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
    for override in overrides:
        _override(values, override)
    return recipe_from_dict({**values, "name": path.stem})


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Return the recipe with some values changed, each ``key=value`` as in :func:`load_recipe`.

    A change of ``model.name`` leaves the options of the network before: another has its own.

    Raises:
        RecipeError: Not ``key=value``, an unknown key or a value of the wrong type.
    """
    values, changes = recipe.to_dict(), dict[str, Any]()
    for override in overrides:
        _override(changes, override)
    model = changes.get("model")
    if isinstance(model, dict) and model.get("name", recipe.model_name) != recipe.model_name:
        values["model"] = {}
    for override in overrides:
        _override(values, override)
    return recipe_from_dict(values)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the nested plain types of :meth:`Recipe.to_dict`.

    Raises:
        RecipeError: An unknown key or a value of the wrong type.
    """
    values = dict(values)
    model = values.pop("model", {})
    if not isinstance(model, Mapping):
        raise RecipeError(f"model: expected a table, got {model!r}")
    if "model_name" in values:
        raise RecipeError("unknown key 'model_name': did you mean 'model.name'?")
    model = dict(model)
    model_name = model.pop("name", "residual")
    if not isinstance(model_name, str) or model_name not in MODELS:
        raise RecipeError(_unknown("model", str(model_name), tuple(MODELS)))
    config = _build(MODELS[model_name], model, "model.")
    recipe = _build(Recipe, {**values, "model_name": model_name, "model": config}, "")
    assert isinstance(recipe, Recipe)
    return recipe


def recipe_names() -> list[str]:
    """Return the names of the packaged recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _find_recipe(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"{path}: no such file")
        return path
    packaged = RECIPES / f"{name_or_path}.toml"
    if not packaged.is_file():
        raise RecipeError(_unknown("recipe", str(name_or_path), recipe_names()))
    return packaged


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
            raise RecipeError(_unknown("key", where + key, [where + item for item in known]))
        checked[key] = _convert(hints[key], value, where + key)
    return kind(**checked)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Return ``value`` as the type the field asks for, or raise."""
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _build(typing.cast(type[Any], hint), value, f"{where}.")
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(hint)
        if Ellipsis in inner:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            return tuple(_convert(h, item, where) for h, item in zip(inner, value, strict=True))
    if hint is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if _fits(hint, value):
        return value
    raise RecipeError(f"{where}: expected {_describe(hint)}, got {value!r}")


def _fits(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if hint in (int, float, str, bool):
        return type(value) is hint and (hint is not float or math.isfinite(value))
    return hint is ModelConfig  # already built, by recipe_from_dict


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    if is_dataclass(hint):
        return "a table"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}.get(
        hint, str(hint)
    )


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = nearest_name(name, known)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"
    return f"unknown {what} {name!r}: {hint}"


def _check(condition: bool, name: str, expected: str, got: Any) -> None:
    if not condition:
        raise RecipeError(f"{name}: expected {expected}, got {got!r}")


def _toml_lines(values: Mapping[str, Any]) -> str:
    # JSON's texts, numbers, booleans and flat arrays are TOML's too.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
