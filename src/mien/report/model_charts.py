"""Charts of models: confusion, curves, bars, and what accuracy costs.

Every chart is a fresh matplotlib figure, never the global one, so that reports can be drawn from
any thread. Figures are narrow: a phone shows them whole and their text can still be read.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: One colour a model, told apart by the colour-blind too.
#: Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color/
MODEL_COLOURS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)

_SOFT: Final = "#5b6575"
_LINE: Final = "#dfe3ea"
_WIDTH: Final = 4.6  # inches


def confusion_chart(
    values: npt.NDArray[np.floating | np.integer],
    classes: Sequence[str],
    *,
    kind: Literal["counts", "rates", "difference"],
) -> "Figure":
    """Draw a confusion matrix as a heat map with its numbers.

    Args:
        values: ``(C, C)``, a row a true class: images; shares of the row, 0 to 1; or differences
            of shares in percentage points.
        classes: The C names.
        kind: Which of the three it is. Counts are coloured by their share of the row, so that
            rare classes can be read too; differences blue where they are for the better, which
            is a rise on the diagonal and a fall elsewhere, and red where for the worse.
    """
    figure, axes = _chart(height=4.3)
    if kind == "difference":
        limit = max(1.0, float(np.abs(values).max()))
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
            _cell_text(values[row, column], kind),
            ha="center",
            va="center",
            fontsize=9,
            color="white" if dark[row, column] else "#1d2430",
        )
    axes.set(xlabel="read as", ylabel="is")
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
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
    figure, axes = _chart(height=3.2)
    scale = 100 if quantity == "accuracy" else 1
    for (name, rows), colour in zip(histories.items(), colours, strict=True):
        epochs = [row["epoch"] for row in rows]
        training = [scale * row[f"train_{quantity}"] for row in rows]
        validation = [scale * row[f"val_{quantity}"] for row in rows]
        alone = len(histories) == 1
        axes.plot(epochs, training, "--", color=colour, lw=1.3, label="training" if alone else None)
        axes.plot(epochs, validation, color=colour, lw=1.8, label="validation" if alone else name)
        if alone:
            axes.fill_between(epochs, training, validation, color=colour, alpha=0.1, lw=0)
            best = max(rows, key=lambda row: row["val_accuracy"])["epoch"]
            axes.axvline(best, color=_SOFT, lw=1, ls=":", label="best epoch")
    axes.set(xlabel="epoch", ylabel="accuracy, %" if quantity == "accuracy" else "loss, nats")
    _finish(axes)
    _legend(figure, len(histories) if len(histories) > 1 else 3)
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
    for i, ((name, values), colour) in enumerate(zip(series.items(), colours, strict=True)):
        places = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * thickness
        bars = axes.barh(places, values, 0.88 * thickness, color=colour, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=2, color=_SOFT)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.set(xlabel=label, xlim=(0, 108), xticks=range(0, 101, 20))
    _finish(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    _legend(figure, len(series))
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
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 - slow to import

    figure, axes = _chart(height=3.2)
    for (name, (cost, accuracy)), colour in zip(points.items(), colours, strict=True):
        axes.plot(cost, accuracy, "o", ms=9, color=colour, label=name)
    axes.set_xscale("log")
    axes.margins(0.25)
    axes.xaxis.set_major_formatter(lambda value, _: _tick_label(value))
    # The 2s and 5s between powers of ten: the whole axis may lie between two of those.
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.xaxis.set_minor_formatter(lambda value, _: _tick_label(value))
    axes.set(xlabel=label, ylabel="accuracy, %")
    _finish(axes)
    _legend(figure, len(points))
    return figure


def model_colours(count: int) -> list[str]:
    """Return a colour for each of so many models, from the start again where they run out."""
    return [MODEL_COLOURS[i % len(MODEL_COLOURS)] for i in range(count)]


def _chart(*, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _finish(axes: "Axes", *, grid: Literal["x", "both"] = "both") -> None:
    axes.grid(axis=grid, color=_LINE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_LINE)
    axes.tick_params(which="both", color=_LINE, labelsize=8)


def _legend(figure: "Figure", entries: int) -> None:
    figure.legend(loc="outside upper left", ncols=min(entries, 3), frameon=False, fontsize=8)


def _cell_text(value: Any, kind: str) -> str:
    if kind == "counts":
        return f"{value:.0f}"
    if kind == "rates":
        return f"{100 * value:.0f} %"
    return f"{value:+.1f}" if abs(value) >= 0.05 else "0"


def _tick_label(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"
