"""Charts of a data set, as matplotlib figures small enough to be read on a phone."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.exploration import Exploration
from mien.data.measures import Measure
from mien.data.projection import Projection
from mien.report.chart_style import SOFT, draw_legend, finish_axes, fit_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# As in templates/style.css, which a figure cannot read.
_ACCENT: Final = "#2f5fd0"
_BAD: Final = "#b3372e"

_SPLIT_COLOURS: Final = ("#2f5fd0", "#e08a2e", "#1d9a8a")
#: Matplotlib's ten, told apart by most eyes. Further classes share a grey.
_CLASS_COLOURS: Final = (
    *("#d62728", "#2ca02c", "#9467bd", "#e0a100", "#1f77b4"),
    *("#ff7f0e", "#7f7f7f", "#17becf", "#e377c2", "#8c564b"),
)
_OTHERS_COLOUR: Final = "#c9ced8"

_WIDTH_IN: Final = 5.2


def draw_class_counts(facts: Exploration, *, shares: bool = False) -> "Figure":
    """Draw bars of the images of each class in each split.

    Args:
        facts: Of the data set.
        shares: Percent of the split's images, instead of their number.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - slow to import

    counts = facts.counts.astype(np.float64)
    values = 100 * counts / counts.sum(axis=1, keepdims=True) if shares else counts
    figure, axes = _figure(height=0.9 + 0.19 * values.size + 0.12 * len(facts.classes))
    places = np.arange(len(facts.classes))
    thickness = 0.84 / len(facts.splits)
    for number, (split, row) in enumerate(zip(facts.splits, values, strict=True)):
        offset = (number - (len(facts.splits) - 1) / 2) * thickness
        bars = axes.barh(
            places + offset, row, 0.9 * thickness, color=_SPLIT_COLOURS[number], label=split
        )
        labels = [f"{value:.1f} %" if shares else f"{value:,.0f}" for value in row]
        axes.bar_label(bars, labels, padding=3, fontsize=8, color=SOFT)
    axes.set_yticks(places, [fit_name(name) for name in facts.classes])
    axes.set_xlim(0, 1.16 * values.max())
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    finish_axes(axes, x="share of the split's images (%)" if shares else "images")
    draw_legend(figure, *axes.get_legend_handles_labels())
    return figure


def draw_grey_levels(facts: Exploration) -> "Figure":
    """Draw how often each grey level is used in each split."""
    figure, axes = _figure(height=2.9)
    for colour, split, levels in zip(_SPLIT_COLOURS, facts.splits, facts.grey_levels, strict=False):
        axes.plot(100 * levels / levels.sum(), color=colour, linewidth=1.2, label=split)
    axes.set_xlim(0, 255)
    axes.set_ylim(bottom=0)
    finish_axes(axes, x="grey level of a pixel", y="pixels (%)")
    draw_legend(figure, *axes.get_legend_handles_labels())
    return figure


def draw_measure(measure: Measure) -> "Figure":
    """Draw the histogram of a measure, with the images beyond its limits in red."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator  # noqa: PLC0415 - slow

    figure, axes = _figure(height=2.9)
    values = measure.values.astype(np.float64)
    # A decade below 1 is enough for empty pictures, and a log axis has no place for their 0.
    shown = values.clip(0.1) if measure.logarithmic else values
    low, high = shown.min(), shown.max()
    if low == high:
        low, high = low * 0.9, high * 1.1 + 0.1
    spread = np.geomspace if measure.logarithmic else np.linspace
    bins = int(np.clip(2 * len(shown) ** 0.5, 8, 60))
    edges = spread(low, high, bins + 1)
    outside = measure.is_low | measure.is_high
    counts = np.zeros(bins)
    for which, colour in ((~outside, _ACCENT), (outside, _BAD)):
        more, _ = np.histogram(shown[which], edges)
        axes.bar(edges[:-1], more, np.diff(edges), bottom=counts, align="edge", color=colour)
        counts += more
    for limit in (measure.low, measure.high):
        if low < limit < high:
            axes.axvline(limit, color=_BAD, linewidth=1, linestyle="--")
    if measure.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:,g}")
    if counts.max() > 50:  # The few outliers would not be seen beside thousands.
        axes.set_yscale("symlog", linthresh=10)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    finish_axes(axes, x=measure.name, y="images")
    return figure


def draw_explained(projection: Projection) -> "Figure":
    """Draw the variance that each component holds, and all up to it."""
    figure, axes = _figure(height=2.9)
    numbers = np.arange(1, len(projection.explained) + 1)
    axes.bar(numbers, 100 * projection.explained, color=_SPLIT_COLOURS[1], label="each")
    axes.plot(numbers, 100 * projection.explained.cumsum(), color=_ACCENT, label="up to here")
    axes.set_ylim(0, 100)
    finish_axes(axes, x="principal component", y="variance (%)")
    draw_legend(figure, *axes.get_legend_handles_labels())
    return figure


def draw_projection(facts: Exploration, projection: Projection, *, dimensions: int) -> "Figure":
    """Draw faces as points on the first two or three components, coloured by class.

    A larger point is the middle of its class.
    """
    three = dimensions == 3
    figure, axes = _figure(height=4.6, projection="3d" if three else None)
    labels = facts.labels[projection.indices]
    colours = _class_colours(facts)
    points = projection.coordinates[:, :dimensions]
    # Thousands of points as a picture in the SVG, or they would take a megabyte.
    look = {"s": 5, "alpha": 0.55, "linewidths": 0, "rasterized": True}
    if three:
        look["depthshade"] = False
    axes.scatter(*points.T, c=[colours[label] for label in labels], **look)
    handles, names = [], []
    for label in np.unique(labels):
        if colours[label] != _OTHERS_COLOUR:
            middle = points[labels == label].mean(axis=0)[:, None]
            handles.append(
                axes.scatter(*middle, s=70, color=colours[label], edgecolors="white", zorder=3)
            )
            names.append(fit_name(facts.classes[label]))
    percent = [f"component {n} ({100 * share:.0f} %)" for n, share in _numbered(projection)]
    finish_axes(axes, x=percent[0], y=percent[1])
    if three:
        axes.set_zlabel(percent[2], color=SOFT, fontsize=9, labelpad=-10)
        axes.xaxis.labelpad = axes.yaxis.labelpad = -10
        axes.tick_params(labelbottom=False, labelleft=False)
        axes.zaxis.set_ticklabels([])
        axes.computed_zorder = False  # or the middles are lost among the points
        axes.set_box_aspect((4, 4, 3.4), zoom=0.95)
    draw_legend(figure, handles, names, columns=4)
    return figure


def _numbered(projection: Projection) -> list[tuple[int, float]]:
    return list(enumerate(projection.explained.tolist(), start=1))


def _class_colours(facts: Exploration) -> list[str]:
    """Return a colour for each class; beyond ten, only the largest have one of their own."""
    colours = [_OTHERS_COLOUR] * len(facts.classes)
    largest: npt.NDArray[np.int64] = np.argsort(-facts.class_counts, kind="stable")
    for colour, label in zip(_CLASS_COLOURS, sorted(largest[: len(_CLASS_COLOURS)]), strict=False):
        colours[label] = colour
    return colours


def _figure(*, height: float, projection: str | None = None) -> tuple["Figure", Any]:
    """Return a figure as wide as half a page, with one set of axes."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(_WIDTH_IN, height), dpi=200, layout="constrained")
    return figure, figure.add_subplot(projection=projection)
