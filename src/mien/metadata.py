"""What travels inside an exported model: everything needed to use it, and where it came from.

Written by :mod:`mien.export` and read by :mod:`mien.analysis.classifier`, both through
:class:`ModelMetadata`, so that neither has a default of its own for any of these facts.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from mien.errors import ModelError
from mien.expressions import check_uncertain_below

#: The model that comes with the package.
DEFAULT_MODEL: Final = Path(__file__).parent / "analysis" / "weights" / "mien-s.onnx"

#: What it is called where a model is named.
EMBEDDED: Final = DEFAULT_MODEL.stem

#: A run's checkpoint of its best epoch, which stands for the run; see :func:`model_file`.
BEST = "best.ckpt"

#: A classical baseline's run has this file instead.
CLASSICAL_FILE = "model.skops"

#: Under this name an ensemble's ``data`` have its members' recipes.
MEMBERS: Final = "members"

#: Under this name a model's ``data`` have what those that it learned from were chosen on.
CHOSEN: Final = "chosen"

#: Version of this schema; a reader refuses a file of a newer one.
SCHEMA = 1

#: Facts that files of this schema did not have at first; their defaults say the same.
_LATER: Final = ("seen", "temperature", "uncertain_below")


def model_path(model: str | os.PathLike[str] | None) -> Path:
    """Return where a model is; the one in the package for None and for its name, ``mien-s``.

    A file or folder here that has this name comes first.
    """
    path = Path(EMBEDDED if model is None else model)
    is_embedded = model is None or (path == Path(EMBEDDED) and not path.exists())
    return DEFAULT_MODEL if is_embedded else path


def model_file(model: str | Path) -> Path:
    """Return the file that stands for a model: of a run's folder, its best checkpoint or model."""
    path = model_path(model)
    if not path.is_dir():
        return path
    return path / CLASSICAL_FILE if (path / CLASSICAL_FILE).is_file() else path / BEST


def with_members(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a model's facts and, of an exported ensemble, those of its members."""
    return [data, *data.get(MEMBERS, ())]


def each_once(choices: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what models were chosen on, each once, in the order in which it is first told."""
    told = list(choices)
    return [choice for i, choice in enumerate(told) if choice not in told[:i]]


def file_sha256(file: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class CropGeometry:
    """Where a face's points belong in the crop, as fractions of its side, origin top left.

    Attributes:
        left_eye_xy: The eye seen on the picture's left.
        right_eye_xy: The eye seen on the picture's right.
        mouth_xy: The middle between the two mouth corners.
    """

    left_eye_xy: tuple[float, float]
    right_eye_xy: tuple[float, float]
    mouth_xy: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The facts about a model that its file carries.

    Attributes:
        name: The model's name, e.g. ``mien-s``.
        classes: Class names in the order of the logits.
        input_size: Side of the square input in pixels.
        mean: Mean of the training pixels on the scale 0 to 1; subtracted first.
        std: Standard deviation of the training pixels on that scale; divided by.
        colour: Channel order of the input; ``gray`` is the only one known today.
        crop: How a face is framed.
        version: Version of the package that exported the file.
        recipe: The whole recipe it was trained with, as plain JSON types.
        data: What it was trained and chosen on: fingerprint, splits and counts.
        metrics: What was measured, by split.
        seen: The faces that it learned from, as :class:`mien.data.seen_faces.SeenFaces` writes
            them; empty in an older version's file.
        temperature: What logits are divided by to make calibrated probabilities; above 0, and 1
            where the model was not calibrated.
        uncertain_below: Probability, 0 to 1, below which the most probable class is too improbable
            to be told; 0 where it is always told.

    Raises:
        ValueError: ``temperature`` or ``uncertain_below`` is out of range.
        ModelError: There is ``uncertain_below`` and a class of that name.
    """

    name: str
    classes: tuple[str, ...]
    input_size: int
    mean: float
    std: float
    colour: str
    crop: CropGeometry
    version: str
    recipe: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    seen: str = ""
    temperature: float = 1.0
    uncertain_below: float = 0.0

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")
        check_uncertain_below(self.uncertain_below, self.classes)

    def to_strings(self) -> dict[str, str]:
        """Return the facts as ONNX metadata: every value a JSON text under ``mien.<name>``."""
        facts = {f"mien.{key}": json.dumps(value) for key, value in asdict(self).items()}
        return {"mien.schema": str(SCHEMA), **facts}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> "ModelMetadata":
        """Read the facts back from an ONNX file's metadata.

        Raises:
            ModelError: A fact is missing or malformed, or the schema is newer than this one.
        """
        if "mien.schema" not in strings:
            raise ModelError("the model carries no mien metadata: export it with 'mien export'")
        try:
            if int(strings["mien.schema"]) > SCHEMA:
                raise ModelError(
                    f"the model's metadata has schema {strings['mien.schema']}, this version of "
                    f"mien reads up to {SCHEMA}: update mien"
                )
            names = {f.name for f in fields(cls)}
            names -= {name for name in _LATER if f"mien.{name}" not in strings}
            facts = {name: json.loads(strings[f"mien.{name}"]) for name in names}
            facts["classes"] = tuple(str(name) for name in _list(facts["classes"]))
            for name in names & {"mean", "std", "temperature", "uncertain_below"}:
                facts[name] = float(facts[name])
            if not facts["std"] > 0:
                raise ValueError(f"std must be above 0, got {facts['std']}")
            for name in ("recipe", "data", "metrics"):
                if not isinstance(facts[name], dict):
                    raise TypeError(f"{name}: expected a table, got {facts[name]!r}")
            _check_data(facts["data"])
            if not isinstance(facts.get("seen", ""), str):
                raise TypeError(f"seen: expected a text, got {facts['seen']!r}")
            crop = {key: (float(x), float(y)) for key, (x, y) in dict(facts["crop"]).items()}
            return cls(**{**facts, "crop": CropGeometry(**crop)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's metadata is damaged: {error!r}") from error


def _check_data(data: Mapping[str, Any]) -> None:
    """Refuse facts in which what was chosen on, or done against the protocol, is no list."""
    for choice in _list(data.get(CHOSEN, [])):
        dict(choice)
    for model in (data, *_list(data.get(MEMBERS, []))):
        for facts in (model, model.get("calibration", {}), model.get("quantization", {})):
            _list(facts.get("breaches", []))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r}")
    return value
