"""What damage to faces does to models: curves, examples, and what a page's part needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.robustness.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from mien.evaluation.robustness.measure import CorruptionFigures, Robustness, corruption_title
from mien.preprocess import FACE_SIZE
from mien.report.chart_style import INK, LINE, draw_legend, finish_axes, fit_name
from mien.report.model_charts import model_colours, model_marker
from mien.report.page import figure_uri, picture_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Strengths that examples are shown at.
EXAMPLE_STRENGTHS: Final = (1, 3, 5)

_COLUMNS: Final = 3
_WIDTH: Final = 4.6  # inches, as the charts of models
_ROW_HEIGHT: Final = 1.25

#: Characters of a model's name in a legend.
_LONGEST_MODEL: Final = 40

#: White pixels between the faces of an example.
_GAP: Final = 2


def robustness_chart(robustness: Mapping[str, Robustness]) -> "Figure":
    """Draw accuracy by strength, a small chart a corruption; dotted is the clean accuracy.

    Args:
        robustness: Model name → its figures, all of the same corruptions.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    names = list(next(iter(robustness.values())).corruptions)
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(_WIDTH, 0.5 + _ROW_HEIGHT * rows), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    handles: list[Any] = []
    for number, axes in enumerate(grid.flat):
        if number >= len(names):
            axes.set_visible(False)
            continue
        handles = _draw_curves(axes, names[number], robustness)
        is_lowest = number + _COLUMNS >= len(names)
        axes.tick_params(labelbottom=is_lowest)
        finish_axes(
            axes,
            x="strength" if is_lowest else "",
            y="accuracy, %" if number % _COLUMNS == 0 else "",
        )
        axes.set_title(fit_name(corruption_title(names[number])), fontsize=8.5, color=INK, pad=3)
    top = max(max(each.clean_accuracy, _best(each)) for each in robustness.values())
    grid[0, 0].set(ylim=(0, 100 * top + 8), xticks=STRENGTHS)
    if len(robustness) > 1:
        titles = [fit_name(name, longest=_LONGEST_MODEL) for name in robustness]
        draw_legend(figure, handles, titles)
    return figure


def corruption_examples(
    face: npt.NDArray[np.uint8], *, seed: int = 0, gap: int = _GAP
) -> npt.NDArray[np.uint8]:
    """Draw one face under every corruption at strengths 1, 3 and 5.

    Args:
        face: ``(48, 48)`` uint8 grey levels.
        seed: What chance is drawn from.
        gap: White pixels between two pictures.

    Returns:
        ``(12 · (48 + gap) - gap, 3 · (48 + gap) - gap)`` uint8: a row a corruption in the order of
        :data:`mien.evaluation.robustness.corruptions.CORRUPTIONS`, a column a strength.
    """
    step = FACE_SIZE + gap
    rows, columns = len(CORRUPTIONS), len(EXAMPLE_STRENGTHS)
    picture = np.full((rows * step - gap, columns * step - gap), 255, np.uint8)
    for row, name in enumerate(CORRUPTIONS):
        for column, strength in enumerate(EXAMPLE_STRENGTHS):
            top, left = row * step, column * step
            (damaged,) = corrupt(face[None], name, strength, seed=seed)
            picture[top : top + FACE_SIZE, left : left + FACE_SIZE] = damaged
    return picture


