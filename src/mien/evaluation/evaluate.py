"""Evaluate runs, checkpoints and ONNX files on one split, one model or several as an ensemble."""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.analysis.classifier import softmax
from mien.data.dataset import ExpressionDataset, check_dataset
from mien.data.protocol import refuse_breaches
from mien.errors import CheckpointError, DataError, ModelError
from mien.evaluation.calibration.measure import measure_calibration
from mien.evaluation.evaluation import PARTS, Evaluation, Member, Part
from mien.evaluation.metrics import classification_metrics
from mien.evaluation.predictor import (
    EnsemblePredictor,
    MirrorPredictor,
    Predictor,
    default_split,
    faces_as_trained,
    open_predictor,
)
from mien.evaluation.protocol import (
    evaluation_breaches,
    find_seen,
    learned_by,
    measure_unseen,
    training_breaches,
    was_chosen_on,
)
from mien.evaluation.robustness.measure import measure_robustness
from mien.evaluation.speed.card import measure_speed
from mien.evaluation.speed.latency import measure_latency
from mien.evaluation.training_facts import TrainingFacts, read_plainly, read_training_facts
from mien.metadata import file_sha256, model_file

if TYPE_CHECKING:
    from mien.evaluation.explanation import ClassMaps


logger = logging.getLogger(__name__)


