"""The comparison report: several models on the same faces as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mien.evaluation.comparison import Comparison
from mien.evaluation.measures import ACCURACY, LATENCY, MACRO_F1, PARAMETERS, Measure
from mien.report.model_charts import (
    bars_chart,
    confusion_chart,
    cost_chart,
    curves_chart,
    model_colours,
)
from mien.report.page import figure_uri, write_page
from mien.report.robustness_charts import describe_robustness

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_comparison_page(path: str | Path, comparison: Comparison) -> None:
    """Write a comparison as one self-contained HTML page.

    Args:
        path: The file; replaced whole or not at all.
        comparison: The evaluations.
    """
    first = comparison.evaluations[0]
    count = len(comparison.names)
    write_page(
        Path(path),
        "comparison.html",
        title=f"{count} model{'s' if count > 1 else ''} compared",
        lead=f"All measured on the same {first.count:,} faces of {first.split}.",
        comparison=comparison,
        models=list(zip(comparison.names, model_colours(count), strict=True)),
        rows=_rows(comparison),
        threads=sorted({e.latency.threads for e in comparison.evaluations if e.latency}),
        accuracy_chart=figure_uri(_accuracy_chart(comparison)),
        recall_chart=figure_uri(_recall_chart(comparison)),
        curves=[
            (quantity, figure_uri(chart))
            for quantity in ("accuracy", "loss")
            if (chart := _curves_chart(comparison, quantity))
        ],
        verdicts=[
            (name, evaluation.training)
            for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True)
            if evaluation.training
        ],
        costs=[
            (title, figure_uri(chart))
            for title, measure in (("Speed", LATENCY), ("Size", PARAMETERS))
            if (chart := _cost_chart(comparison, measure))
        ],
        differences=_differences(comparison),
        verdicts_of_chance=_verdicts_of_chance(comparison),
        robustness=_robustness(comparison),
        seed_spreads=[spread.text() for spread in comparison.seed_spreads()],
    )


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row a figure with a cell a model; some are followed by their interval."""
    rows = [
        {
            "name": measure.name,
            "cells": [
                {"text": measure.text(evaluation), "best": i in comparison.best(measure)}
                for i, evaluation in enumerate(comparison.evaluations)
            ],
        }
        for measure in comparison.measures
    ]
    names = [measure.name for measure in comparison.measures]
    intervals = [e.metrics.interval_text() for e in comparison.evaluations]
    f1_intervals = [e.metrics.macro_f1_interval_text() for e in comparison.evaluations]
    for measure, texts in ((MACRO_F1, f1_intervals), (ACCURACY, intervals)):
        row = {
            "name": f"{measure.name}, 95 % interval",
            "cells": [{"text": text, "best": False} for text in texts],
        }
        rows.insert(names.index(measure.name) + 1, row)
    return rows


def _accuracy_chart(comparison: Comparison) -> "Figure":
    def percent(measure: Measure, index: int) -> float:
        value = measure.read(comparison.evaluations[index])
        assert value is not None  # every evaluation has these two
        return 100 * value

    series = {
        name: [percent(measure, i) for measure in (ACCURACY, MACRO_F1)]
        for i, name in enumerate(comparison.names)
    }
    return bars_chart(
        ["accuracy", "macro-F1"], series, label="%", colours=model_colours(len(series))
    )


def _recall_chart(comparison: Comparison) -> "Figure":
    series = {
        name: [100 * recall for recall in evaluation.metrics.recall]
        for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True)
    }
    return bars_chart(
        comparison.classes, series, label="recall, %", colours=model_colours(len(series))
    )


def _curves_chart(comparison: Comparison, quantity: Literal["accuracy", "loss"]) -> "Figure | None":
    """Return the curves of the models whose training is known, in the colours of all charts."""
    all_colours = model_colours(len(comparison.names))
    known = [i for i, e in enumerate(comparison.evaluations) if e.training]
    if not known:
        return None
    histories = {}
    for i in known:
        training = comparison.evaluations[i].training
        assert training is not None
        histories[comparison.names[i]] = training.history
    return curves_chart(histories, quantity=quantity, colours=[all_colours[i] for i in known])


def _cost_chart(comparison: Comparison, measure: Measure) -> "Figure | None":
    points: dict[str, tuple[float, float]] = {}
    colours: list[str] = []
    for name, evaluation, colour in zip(
        comparison.names,
        comparison.evaluations,
        model_colours(len(comparison.names)),
        strict=True,
    ):
        cost = measure.read(evaluation)
        if cost:  # a logarithmic scale has no 0
            points[name] = (cost, 100 * evaluation.metrics.accuracy)
            colours.append(colour)
    return cost_chart(points, label=measure.name, colours=colours) if points else None


def _differences(comparison: Comparison) -> list[dict[str, Any]]:
    others = range(1, len(comparison.names))
    differences = {i: comparison.confusion_difference(i) for i in others}
    largest = max((float(np.abs(each).max()) for each in differences.values()), default=0.0)

    def draw(difference: npt.NDArray[np.float64]) -> str:
        chart = confusion_chart(difference, comparison.classes, kind="difference", largest=largest)
        return figure_uri(chart)

    return [
        {
            "name": comparison.names[i],
            "chart": draw(difference),
            "changes": _largest_changes(comparison, i),
        }
        for i, difference in differences.items()
    ]


def _robustness(comparison: Comparison) -> dict[str, Any] | None:
    """Return the part on robustness of those models that it was measured of."""
    known = {
        name: evaluation.robustness
        for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True)
        if evaluation.robustness is not None
    }
    return describe_robustness(known) if known else None


def _verdicts_of_chance(comparison: Comparison) -> list[dict[str, Any]]:
    """Return for each but the first what of its difference from the first is noise."""
    return [
        {"name": name, "difference": difference, "text": difference.verdict()}
        for name, difference in zip(
            comparison.names[1:], comparison.differences() or (), strict=False
        )
    ]


def _largest_changes(comparison: Comparison, index: int) -> Sequence[tuple[str, float]]:
    """Return the three classes whose recall changed most, with the change in points."""
    change = comparison.confusion_difference(index).diagonal()
    order = np.argsort(-np.abs(change), kind="stable")[:3]
    return [(comparison.classes[i], float(change[i])) for i in order if change[i]]