def describe_robustness(
    robustness: Mapping[str, Robustness], faces: npt.NDArray[np.uint8] | None = None
) -> dict[str, Any]:
    """Return what ``_robustness.html`` shows of one model or several.

    Args:
        robustness: Model name → its figures.
        faces: ``(N, 48, 48)`` uint8, of which the one with the middle contrast is shown damaged;
            None to show none.

    Raises:
        DataError: The models were not measured on the same pictures.
        ValueError: There is no model.
    """
    if not robustness:
        raise ValueError("no robustness to describe")
    every = list(robustness.values())
    first = every[0]
    for other in every[1:]:
        first.check_comparable(other)
    return {
        "figures": first,
        "models": list(zip(robustness, model_colours(len(every)), strict=True)),
        "strengths": STRENGTHS,
        "summary": [
            _row("mean over all", [each.mean_accuracy for each in every]),
            _row("clean faces", [each.clean_accuracy for each in every]),
            _row("mean, share of clean", [each.relative_accuracy for each in every]),
            _row("mean macro-F1", [each.mean_macro_f1 for each in every]),
        ],
        "rows": [_corruption_row(name, every) for name in first.corruptions],
        "worst": {
            "title": corruption_title(first.worst),
            "accuracy": first.corruptions[first.worst].mean_accuracy,
        },
        "chart": figure_uri(robustness_chart(robustness)),
        "examples": [] if faces is None or not len(faces) else _examples(faces, first.seed),
        "example_strengths": EXAMPLE_STRENGTHS,
    }


def _best(robustness: Robustness) -> float:
    return max(max(figures.accuracies) for figures in robustness.corruptions.values())


def _draw_curves(axes: "Axes", name: str, robustness: Mapping[str, Robustness]) -> list[Any]:
    """Draw one corruption's curves and return them."""
    handles = []
    colours = model_colours(len(robustness))
    for i, (each, colour) in enumerate(zip(robustness.values(), colours, strict=True)):
        axes.axhline(100 * each.clean_accuracy, color=colour, lw=1, ls=":")
        accuracies = [100 * accuracy for accuracy in each.corruptions[name].accuracies]
        look: dict[str, Any] = {"color": colour, "lw": 1.5, "ms": 3.5, "marker": model_marker(i)}
        handles += axes.plot(STRENGTHS, accuracies, **look)
        if len(robustness) == 1:
            axes.fill_between(
                STRENGTHS, accuracies, 100 * each.clean_accuracy, color=LINE, alpha=0.5, lw=0
            )
    return handles


def _row(title: str, values: list[float | None]) -> dict[str, Any]:
    """Return a row of shares, a model a column, with the best marked where there are several."""
    shown = [None if value is None else f"{100 * value:.1f}" for value in values]
    best = max((value for value in values if value is not None), default=None)
    several = len({text for text in shown if text}) > 1
    return {
        "title": title,
        "cells": [
            {"text": text or "–", "best": several and value == best}
            for text, value in zip(shown, values, strict=True)
        ],
    }


def _corruption_row(name: str, every: list[Robustness]) -> dict[str, Any]:
    figures = every[0].corruptions[name]
    return {
        **_row(corruption_title(name), [each.corruptions[name].mean_accuracy for each in every]),
        "levels": _levels(name, figures),
        "accuracies": [f"{100 * accuracy:.1f}" for accuracy in figures.accuracies],
    }


def _levels(name: str, figures: CorruptionFigures) -> str:
    """Return what strengths mean: ``standard deviation, grey levels: 6, 12, 18, 26, 38``."""
    levels = ", ".join(f"{level:g}" for level in figures.levels)
    return f"{CORRUPTIONS[name].quantity}: {levels}" if name in CORRUPTIONS else levels


def _examples(faces: npt.NDArray[np.uint8], seed: int) -> list[dict[str, Any]]:
    """Cut the examples of one face into a picture a corruption, which a page can wrap."""
    order = np.argsort(faces.std(axis=(1, 2)), kind="stable")
    picture = corruption_examples(faces[order[len(order) // 2]], seed=seed)
    step = FACE_SIZE + _GAP
    return [
        {
            "title": corruption.title,
            "quantity": corruption.quantity,
            "levels": [f"{corruption.levels[s - 1]:g}" for s in EXAMPLE_STRENGTHS],
            "picture": picture_uri(picture[row * step : row * step + FACE_SIZE]),
        }
        for row, corruption in enumerate(CORRUPTIONS.values())
    ]
