"""``Evaluation``: one model measured on one split, as a value and as JSON."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

import mien
from mien.cache import atomic_write
from mien.data.dataset import SPLITS, ExpressionDataset
from mien.errors import CheckpointError
from mien.evaluation.calibration.measure import Calibration
from mien.evaluation.json_values import read_count, read_number, read_text
from mien.evaluation.metrics import ClassificationMetrics, confusion_matrix
from mien.evaluation.protocol import Unseen
from mien.evaluation.robustness.measure import Robustness
from mien.evaluation.speed.card import SpeedCard
from mien.evaluation.speed.latency import Latency
from mien.evaluation.training_facts import TrainingFacts

if TYPE_CHECKING:
    from mien.evaluation.explanation import ClassMaps

#: What is measured besides, on demand.
Part: TypeAlias = Literal["speed", "explanation", "robustness"]
PARTS: Final[tuple[Part, ...]] = ("speed", "explanation", "robustness")

#: What must be the same for a part of an earlier evaluation to hold → what it is called.
_SAME: Final[Mapping[str, str]] = MappingProxyType(
    {
        "data": "other data",
        "faces_sha256": "other faces",
        "model_sha256": "another model",
        "temperature": "another temperature",
        "version": "another version",
    }
)

#: Characters of what is wrong with a file; its own content may be in there.
_LONGEST_REASON: Final = 120

#: Lists of one number a face, written on one line each.
FACE_BY_FACE: Final = ("labels", "predictions")

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of those measured.

    Attributes:
        model: Name of the file or run.
        model_sha256: Digest of the very file, since a run's best checkpoint may change.
    """

    model: str
    model_sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """One model, or several as one, measured on one split.

    Attributes:
        members: The models; more than one are an ensemble.
        split: The split's name.
        fingerprint: sha256 of the data.
        count: Images measured.
        faces_sha256: Digest of the very faces measured and their labels, which a recipe that holds
            faces out or merges classes makes others than the data's; None in an older version's.
        metrics: The figures.
        labels: ``(N,)`` int64 the label of each face, in the split's order; None in an older
            version's.
        predictions: ``(N,)`` int64 what each was read as; None in an older version's.
        unseen: The figures without the faces that were learned from; None where those are not
            known of each model.
        chosen_on: Whether the epoch or temperature of the model, or of one that it learned from,
            was chosen on these faces, which flatters it.
        breaches: What was done against the protocol, on demand: a clause each.
        view: ``single``: each face as it is; ``flip``: averaged with its mirror image.
        version: Version of the package that measured.
        parameters: Numbers that were learned; None where not known.
        multiply_adds: Multiply-adds for one face, views and members together; None if unknown.
        file_bytes: Size of the files together; None where not known.
        latency: Time a face; None where it was not measured.
        temperature: What the network's answers were divided by; None for an ensemble.
        calibration: Whether its probabilities mean what they say; None where its answers are not
            numbers, and in an older version's.
        uncertain_below: Probability below which the model tells no expression; 0 where it always
            does, None for an ensemble and in one read from a file.
        speed: The speed and size card; None where it was not asked for.
        robustness: What is left of accuracy where faces are damaged; likewise.
        explanation: What the network looks at; likewise, and in one read from a file.
        training: How the model was trained; None where no single run tells.
        recipe: The recipe's name; empty where it is not known, and for an ensemble.
        recipe_sha256: Digest of the recipe but for its seed.
        seed: The recipe's seed; None where it is not known.
        trained_on: sha256 of the data that the recipe was trained on; None where it is not known,
            for an ensemble, and in an older version's.
        probabilities: ``(N, C)`` float32 in the split's order; None in one read from a file.
        faces: The split as the model saw it, its classes merged where the recipe merges; None in
            one read from a file.
    """

    members: tuple[Member, ...]
    split: str
    fingerprint: str
    count: int
    metrics: ClassificationMetrics
    faces_sha256: str | None = None
    labels: npt.NDArray[np.int64] | None = None
    predictions: npt.NDArray[np.int64] | None = None
    unseen: Unseen | None = None
    chosen_on: bool = False
    breaches: tuple[str, ...] = ()
    view: str = "single"
    version: str = mien.__version__
    parameters: int | None = None
    multiply_adds: int | None = None
    file_bytes: int | None = None
    latency: Latency | None = None
    temperature: float | None = None
    calibration: Calibration | None = None
    uncertain_below: float | None = None
    speed: SpeedCard | None = None
    robustness: Robustness | None = None
    explanation: "ClassMaps | None" = None
    training: TrainingFacts | None = None
    recipe: str = ""
    recipe_sha256: str = ""
    seed: int | None = None
    trained_on: str | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    faces: ExpressionDataset | None = None

    def __repr__(self) -> str:
        accuracy, macro_f1 = self.metrics.accuracy, self.metrics.macro_f1
        return (
            f"Evaluation({self.model} on {self.split}: {self.count:,} faces, "
            f"accuracy {100 * accuracy:.2f} %, macro-F1 {macro_f1:.3f})"
        )

    @property
    def model(self) -> str:
        """The model's name, or those of all members."""
        return " + ".join(member.model for member in self.members)

    @property
    def model_sha256(self) -> str:
        """Digest of the model's file; of an ensemble, the digest of its members' digests."""
        if len(self.members) == 1:
            return self.members[0].model_sha256
        digests = "".join(member.model_sha256 for member in self.members)
        return hashlib.sha256(digests.encode("ascii")).hexdigest()

    @property
    def file_name(self) -> str:
        """The name that a run's folder keeps it under; see :func:`evaluation_file_name`."""
        return evaluation_file_name(self.split, view=self.view)

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON types."""
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "split": self.split,
            "data": self.fingerprint,
            "count": self.count,
            "faces_sha256": self.faces_sha256,
            "view": self.view,
            "version": self.version,
            "breaches": list(self.breaches),
            "chosen_on": self.chosen_on,
            **self.metrics.to_dict(),
            "unseen": self.unseen.to_dict() if self.unseen else None,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "file_bytes": self.file_bytes,
            "latency": self.latency.to_dict() if self.latency else None,
            "temperature": self.temperature,
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "speed": self.speed.to_dict() if self.speed else None,
            "robustness": self.robustness.to_dict() if self.robustness else None,
            "explanation": self.explanation.to_dict() if self.explanation else None,
            "recipe": self.recipe,
            "recipe_sha256": self.recipe_sha256,
            "seed": self.seed,
            "trained_on": self.trained_on,
            "members": [asdict(member) for member in self.members],
            "training": self.training.to_dict() if self.training else None,
            "labels": None if self.labels is None else self.labels.tolist(),
            "predictions": None if self.predictions is None else self.predictions.tolist(),
        }

    def to_json(self) -> str:
        """Return the evaluation as JSON text, indented but for the lists of all faces."""
        return _json_text(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Read what :meth:`to_dict` wrote; what older versions did not write is None.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or figures contradict each other.
        """
        alone = [{"model": values["model"], "model_sha256": values["model_sha256"]}]
        metrics, count = ClassificationMetrics.from_dict(values), read_count(values["count"], low=1)
        if count != sum(metrics.support):
            raise ValueError(f"{count} images, but {sum(metrics.support)} in its classes")
        if values["split"] not in SPLITS:
            raise ValueError("an unknown split")
        labels = _read_optional(values, "labels", _read_indices)
        predictions = _read_optional(values, "predictions", _read_indices)
        _check_readings(labels, predictions, metrics)
        return cls(
            members=_read_members(values.get("members", alone)),
            split=values["split"],
            fingerprint=read_text(values["data"]),
            count=count,
            faces_sha256=_read_optional(values, "faces_sha256", read_text),
            metrics=metrics,
            labels=labels,
            predictions=predictions,
            unseen=_read_optional(values, "unseen", Unseen.from_dict),
            chosen_on=bool(values.get("chosen_on", False)),
            breaches=tuple(read_text(breach) for breach in values.get("breaches", ())),
            view=read_text(values["view"]),
            version=read_text(values["version"]),
            parameters=_read_optional(values, "parameters", read_count),
            multiply_adds=_read_optional(values, "multiply_adds", read_count),
            file_bytes=_read_optional(values, "file_bytes", read_count),
            latency=_read_optional(values, "latency", Latency.from_dict),
            training=_read_optional(values, "training", TrainingFacts.from_dict),
            temperature=_read_optional(values, "temperature", read_number),
            calibration=_read_optional(values, "calibration", Calibration.from_dict),
            speed=_read_optional(values, "speed", SpeedCard.from_dict),
            robustness=_read_optional(values, "robustness", Robustness.from_dict),
            recipe=read_text(values.get("recipe", "")),
            recipe_sha256=read_text(values.get("recipe_sha256", "")),
            seed=_read_optional(values, "seed", read_count),
            trained_on=_read_optional(values, "trained_on", read_text),
        )

    def write(self, path: Path) -> None:
        """Write the evaluation as JSON."""
        _write(path, self.to_dict())


