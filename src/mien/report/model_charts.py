"""Charts of models: confusion, curves, bars, and what accuracy costs.

Every chart is a fresh matplotlib figure, never the global one, so that reports can be drawn from
any thread. Figures are narrow: a phone shows them whole and their text can still be read.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mien.evaluation import training_dynamics
from mien.report.chart_style import (
    INK,
    MODEL_COLOURS,
    MODEL_MARKERS,
    SOFT,
    draw_legend,
    finish_axes,
    fit_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 4.6  # inches

#: Beyond so many classes a confusion matrix grows and its cells leave out what can be.
_MANY_CLASSES: Final = 10

#: Characters of a model's name in a legend.
_LONGEST_MODEL: Final = 40

#: Dots nearer than this share of both axes' ranges are drawn one around the other.
_NEAR: Final = 0.03


def confusion_chart(
    values: npt.NDArray[np.floating | np.integer],
    classes: Sequence[str],
    *,
    kind: Literal["counts", "rates", "difference"],
    largest: float | None = None,
) -> "Figure":
    """Draw a confusion matrix as a heat map with its numbers.

    Args:
        values: ``(C, C)``, a row a true class: images; shares of the row, 0 to 1; or differences
            of shares in percentage points.
        classes: The C names.
        kind: Which of the three it is. Counts are coloured by their share of the row, so that
            rare classes can be read too; differences blue where they are for the better, which
            is a rise on the diagonal and a fall elsewhere, and red where for the worse.
        largest: Difference that has the darkest colour, so that several charts can be compared;
            by default the largest of these.
    """
    many = len(classes) > _MANY_CLASSES
    width = max(_WIDTH, 1.6 + 0.36 * len(classes)) if many else _WIDTH
    figure, axes = _chart(height=width - 0.3, width=width)
    if kind == "difference":
        limit = max(1.0, float(np.abs(values).max()) if largest is None else largest)
        gains = np.where(np.eye(len(values), dtype=bool), values, -values)
        axes.imshow(gains, cmap="RdBu", vmin=-limit, vmax=limit)
        dark = np.abs(values) > 0.6 * limit
    else:
        totals = values.sum(axis=1, keepdims=True)
        rates = np.divide(values, totals, out=np.zeros(values.shape), where=totals > 0)
        axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
        dark = rates > 0.55
    for row, column in np.ndindex(values.shape):
        axes.text(
            column,
            row,
            _cell_text(values[row, column], kind, short=many),
            ha="center",
            va="center",
            fontsize=8 if many else 9,
            color="white" if dark[row, column] else INK,
        )
    axes.set(xlabel="read as", ylabel="is")
    names = [fit_name(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def curves_chart(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    quantity: Literal["accuracy", "loss"],
    colours: Sequence[str],
) -> "Figure":
    """Draw training (dashed) and validation (solid) curves over epochs.

    Args:
        histories: Model name → its epochs, each with ``epoch``, ``train_*`` and ``val_*``.
        quantity: What is drawn; accuracies as percentages.
        colours: One a model.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - slow to import

    figure, axes = _chart(height=3.2)
    scale = 100 if quantity == "accuracy" else 1
    alone = len(histories) == 1
    handles, names = [], []
    for i, ((name, rows), colour) in enumerate(zip(histories.items(), colours, strict=True)):
        epochs = [row["epoch"] for row in rows]
        training = [scale * row[f"train_{quantity}"] for row in rows]
        validation = [scale * row[f"val_{quantity}"] for row in rows]
        # One epoch is no line, and lines of like colours are told apart by their shapes.
        marker: dict[str, Any] = {
            "marker": model_marker(i),
            "ms": 4,
            "markevery": max(1, len(rows) // 8),
        }
        (dashed,) = axes.plot(epochs, training, "--", color=colour, lw=1.3, **marker, mfc="white")
        (solid,) = axes.plot(epochs, validation, "-", color=colour, lw=1.8, **marker)
        handles += [dashed, solid] if alone else [solid]
        names += ["training", "validation"] if alone else [_model_name(name)]
        if alone:
            axes.fill_between(epochs, training, validation, color=colour, alpha=0.1, lw=0)
            best = training_dynamics(rows).best_epoch
            handles.append(axes.axvline(best, color=SOFT, lw=1, ls=":"))
            names.append("best epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    finish_axes(axes, x="epoch", y="accuracy, %" if quantity == "accuracy" else "loss, nats")
    draw_legend(figure, handles, names)
    return figure


def bars_chart(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    label: str,
    colours: Sequence[str],
) -> "Figure":
    """Draw horizontal bars, a group below the other, a bar a model in each.

    Args:
        groups: What each group is of.
        series: Model name → one value a group, in percent.
        label: What the values are.
        colours: One a model.
    """
    figure, axes = _chart(height=0.9 + len(groups) * (0.16 + 0.17 * len(series)))
    thickness = 0.8 / len(series)
    handles = []
    for i, (values, colour) in enumerate(zip(series.values(), colours, strict=True)):
        places = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * thickness
        bars = axes.barh(places, values, 0.88 * thickness, color=colour)
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=2, color=SOFT)
        handles.append(bars)
    axes.set_yticks(range(len(groups)), [fit_name(name) for name in groups])
    axes.invert_yaxis()
    axes.set(xlim=(0, 108), xticks=range(0, 101, 20))
    finish_axes(axes, x=label, grid="x")
    axes.tick_params(axis="y", length=0)
    draw_legend(figure, handles, [_model_name(name) for name in series])
    return figure


def cost_chart(
    points: Mapping[str, tuple[float, float]], *, label: str, colours: Sequence[str]
) -> "Figure":
    """Draw accuracy over what it costs, a dot a model, the cost on a logarithmic scale.

    Args:
        points: Model name → cost, above 0, and accuracy in percent.
        label: What the cost is.
        colours: One a model.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator  # noqa: PLC0415

    figure, axes = _chart(height=3.2)
    handles = []
    places = list(points.values())
    for i, ((cost, accuracy), colour) in enumerate(zip(places, colours, strict=True)):
        # The earlier of dots at one place are the larger, so that each is seen around the next.
        covered = sum(_are_near(places, i, later) for later in range(i + 1, len(places)))
        look: dict[str, Any] = {"ms": 8 + 5 * covered, "mec": "white", "color": colour}
        axes.plot(cost, accuracy, model_marker(i), **look)
        handles += axes.plot([], [], model_marker(i), **{**look, "ms": 8})
    axes.set_xscale("log")
    axes.margins(0.25)
    axes.xaxis.set_major_formatter(lambda value, _: _tick_label(value))
    lowest, highest = axes.get_xlim()
    if highest > 5 * lowest:
        # The 2s and 5s between powers of ten: the whole axis may lie between two of those.
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(lambda value, _: _tick_label(value))
    finish_axes(axes, x=label, y="accuracy, %")
    draw_legend(figure, handles, [_model_name(name) for name in points])
    return figure


def model_colours(count: int) -> list[str]:
    """Return a colour for each of so many models, from the start again where they run out."""
    return [MODEL_COLOURS[i % len(MODEL_COLOURS)] for i in range(count)]


def model_marker(index: int) -> str:
    """Return the shape of one model's dots, from the start again where they run out."""
    return MODEL_MARKERS[index % len(MODEL_MARKERS)]


def _model_name(name: str) -> str:
    return fit_name(name, longest=_LONGEST_MODEL)


def _are_near(places: Sequence[tuple[float, float]], one: int, other: int) -> bool:
    """Return whether two dots of a cost chart lie over each other."""
    spots = np.array([(np.log10(cost), accuracy) for cost, accuracy in places])
    ranges = np.maximum(np.ptp(spots, axis=0), 1e-9)
    return bool((np.abs(spots[one] - spots[other]) <= _NEAR * ranges).all())


def _chart(*, height: float, width: float = _WIDTH) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _cell_text(value: Any, kind: str, *, short: bool) -> str:
    if short and abs(value) < (0.005 if kind == "rates" else 0.05):
        return ""
    if kind == "counts":
        return f"{value:.0f}"
    if kind == "rates":
        return f"{100 * value:.0f}" if short else f"{100 * value:.0f} %"
    if short:
        return f"{value:+.0f}"
    return f"{value:+.1f}" if abs(value) >= 0.05 else "0"


def _tick_label(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"
