"""The speed and size card as a page's part: a table and the roofline."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.evaluation.speed.card import BatchSpeed, SpeedCard
from mien.report.chart_style import SOFT, draw_legend, finish_axes
from mien.report.model_charts import model_colours, model_marker
from mien.report.page import figure_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 4.6  # inches, as the charts of models

#: Each end of the roofline's axes lies so many times beyond what is drawn.
_ROOM: Final = 3.0


def describe_speed(card: SpeedCard) -> dict[str, Any]:
    """Return what ``_speed.html`` shows of a card; its chart is None where nothing is counted."""
    counted = card.intensity(1) is not None
    return {
        "card": card,
        "tiles": _tiles(card),
        "rows": [_row(card, speed) for speed in card.speeds],
        "limits": [
            {
                "threads": each.threads,
                "gflops": f"{each.gflops:.1f}",
                "bandwidth": f"{each.bandwidth_gb_s:.1f}",
            }
            for each in card.rooflines
        ],
        "beats": any((card.share_of_attainable(speed) or 0) > 1 for speed in card.speeds),
        "chart": figure_uri(roofline_chart(card)) if counted else None,
    }


def roofline_chart(card: SpeedCard) -> "Figure":
    """Draw what the machine attains by arithmetic intensity, and where the model is.

    A line a number of threads, a dot a configuration, both axes logarithmic.

    Args:
        card: Of a model whose multiply-adds and parameters are known.

    Raises:
        ValueError: They are not known.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    if card.intensity(1) is None:
        raise ValueError("a model whose operations are not counted has no place on a roofline")
    figure = Figure(figsize=(_WIDTH, 3.2), layout="constrained")
    axes = figure.add_subplot()
    handles, names = _draw_roofs(axes, card)
    dots, batches = _draw_dots(axes, card)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1,) if high > 1000 * low else (1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    finish_axes(axes, x="arithmetic intensity, FLOP a byte", y="GFLOP/s")
    draw_legend(figure, handles + dots, names + batches)
    return figure


def _draw_roofs(axes: "Axes", card: SpeedCard) -> tuple[list[Any], list[str]]:
    """Draw what is attainable with each number of threads; return lines and their names."""
    places = [card.intensity(speed.batch) for speed in card.speeds]
    # The ridge, where the line becomes flat, is in the picture as well.
    places += [each.gflops / each.bandwidth_gb_s for each in card.rooflines]
    known = [place for place in places if place]
    intensities = np.geomspace(min(known) / _ROOM, max(known) * _ROOM, 200)
    axes.set_xlim(intensities[0], intensities[-1])
    handles, names = [], []
    for each, colour in zip(card.rooflines, model_colours(len(card.rooflines)), strict=True):
        rates = [each.attainable_gflops(intensity) for intensity in intensities]
        handles += axes.plot(intensities, rates, color=colour, lw=1.6)
        names.append(f"attainable, {_threads(each.threads)}")
    return handles, names


def _draw_dots(axes: "Axes", card: SpeedCard) -> tuple[list[Any], list[str]]:
    """Draw a dot a configuration; return one of each shape, and what the shapes are."""
    threads = [each.threads for each in card.rooflines]
    colours = dict(zip(threads, model_colours(len(threads)), strict=True))
    batches = sorted({speed.batch for speed in card.speeds})
    looks: list[dict[str, Any]] = [
        {"marker": model_marker(i), "ls": "", "ms": 8, "mec": "white"} for i in range(len(batches))
    ]
    for speed in card.speeds:
        place, rate = card.intensity(speed.batch), card.gflops(speed)
        if place is not None and rate is not None:
            look = looks[batches.index(speed.batch)]
            axes.plot(place, rate, color=colours[speed.threads], **look)
    handles = [axes.plot([], [], color=SOFT, **look)[0] for look in looks]
    return handles, [f"measured, {_faces(batch)}" for batch in batches]


def _tiles(card: SpeedCard) -> list[tuple[str, str]]:
    """Return what a model weighs, as far as it is known: what and how much."""
    fastest = max(card.speeds, key=lambda speed: speed.faces_per_s)
    tiles = [("faces a second at best", f"{fastest.faces_per_s:,.0f}")]
    if card.parameters is not None:
        tiles.append(("parameters", f"{card.parameters / 1e6:.2f} M"))
    if card.multiply_adds is not None:
        tiles.append(("multiply-adds a face", f"{card.multiply_adds / 1e6:.1f} M"))
    if card.file_bytes is not None:
        tiles.append(("file", f"{card.file_bytes / 1e6:.1f} MB"))
    if card.memory is not None:
        tiles.append(("peak memory", f"{card.memory.model_mb:.0f} MB"))
    return tiles


def _row(card: SpeedCard, speed: BatchSpeed) -> list[str]:
    gflops, share = card.gflops(speed), card.share_of_attainable(speed)
    return [
        str(speed.threads),
        str(speed.batch),
        f"{speed.p50_ms:.2f}",
        f"{speed.p95_ms:.2f}",
        f"{speed.faces_per_s:,.0f}",
        "–" if gflops is None else f"{gflops / 2:.1f}",
        "–" if share is None else f"{100 * share:.0f} %",
    ]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _faces(batch: int) -> str:
    return "1 face at once" if batch == 1 else f"{batch} faces at once"