def evaluate(
    model: str | Path | Sequence[str | Path],
    dataset: ExpressionDataset,
    split: str | None = None,
    *,
    tta: Literal["flip"] | None = None,
    parts: Collection[Part] = (),
    override_protocol: bool = False,
    watch: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure a model, or several as an ensemble, on one split.

    Args:
        model: A run's folder, a checkpoint, or an ONNX file. Several are an ensemble: their
            probabilities are averaged.
        dataset: Holds the split. Where the model was trained on merged classes, they are merged
            here as they were then; where it was trained on this data with a part held out, that
            is held out again.
        split: ``Training``, ``PublicTest`` or ``PrivateTest``; by default PublicTest, or the only
            one that there is, such as Training of a folder that is not sorted into splits.
        tta: Test-time augmentation: ``flip`` averages the probabilities of each face and of its
            mirror image, for twice the time.
        parts: What to measure besides: ``speed``, the speed and size card, 15 seconds;
            ``explanation``, what a network looks at; ``robustness``, 61 passes over damaged faces.
        override_protocol: Measure even where that is against the protocol, and tell.
        watch: Called with what is being measured.

    Raises:
        DataError: The split has no images, or its classes are not the model's, or the models of
            an ensemble differ in theirs, were trained to see other faces, or one is named twice.
        ProtocolError: More than a quarter of the faces are ones that the model learned from, or
            FER2013's splits are swapped.
        CheckpointError: The run or checkpoint cannot be used.
        ModelError: The ONNX file cannot be used.
        TypeError: ``dataset`` is a file, not what was read of it.
        ValueError: There is no model, no such augmentation or no such part.
    """
    check_dataset(dataset)
    models = [model] if isinstance(model, str | Path) else list(model)
    if not models:
        raise ValueError("no model to evaluate")
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"unknown part {min(unknown)!r}: expected {', '.join(PARTS)}")
    _refuse_repeats(models)
    predictors = [open_predictor(one) for one in models]
    predictor = _combine(predictors, tta=tta)
    prepared = [faces_as_trained(each, dataset) for each in predictors]
    split = default_split(prepared[0]) if split is None else split
    part, digest = _same_part(prepared, split)
    classes = predictor.classes
    if not len(part):
        raise DataError(f"the data has no {split} images, only {', '.join(dataset.splits)}")
    if classes != part.classes:
        raise DataError(f"the model knows {', '.join(classes)}; the data {', '.join(part.classes)}")
    learned = learned_by(predictors, prepared)
    seen = find_seen(learned, part)
    breaches = refuse_breaches(
        evaluation_breaches(dataset, split, seen), override=override_protocol
    )
    tell = watch or (lambda _: None)
    tell("reading the faces")
    logits = predictor.logits(part.images)
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
        labels=part.labels,
        predictions=logits.argmax(axis=1),
        unseen=None
        if seen is None or None in learned
        else measure_unseen(logits, part.labels, classes, seen),
        chosen_on=was_chosen_on(predictors, part, split),
        breaches=(*training_breaches(predictors), *breaches),
        view=tta or "single",
        parameters=predictor.parameters,
        multiply_adds=predictor.multiply_adds,
        file_bytes=predictor.file_bytes,
        latency=measure_latency(predictor, part.images),
        temperature=predictor.temperature,
        uncertain_below=predictor.uncertain_below,
        calibration=measure_calibration(logits, part.labels) if np.isfinite(logits).all() else None,
        **_measure_parts(parts, models, predictors, part, tta=tta, tell=tell),
        training=_training_facts(models, predictors[0], prepared[0]),
        **_recipe_facts(predictors),
        probabilities=softmax(logits),
        faces=part,
    )


def _combine(predictors: list[Predictor], *, tta: str | None) -> Predictor:
    if tta not in (None, "flip"):
        raise ValueError(f"unknown test-time augmentation {tta!r}: expected 'flip'")
    predictor = predictors[0] if len(predictors) == 1 else EnsemblePredictor(predictors)
    return MirrorPredictor(predictor) if tta else predictor


def _refuse_repeats(models: Sequence[str | Path]) -> None:
    files = [model_file(one).resolve() for one in models]
    for one, file in zip(models, files, strict=True):
        if files.count(file) > 1:
            raise DataError(f"{one} is named more than once: an ensemble has each model once")


def _same_part(prepared: Sequence[ExpressionDataset], split: str) -> tuple[ExpressionDataset, str]:
    """Return the split as the models' recipes prepare it, and the digest of its faces.

    Raises:
        DataError: They prepare different faces.
    """
    part = prepared[0].split(split)
    digest = _faces_sha256(part)
    for other in prepared[1:]:
        if _faces_sha256(other.split(split)) != digest:
            raise DataError(
                f"the models of an ensemble must be measured on the same faces: their recipes hold "
                f"out or merge others of {split} (data.hold_out, data.classes, seed)"
            )
    return part, digest


def _measure_parts(
    parts: Collection[Part],
    models: Sequence[str | Path],
    predictors: list[Predictor],
    faces: ExpressionDataset,
    *,
    tta: Literal["flip"] | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Return what was asked for besides, by :class:`Evaluation`'s names."""
    found: dict[str, Any] = {}
    if "speed" in parts:
        tell("speed and size")
        found["speed"] = measure_speed(
            lambda threads: _combine(
                [open_predictor(one, threads=threads) for one in models], tta=tta
            ),
            faces.images,
            model=models[0] if len(models) == 1 else None,
        )
    if "explanation" in parts and len(models) == 1:
        tell("what it looks at")
        found["explanation"] = _explain(models[0], faces, predictors[0])
    if "robustness" in parts:
        found["robustness"] = measure_robustness(
            _combine(predictors, tta=tta),
            faces,
            watch=lambda done, passes: tell(f"robustness, {done} of {passes} passes"),
        )
    return found


def _explain(model: str | Path, faces: ExpressionDataset, reader: Predictor) -> "ClassMaps | None":
    """Return what a network looks at; None for a model that has no gradients or no maps.

    A map is of one picture, so faces are read by ``reader`` as they are, without mirror images.
    """
    from mien.evaluation.explanation import explain_split, open_differentiable  # noqa: PLC0415

    try:
        return explain_split(open_differentiable(model), faces, reader=reader)
    except (CheckpointError, ModelError) as error:
        logger.info("%s is not explained: %s", model, error)
        return None


def _recipe_facts(predictors: Sequence[Predictor]) -> dict[str, Any]:
    """Return recipe, seed and data that the model is of, by :class:`Evaluation`'s names."""
    recipe = dict(predictors[0].recipe)
    if len(predictors) > 1 or "name" not in recipe:
        return {}
    seed = recipe.pop("seed", None)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode("utf-8")).hexdigest()
    return {
        "recipe": str(recipe["name"]),
        "recipe_sha256": digest,
        "seed": seed,
        "trained_on": predictors[0].data.get("fingerprint"),
    }


def _training_facts(
    models: Sequence[str | Path], predictor: Predictor, dataset: ExpressionDataset
) -> TrainingFacts | None:
    run = Path(models[0])
    facts = read_training_facts(run) if len(models) == 1 and run.is_dir() else None
    return replace(facts, plain=read_plainly(predictor, dataset)) if facts else None


def _faces_sha256(part: ExpressionDataset) -> str:
    digest = hashlib.sha256(part.images.tobytes())
    digest.update(part.labels.tobytes())
    return digest.hexdigest()
