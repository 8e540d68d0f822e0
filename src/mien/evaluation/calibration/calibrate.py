"""Calibrate models: fit a temperature on a split that they have not learned."""

from pathlib import Path

import numpy as np

from mien.analysis.classifier import ExpressionClassifier
from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset, check_dataset
from mien.data.protocol import refuse_breaches, test_split_breach
from mien.errors import DataError, ModelError
from mien.evaluation.calibration.measure import count_uncertain
from mien.evaluation.calibration.model_calibration import (
    ModelCalibration,
    calibration_file,
    read_uncertain_below,
)
from mien.evaluation.calibration.temperature import calibrate_logits
from mien.evaluation.predictor import (
    Predictor,
    default_split,
    faces_as_trained,
    open_predictor,
)
from mien.evaluation.protocol import evaluation_breaches, find_seen, learned_by
from mien.expressions import check_uncertain_below
from mien.metadata import file_sha256, model_file


def calibrate(
    model: str | Path,
    dataset: ExpressionDataset,
    split: str | None = None,
    *,
    uncertain_below: float | None = None,
    override_protocol: bool = False,
) -> ModelCalibration:
    """Fit the temperature of a model's probabilities; nothing is written.

    The most probable class of every face stays what it is. Of a model that was calibrated before,
    the temperature is fitted anew, not on top.

    Args:
        model: A run's folder, a checkpoint, a baseline or an ONNX file.
        dataset: Faces of the model's classes.
        split: Those to fit on; by default PublicTest's, or those of the only split there is.
        uncertain_below: Probability, 0 to 1, below which a face's expression shall not be told; by
            default as it was.
        override_protocol: Calibrate even where that is against the protocol.

    Raises:
        CheckpointError: The run, checkpoint or baseline cannot be used.
        DataError: The data has too few faces of the split or other classes, or the model's
            answers are not numbers.
        ProtocolError: The model has learned the faces, or they are the test split's.
        ModelError: The ONNX file cannot be used, or a class is called uncertain.
        TypeError: ``dataset`` is a file, not what was read of it.
        ValueError: ``uncertain_below`` is not 0 to 1.
    """
    check_dataset(dataset)
    file = model_file(model)
    predictor = open_predictor(file)
    if uncertain_below is None:
        uncertain_below = _uncertain_below(file)
    check_uncertain_below(uncertain_below, predictor.classes)
    split, faces, breaches = _unlearned_faces(
        predictor, dataset, split, override_protocol=override_protocol
    )
    # What one model gives is divided by one temperature, so this is what its network answers.
    assert predictor.temperature is not None
    logits = predictor.logits(faces.images).astype(np.float64) * predictor.temperature
    if not np.isfinite(logits).all():
        raise DataError(f"{model}: its answers are not numbers, as after a training that diverged")
    fit = calibrate_logits(logits, faces.labels)
    return ModelCalibration(
        model=Path(model).resolve().name,
        model_sha256=file_sha256(file),
        split=split,
        fingerprint=dataset.fingerprint,
        fit=fit,
        uncertain=count_uncertain(logits / fit.temperature, faces.labels, below=uncertain_below),
        breaches=breaches,
    )


def write_calibration(
    calibration: ModelCalibration, model: str | Path, output: str | Path | None = None
) -> Path:
    """Keep a calibration with its model, and return the file written.

    Beside a checkpoint or baseline it is a file of its own, which its evaluation and its export
    use; of an ONNX file it becomes part of the metadata, and the graph stays as it is.

    Args:
        calibration: The calibration.
        model: What was calibrated, as for :func:`calibrate`.
        output: The calibrated ONNX file, which may be the model itself; None for other models.

    Raises:
        ModelError: The ONNX file has changed since, or ``output`` is missing or one too many.
    """
    file = model_file(model)
    if (file.suffix == ".onnx") != (output is not None):
        raise ModelError(f"{model}: an ONNX file is calibrated into a file, others where they are")
    if file_sha256(file) != calibration.model_sha256:
        raise ModelError(f"{model}: has changed since it was calibrated: calibrate again")
    if output is not None:
        _write_onnx(calibration, file, Path(output))
        return Path(output)
    path = calibration_file(file)
    calibration.write(path)
    return path


def _uncertain_below(file: Path) -> float:
    """Return the probability that a model was given before."""
    if file.suffix == ".onnx":
        return ExpressionClassifier(file).metadata.uncertain_below
    return read_uncertain_below(file)


def _unlearned_faces(
    predictor: Predictor, dataset: ExpressionDataset, split: str | None, *, override_protocol: bool
) -> tuple[str, ExpressionDataset, tuple[str, ...]]:
    """Return the split, found where none is named, its faces, and what is wrong with them."""
    prepared = faces_as_trained(predictor, dataset)
    split = default_split(prepared) if split is None else split
    faces = prepared.split(split)
    if len(faces) < 2:
        raise DataError(
            f"the data has {len(faces)} {split} images, too few; it has {', '.join(dataset.splits)}"
        )
    if faces.classes != predictor.classes:
        raise DataError(
            f"the model knows {', '.join(predictor.classes)}; the data {', '.join(faces.classes)}"
        )
    seen = find_seen(learned_by([predictor], [prepared]), faces)
    breaches = [*evaluation_breaches(dataset, split, seen), *test_split_breach(split)]
    return split, faces, refuse_breaches(breaches, override=override_protocol)


def _write_onnx(calibration: ModelCalibration, file: Path, output: Path) -> None:
    import onnx  # noqa: PLC0415 - slow to import

    facts = calibration.apply(ExpressionClassifier(file).metadata).to_strings()
    model = onnx.load(file)
    others = {item.key: item.value for item in model.metadata_props if item.key not in facts}
    onnx.helper.set_model_props(model, {**others, **facts})
    with atomic_write(output) as temporary:
        onnx.save(model, temporary)
