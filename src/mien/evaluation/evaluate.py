"""Evaluate runs, checkpoints and ONNX files on one split, one model or several as an ensemble."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

import mien
from mien.analysis.classifier import softmax
from mien.cache import atomic_write
from mien.data.dataset import SPLITS, ExpressionDataset
from mien.errors import CheckpointError, DataError
from mien.evaluation.json_values import read_count, read_text
from mien.evaluation.latency import Latency, measure_latency
from mien.evaluation.metrics import ClassificationMetrics, classification_metrics
from mien.evaluation.predictor import (
    EnsemblePredictor,
    MirrorPredictor,
    Predictor,
    open_predictor,
)
from mien.evaluation.training_facts import TrainingFacts, read_training_facts
from mien.metadata import model_file

#: Characters of what is wrong with a file; its own content may be in there.
_LONGEST_REASON: Final = 120

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
        view: ``single``: each face as it is; ``flip``: averaged with its mirror image.
        version: Version of the package that measured.
        parameters: Numbers that were learned; None where not known.
        multiply_adds: Multiply-adds for one face, views and members together; None if unknown.
        file_bytes: Size of the files together; None where not known.
        latency: Time a face; None where it was not measured.
        training: How the model was trained; None where no single run tells.
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
    view: str = "single"
    version: str = mien.__version__
    parameters: int | None = None
    multiply_adds: int | None = None
    file_bytes: int | None = None
    latency: Latency | None = None
    training: TrainingFacts | None = None
    probabilities: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    faces: ExpressionDataset | None = field(default=None, repr=False)

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
            **self.metrics.to_dict(),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "file_bytes": self.file_bytes,
            "latency": self.latency.to_dict() if self.latency else None,
            "members": [asdict(member) for member in self.members],
            "training": self.training.to_dict() if self.training else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Read what :meth:`to_dict` wrote; what older versions did not write is None.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or figures contradict each other.
        """
        alone = [{"model": values["model"], "model_sha256": values["model_sha256"]}]
        latency, training = values.get("latency"), values.get("training")
        metrics, count = ClassificationMetrics.from_dict(values), read_count(values["count"], low=1)
        if count != sum(metrics.support):
            raise ValueError(f"{count} images, but {sum(metrics.support)} in its classes")
        if values["split"] not in SPLITS:
            raise ValueError("an unknown split")
        return cls(
            members=_read_members(values.get("members", alone)),
            split=values["split"],
            fingerprint=read_text(values["data"]),
            count=count,
            faces_sha256=_read_optional(values, "faces_sha256", read_text),
            metrics=metrics,
            view=read_text(values["view"]),
            version=read_text(values["version"]),
            parameters=_read_optional(values, "parameters", read_count),
            multiply_adds=_read_optional(values, "multiply_adds", read_count),
            file_bytes=_read_optional(values, "file_bytes", read_count),
            latency=None if latency is None else Latency.from_dict(latency),
            training=None if training is None else TrainingFacts.from_dict(training),
        )

    def write(self, path: Path) -> None:
        """Write the evaluation as JSON."""
        with atomic_write(path) as temporary:
            text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
            temporary.write_text(text + "\n", "utf-8")


