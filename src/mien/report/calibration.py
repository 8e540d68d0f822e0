"""The part of a page that tells whether a model's probabilities mean what they say."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from mien.evaluation.calibration.measure import BINS, Calibration, UncertainFaces
from mien.report.chart_style import INK, LINE, MODEL_COLOURS, SOFT, draw_legend, finish_axes
from mien.report.page import figure_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 4.6  # inches, as the other charts
_COLOUR: Final = MODEL_COLOURS[0]
_GAP: Final[Mapping[str, Any]] = MappingProxyType(
    {"facecolor": "none", "hatch": "////", "edgecolor": MODEL_COLOURS[1], "lw": 0.6}
)

#: Points by which mean confidence and accuracy may differ by chance on a few thousand faces.
_ALIKE: Final = 1.0


def describe_calibration(
    calibration: Calibration,
    *,
    uncalibrated: Calibration | None = None,
    temperature: float = 1.0,
    uncertain: UncertainFaces | None = None,
    thresholds: Sequence[UncertainFaces] = (),
) -> dict[str, Any]:
    """Return what the template ``_calibration.html`` shows, under the name ``calibration``.

    Args:
        calibration: The model as it is.
        uncalibrated: The same on the same faces with temperature 1, to be shown beside it; None
            where it is that already.
        temperature: The temperature that it has.
        uncertain: The faces that it calls uncertain; None where that is not told.
        thresholds: What it would call uncertain below each of some probabilities, to choose by.
    """
    shown = {"Reliability": calibration}
    if uncalibrated is not None:
        shown = {
            "Before: as the network answers": uncalibrated,
            f"After: temperature {temperature:.2f}": calibration,
        }
    return {
        "sentence": _sentence(calibration),
        "by_chance": f"{100 * calibration.ece_by_chance:.1f}",
        "uncertain": _uncertain_sentence(uncertain),
        "charts": [(name, figure_uri(reliability_chart(each))) for name, each in shown.items()],
        "coverage_chart": figure_uri(coverage_chart(calibration, uncertain=uncertain)),
        "columns": ["before", "after"] if len(shown) > 1 else [],
        "rows": _rows(list(shown.values())),
        "thresholds": [_threshold_row(each, own=uncertain) for each in thresholds],
    }


def reliability_chart(calibration: Calibration) -> "Figure":
    """Draw accuracy over confidence, a bar a bin, and below how many faces each bin has.

    A calibrated model's bars end on the diagonal; hatched is how far confidence is off.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(_WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, height_ratios=(3.2, 1), sharex=True)
    _draw_bins(upper, calibration)
    widths = [each.high - each.low for each in calibration.bins]
    middles = [(each.low + each.high) / 2 for each in calibration.bins]
    counts = [each.count for each in calibration.bins]
    lower.bar(_percent(middles), counts, _percent(widths), color=SOFT, edgecolor="white", lw=0.6)
    lower.set(xlim=(0, 100), xticks=range(0, 101, 20))
    lower.locator_params(axis="y", nbins=3, integer=True)
    finish_axes(upper, y="read right, %")
    finish_axes(lower, x="confidence, %", y="faces")
    figure.align_ylabels()
    return figure