def keep_evaluation(run: Path, evaluation: Evaluation) -> tuple[Path, str]:
    """Write an evaluation into its run's folder, in place of an earlier one.

    What was measured on demand before, and not now, stays where the rest is the same: the model,
    its temperature, the faces and this package's version.

    Returns:
        The file, and what became of the earlier one where somebody may mind, a clause.
    """
    path, values = run / evaluation.file_name, evaluation.to_dict()
    earlier = _read_earlier(path)
    parts = [part for part in PARTS if values[part] is None and earlier.get(part) is not None]
    changed = [name for name in _SAME if earlier and earlier.get(name) != values[name]]
    if not changed:
        values.update({part: earlier[part] for part in parts})
    _write(path, values)
    named = " and ".join(parts)
    if changed and (parts or "data" in changed):
        of = " and ".join(_SAME[name] for name in changed)
        return path, f"replaced figures of {of}" + (f", their {named} too" if parts else "")
    return path, f"kept {named} of an earlier measurement" if parts else ""


def evaluation_file_name(split: str, *, view: str = "single") -> str:
    """Return the name that a run's folder keeps an evaluation under.

    ``evaluation-SPLIT.json`` is the plain figure that comparisons and exports read; other views
    have their name in front and never take its place.
    """
    prefix = "" if view == "single" else f"{view}-"
    return f"{prefix}evaluation-{split}.json"


