"""The evaluation report: one model on one split as a page."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import ExpressionDataset
from mien.evaluation.calibration.measure import count_uncertain, measure_calibration
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.measures import MEASURES
from mien.evaluation.samples import Sample, surest_samples
from mien.report.calibration import describe_calibration
from mien.report.explanation import describe_explanation
from mien.report.model_charts import confusion_chart, curves_chart, model_colours
from mien.report.page import figure_uri, picture_uri, write_page
from mien.report.robustness_charts import describe_robustness
from mien.report.speed import describe_speed

#: Thresholds that a page tells of, beside the model's own.
_THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

#: Faces of each kind shown for a class; a row on a desktop.
_EACH: Final = 5


def write_evaluation_page(path: str | Path, evaluation: Evaluation) -> None:
    """Write an evaluation as one self-contained HTML page.

    Args:
        path: The file; replaced whole or not at all.
        evaluation: Fresh from :func:`mien.evaluate`, with its probabilities and faces.

    Raises:
        ValueError: The evaluation was read from a file.
    """
    if evaluation.probabilities is None or evaluation.faces is None:
        raise ValueError("an evaluation read from a file has no probabilities: evaluate again")
    metrics = evaluation.metrics
    write_page(
        Path(path),
        "evaluation.html",
        title=evaluation.model,
        lead=f"Measured on {evaluation.count:,} faces of {evaluation.split}.",
        evaluation=evaluation,
        metrics=metrics,
        view=_VIEWS.get(evaluation.view, evaluation.view),
        tiles=[(m.name, m.text(evaluation)) for m in MEASURES if m.read(evaluation) is not None],
        counts_chart=figure_uri(
            confusion_chart(np.array(metrics.confusion), metrics.classes, kind="counts")
        ),
        rates_chart=figure_uri(
            confusion_chart(metrics.confusion_rates(), metrics.classes, kind="rates")
        ),
        mistakes=_mistakes(evaluation),
        training=_training(evaluation),
        samples=_samples(evaluation.probabilities, evaluation.faces),
        calibration=_calibration(evaluation),
        explanation=evaluation.explanation and describe_explanation(evaluation.explanation),
        robustness=evaluation.robustness
        and describe_robustness({evaluation.model: evaluation.robustness}, evaluation.faces.images),
        speed=evaluation.speed and describe_speed(evaluation.speed),
    )


_VIEWS: Final = {
    "single": "single view: each face as it is",
    "flip": "flip: probabilities averaged over each face and its mirror image",
}


def _mistakes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the three most frequent confusions, by their share of the true class."""
    metrics = evaluation.metrics
    rates = metrics.confusion_rates()
    np.fill_diagonal(rates, 0)
    order = np.argsort(-rates, axis=None, kind="stable")[:3]
    return [
        {"label": metrics.classes[i], "read_as": metrics.classes[j], "rate": float(rates[i, j])}
        for i, j in (np.unravel_index(flat, rates.shape) for flat in order)
        if rates[i, j] > 0
    ]


def _training(evaluation: Evaluation) -> dict[str, Any] | None:
    training = evaluation.training
    if training is None:
        return None
    histories = {evaluation.model: training.history}
    return {
        "warns": training.dynamics.overfits or training.dynamics.diverged_epoch is not None,
        "verdict": training.verdict(),
        "charts": [
            (
                quantity,
                figure_uri(curves_chart(histories, quantity=quantity, colours=model_colours(1))),
            )
            for quantity in ("accuracy", "loss")
        ],
    }


def _calibration(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the calibration's part of the page, with what it was before scaling where it was.

    The mean of two views' probabilities cannot be brought back to what the network answered.
    """
    if evaluation.calibration is None or evaluation.labels is None:
        return None
    assert evaluation.probabilities is not None
    labels = evaluation.labels
    logits = np.log(np.maximum(evaluation.probabilities, np.finfo(np.float32).tiny))
    own = evaluation.uncertain_below
    thresholds = {
        below: count_uncertain(logits, labels, below=below)
        for below in sorted({0.0, own or 0.0, *_THRESHOLDS})
    }
    doubt: dict[str, Any] = {
        "uncertain": None if own is None else thresholds[own],
        "thresholds": [*thresholds.values()],
    }
    temperature = evaluation.temperature
    if temperature in (None, 1) or evaluation.view != "single":
        return describe_calibration(evaluation.calibration, **doubt)
    assert temperature is not None
    return describe_calibration(
        evaluation.calibration,
        uncalibrated=measure_calibration(logits * temperature, labels),
        temperature=temperature,
        **doubt,
    )


def _samples(
    probabilities: npt.NDArray[np.float32], part: ExpressionDataset
) -> list[dict[str, Any]]:
    found = surest_samples(probabilities, part.labels, each=_EACH)

    def draw(samples: tuple[Sample, ...]) -> list[dict[str, Any]]:
        return [
            {
                "picture": picture_uri(part.images[sample.index]),
                "name": str(part.names[sample.index]),
                "read_as": part.classes[sample.prediction],
                "confidence": sample.confidence,
            }
            for sample in samples
        ]

    return [
        {"label": label, "right": draw(of_class.right), "wrong": draw(of_class.wrong)}
        for label, of_class in zip(part.classes, found, strict=True)
    ]