def coverage_chart(
    calibration: Calibration, *, uncertain: UncertainFaces | None = None
) -> "Figure":
    """Draw the accuracy of the surest faces over the share of all faces that these are.

    Args:
        calibration: Has the curve.
        uncertain: The faces that are called uncertain; where they begin is marked.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    coverage = [point.coverage for point in calibration.risk_coverage]
    accuracy = [point.accuracy for point in calibration.risk_coverage]
    (curve,) = axes.plot(_percent(coverage), _percent(accuracy), "o-", ms=3, color=_COLOUR)
    axes.set_xlim(0, 102)
    finish_axes(axes, x="share of the faces, the surest first, %", y="read right, %")
    if uncertain is not None and 0 < uncertain.share < 1:
        limit = axes.axvline(100 * (1 - uncertain.share), color=SOFT, lw=1, ls=":")
        name = f"beyond: uncertain, below {100 * uncertain.below:g} %"
        draw_legend(figure, [curve, limit], ["read right", name])
    return figure


def _draw_bins(axes: "Axes", calibration: Calibration) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - slow to import

    axes.plot([0, 100], [0, 100], "--", color=SOFT, lw=1)
    for each in calibration.bins:
        place: dict[str, Any] = {"width": 100 * (each.high - each.low), "align": "edge"}
        left, right, wanted = 100 * each.low, 100 * each.accuracy, 100 * each.confidence
        axes.bar(left, right, color=_COLOUR, edgecolor="white", lw=0.6, **place)
        axes.bar(left, wanted - right, bottom=right, **_GAP, **place)
    axes.set(ylim=(0, 100), yticks=range(0, 101, 20))
    axes.tick_params(labelbottom=False)
    axes.legend(
        [Patch(color=_COLOUR), Patch(**_GAP)],
        ["read right", "confidence is off by"],
        loc="upper left",
        fontsize=8.5,
        labelcolor=INK,
        framealpha=0.9,
        edgecolor=LINE,
    )


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def _sentence(calibration: Calibration) -> str:
    """Return in plain words what the figures say."""
    sure, right = 100 * calibration.confidence, 100 * calibration.accuracy
    if abs(sure - right) < _ALIKE:
        verdict = "on average it is as sure as it is right"
    elif sure > right:
        verdict = f"it is surer than it is right, by {sure - right:.1f} points"
    else:
        verdict = f"it is right more often than it is sure, by {right - sure:.1f} points"
    low, high = (100 * edge for edge in calibration.ece_interval)
    half = min(calibration.risk_coverage, key=lambda point: abs(point.coverage - 0.5))
    return (
        f"The probability of its answer is {sure:.1f} % on average, and {right:.1f} % of the "
        f"answers are right: {verdict}. In {BINS} ranges taken one by one, the two lie "
        f"{100 * calibration.ece:.1f} points apart (95 % interval {low:.1f} to {high:.1f}). Of the "
        f"surest {100 * half.coverage:.0f} % of the faces, {100 * half.accuracy:.1f} % are read "
        f"right."
    )


def _uncertain_sentence(uncertain: UncertainFaces | None) -> str:
    if uncertain is None or not uncertain.below:
        return ""
    text = (
        f"Below {100 * uncertain.below:g} % it calls a face uncertain: {100 * uncertain.share:.1f} "
        f"% of these faces"
    )
    if uncertain.error is not None:
        text += f", of which {100 * uncertain.error:.1f} % would have been read wrong"
    if uncertain.told_error is not None:
        text += f"; of the others {100 * uncertain.told_error:.1f} % are"
    return f"{text}."


def _threshold_row(faces: UncertainFaces, *, own: UncertainFaces | None) -> list[str]:
    """Return a threshold, what share of the faces is told with it, and how many of these right."""
    name = f"{faces.below:g}" if faces.below else "none"  # as --uncertain-below takes it
    is_own = own is not None and own.below == faces.below
    right = "–" if faces.told_error is None else f"{100 * (1 - faces.told_error):.1f} %"
    return [
        f"{name} (the model's)" if is_own else name,
        f"{100 * (1 - faces.share):.1f} %",
        right,
    ]


def _rows(calibrations: Sequence[Calibration]) -> list[tuple[str, list[str]]]:
    """Return the figures' names, and their texts for each model."""

    def percent(name: str) -> list[str]:
        return [f"{100 * getattr(each, name):.2f} %" for each in calibrations]

    return [
        (f"calibration error (ECE, {BINS} bins)", percent("ece")),
        ("the same, bins of equal counts", percent("adaptive_ece")),
        ("the same, class by class", percent("classwise_ece")),
        ("Brier score", [f"{each.brier:.3f}" for each in calibrations]),
        ("cross-entropy, nats", [f"{each.cross_entropy:.3f}" for each in calibrations]),
    ]