def read_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation that :meth:`Evaluation.write` wrote, or an older version's.

    Raises:
        CheckpointError: It is missing, or not an evaluation.
    """
    path = Path(path)
    try:
        return Evaluation.from_dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path}: there is no such evaluation: write it with 'mien evaluate'"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path}: no evaluation can be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not an evaluation of mien: not JSON") from error
    except RecursionError as error:
        raise CheckpointError(f"{path}: not an evaluation of mien: nested too deeply") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: not an evaluation of mien: no {error}") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:_LONGEST_REASON]
        raise CheckpointError(f"{path}: not an evaluation of mien: {reason}") from error


def _read_earlier(path: Path) -> dict[str, Any]:
    """Return what an evaluation's file holds, parts that :class:`Evaluation` does not read too.

    It is empty where there is none, and where it is damaged, so that it can be written over.
    """
    try:
        read_evaluation(path)
    except CheckpointError:
        return {}
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return values


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(_json_text(values) + "\n", "utf-8")


def _json_text(values: Mapping[str, Any]) -> str:
    lines = []
    for name, value in values.items():
        indent = None if name in FACE_BY_FACE else 2
        text = json.dumps(value, indent=indent, allow_nan=False)
        lines.append(f"{json.dumps(name)}: {text}".replace("\n", "\n  "))
    return "{\n  " + ",\n  ".join(lines) + "\n}"


def _read_members(values: Any) -> tuple[Member, ...]:
    if not isinstance(values, list) or not values:
        raise ValueError("it names no models")
    return tuple(
        Member(model=read_text(each["model"]), model_sha256=read_text(each["model_sha256"]))
        for each in values
    )


def _read_optional(
    values: Mapping[str, Any], name: str, read: Callable[[Any], _Read]
) -> _Read | None:
    return None if values.get(name) is None else read(values[name])


def _read_indices(values: Any) -> npt.NDArray[np.int64]:
    if not isinstance(values, list):
        raise TypeError(f"expected a list of classes, got a {type(values).__name__}")
    return np.array([read_count(value) for value in values], np.int64)


def _check_readings(
    labels: npt.NDArray[np.int64] | None,
    predictions: npt.NDArray[np.int64] | None,
    metrics: ClassificationMetrics,
) -> None:
    """Refuse readings that are not those that the figures were counted from."""
    if labels is None or predictions is None:
        return
    size = len(metrics.classes)
    shapes = labels.shape == predictions.shape == (sum(metrics.support),)
    if not shapes or max(labels.max(), predictions.max()) >= size:
        raise ValueError("labels and predictions that are not of these faces and classes")
    if confusion_matrix(labels, predictions, size).tolist() != [*map(list, metrics.confusion)]:
        raise ValueError("labels and predictions that are not those of the confusion matrix")