def evaluate(
    model: str | Path | Sequence[str | Path],
    dataset: ExpressionDataset,
    split: str,
    *,
    tta: Literal["flip"] | None = None,
) -> Evaluation:
    """Measure a model, or several as an ensemble, on one split.

    Args:
        model: A run's folder, a checkpoint, or an ONNX file. Several are an ensemble: their
            probabilities are averaged.
        dataset: Holds the split. Where the model was trained on merged classes or on a part held
            out, that is done here as it was then.
        split: ``Training``, ``PublicTest`` or ``PrivateTest``.
        tta: Test-time augmentation: ``flip`` averages the probabilities of each face and of its
            mirror image, for twice the time.

    Raises:
        DataError: The split has no images, or its classes are not the model's, or the models of
            an ensemble differ in theirs, were trained to see other faces, or one is named twice.
        CheckpointError: The run or checkpoint cannot be used.
        ModelError: The ONNX file cannot be used.
        ValueError: There is no model, or no such augmentation.
    """
    models = [model] if isinstance(model, str | Path) else list(model)
    if not models:
        raise ValueError("no model to evaluate")
    _refuse_repeats(models)
    predictors = [open_predictor(one) for one in models]
    predictor = _combine(predictors, tta=tta)
    part, digest = _part(predictors, dataset, split)
    classes = predictor.classes
    if not len(part):
        raise DataError(f"the data has no {split} images, only {', '.join(dataset.splits)}")
    if classes != part.classes:
        raise DataError(f"the model knows {', '.join(classes)}; the data {', '.join(part.classes)}")
    logits = predictor.logits(part.images)
    run = Path(models[0])
    return Evaluation(
        members=tuple(
            Member(model=Path(one).resolve().name, model_sha256=file_sha256(model_file(one)))
            for one in models
        ),
        split=split,
        fingerprint=dataset.fingerprint,
        count=len(part),
        faces_sha256=digest,
        metrics=classification_metrics(logits, part.labels, classes),
        view=tta or "single",
        parameters=predictor.parameters,
        multiply_adds=predictor.multiply_adds,
        file_bytes=predictor.file_bytes,
        latency=measure_latency(predictor, part.images),
        training=read_training_facts(run) if len(models) == 1 and run.is_dir() else None,
        probabilities=softmax(logits),
        faces=part,
    )


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


def file_sha256(file: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _combine(predictors: list[Predictor], *, tta: str | None) -> Predictor:
    if tta not in (None, "flip"):
        raise ValueError(f"unknown test-time augmentation {tta!r}: expected 'flip'")
    predictor = predictors[0] if len(predictors) == 1 else EnsemblePredictor(predictors)
    return MirrorPredictor(predictor) if tta else predictor


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


def _refuse_repeats(models: Sequence[str | Path]) -> None:
    files = [model_file(one).resolve() for one in models]
    for one, file in zip(models, files, strict=True):
        if files.count(file) > 1:
            raise DataError(f"{one} is named more than once: an ensemble has each model once")


def _part(
    predictors: Sequence[Predictor], dataset: ExpressionDataset, split: str
) -> tuple[ExpressionDataset, str]:
    """Return the split as the models' recipes prepare it, and the digest of its faces.

    Raises:
        DataError: They prepare different faces.
    """
    part = _as_trained(predictors[0], dataset).split(split)
    digest = _faces_sha256(part)
    for other in predictors[1:]:
        if _faces_sha256(_as_trained(other, dataset).split(split)) != digest:
            raise DataError(
                f"the models of an ensemble must be measured on the same faces: their recipes hold "
                f"out or merge others of {split} (data.hold_out, data.classes, seed)"
            )
    return part, digest


def _faces_sha256(part: ExpressionDataset) -> str:
    digest = hashlib.sha256(part.images.tobytes())
    digest.update(part.labels.tobytes())
    return digest.hexdigest()


def _as_trained(predictor: Predictor, dataset: ExpressionDataset) -> ExpressionDataset:
    """Return the data set as the model's recipe prepares it: classes merged, faces held out."""
    wanted: Mapping[str, Any] = predictor.recipe.get("data", {})
    if not (wanted.get("classes") or wanted.get("hold_out")):
        return dataset
    from mien.training.recipe_file import recipe_from_dict  # noqa: PLC0415 - brings torch
    from mien.training.splits import prepare_splits  # noqa: PLC0415

    recipe = recipe_from_dict(predictor.recipe)
    if dataset.classes == predictor.classes:  # merged before, or never to be
        recipe = replace(recipe, data=replace(recipe.data, classes=()))
    return prepare_splits(recipe, dataset)
