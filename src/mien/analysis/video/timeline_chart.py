"""The picture of a timeline: a lane a person, what is shown above the probabilities.

Every lane is summed up to the picture's columns, exactly and weighted by time, so that a clip of
a second and one of hours cost the same to draw.
"""

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mien.analysis.draw import COLOURS
from mien.analysis.video.timeline import Person, Timeline
from mien.analysis.writers import write_errors_named
from mien.cache import atomic_write
from mien.errors import MissingExtraError
from mien.expressions import UNCERTAIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Suffixes of the pictures.
CHART_SUFFIXES: Final = (".png", ".svg")
#: Most people that are drawn: those seen longest.
MAX_LANES: Final = 12

_WIDTH: Final = 9.6  # inches
_DPI: Final = 150
#: Height of a lane in inches: of many, and at most, where few leave room.
_LANE: Final = 0.62
_TALL_LANE: Final = 1.2
#: Within a lane, from its top: the band of what is shown, and the probabilities below it.
_BAND: Final = (0.1, 0.34)
_STACK: Final = (0.4, 0.92)
#: Rows of pixels that the probabilities are drawn with.
_STACK_PIXELS: Final = 80
_INK, _SOFT, _LINE, _PAPER = "0.12", "0.4", "0.88", 255
_UNCERTAIN_COLOUR: Final = "#9aa3af"
#: Of classes that have no colour of their own.
_MORE_COLOURS: Final = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442"),
    *("#882255", "#999933", "#332288", "#7a4a1e"),
)

_Pixels = npt.NDArray[np.uint8]


def write_chart(path: Path, timeline: Timeline) -> None:
    """Draw a timeline into a PNG or SVG file.

    Raises:
        ValueError: The suffix is another.
        MediaError: The file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in CHART_SUFFIXES:
        raise ValueError(f"{path}: expected {' or '.join(CHART_SUFFIXES)}")
    picture = chart_picture(timeline, path.suffix.lower()[1:])
    with write_errors_named(path), atomic_write(path) as temporary:
        temporary.write_bytes(picture)


def chart_picture(timeline: Timeline, kind: str) -> bytes:
    """Draw a timeline and return the file of the picture, ``png`` or ``svg``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = draw_timeline(timeline)
    figure.set_facecolor("white")
    stream = io.BytesIO()
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    with mpl.rc_context({"svg.hashsalt": "mien"}), warnings.catch_warnings():
        # A class named in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return stream.getvalue()


def draw_timeline(timeline: Timeline, *, width: float = _WIDTH) -> "Figure":
    """Draw a lane a person: a band of what is shown, above the smoothed probabilities, stacked.

    At most 12 people are drawn, those seen longest; a line tells of the others.

    Args:
        timeline: What was read.
        width: The picture's width in inches; at 4.6 it can be read on a phone.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import
        from matplotlib.ticker import MultipleLocator  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "video") from error
    people = timeline.summary()
    longest = sorted(people, key=lambda person: -person.seen_s)[:MAX_LANES]
    drawn = [person for person in people if person in longest]
    count = max(1, len(drawn))
    lanes = count * min(_TALL_LANE, max(_LANE, 2.2 / count))
    height = 0.95 + lanes + 0.2 * (len(people) > len(drawn))
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    start = float(timeline.time_s[0]) if len(timeline) else 0.0
    end = max(timeline.end_s, start + 1e-3)
    edges = np.linspace(start, end, round(width * _DPI) + 1)
    colours = label_colours(timeline.labels)
    for lane, person in enumerate(drawn):
        band, stack = _lane_pixels(timeline, person.track, edges, colours)
        for pixels, (top, bottom) in ((band, _BAND), (stack, _STACK)):
            extent = (start, end, lane + bottom, lane + top)
            # Above the grid, which would cut the lanes otherwise.
            axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest", zorder=2)
    axes.set(xlim=(start, end), ylim=(count, 0))
    _finish(axes, drawn, len(people) - len(drawn))
    axes.xaxis.set_major_locator(MultipleLocator(_tick_step(end - start, round(width / 1.1))))
    _draw_legend(figure, colours, columns=max(2, round(width / 1.15)))
    return figure


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return the colour of each expression, as ``#rrggbb``."""
    more = iter(_MORE_COLOURS * (1 + len(labels) // len(_MORE_COLOURS)))
    known = {**COLOURS, UNCERTAIN: _UNCERTAIN_COLOUR}
    return {name: known.get(name) or next(more) for name in labels}


def _lane_pixels(
    timeline: Timeline, track: int, edges: npt.NDArray[np.float64], colours: dict[str, str]
) -> tuple[_Pixels, _Pixels]:
    """Return a person's band, ``(1, columns, 3)``, and probabilities, ``(rows, columns, 3)``."""
    rows = np.flatnonzero(timeline.track == track)
    palette = np.array([_rgb(colour) for colour in colours.values()])
    starts = timeline.time_s[timeline.row_frame[rows]]
    lasts = timeline.duration_s[timeline.row_frame[rows]]
    shown = np.eye(len(timeline.labels))[timeline.label[rows]]
    values = np.concatenate([shown, timeline.smoothed[rows]], axis=1)
    sums = _sums_between(edges, starts, lasts, values)
    shown, probabilities = np.split(sums, [len(timeline.labels)], axis=1)
    seen = shown.sum(axis=1)
    # A column is paper as far as the person is not seen in it.
    opacity = np.clip(seen / np.diff(edges), 0, 1)[:, None]
    band = _over_paper(palette[shown.argmax(axis=1)], opacity)
    upper = np.cumsum(probabilities, axis=1) / np.maximum(seen, 1e-12)[:, None]
    heights = (np.arange(_STACK_PIXELS)[::-1] + 0.5) / _STACK_PIXELS
    stacked = (upper[None, :, :-1] < heights[:, None, None]).sum(axis=-1)
    return band[None], _over_paper(palette[stacked], opacity)


def _sums_between(
    edges: npt.NDArray[np.float64],
    starts: npt.NDArray[np.float64],
    lasts: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Integrate values, each constant while its row lasts and 0 elsewhere, between edges.

    Args:
        edges: ``(B + 1,)`` seconds, ascending.
        starts: ``(N,)`` seconds, ascending.
        lasts: ``(N,)`` seconds; no row lasts into the next.
        values: ``(N, V)``.

    Returns:
        ``(B, V)``.
    """
    times = np.stack([starts, starts + lasts], axis=1).ravel()
    sums = np.zeros((len(starts) + 1, values.shape[1]))
    np.cumsum(values * lasts[:, None], axis=0, out=sums[1:])
    at_times = np.stack([sums[:-1], sums[1:]], axis=1).reshape(-1, values.shape[1])
    columns = [np.interp(edges, times, column) for column in at_times.T]
    return np.diff(np.stack(columns, axis=1), axis=0)


def _over_paper(colours: npt.NDArray[Any], opacity: npt.NDArray[np.float64]) -> _Pixels:
    return np.rint(_PAPER + (colours - _PAPER) * opacity).astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _finish(axes: Any, drawn: Sequence[Person], left_out: int) -> None:
    names = [str(person.track) for person in drawn]
    axes.set_yticks([lane + 0.51 for lane in range(len(names))], names)
    axes.set_ylabel("person", color=_SOFT, fontsize=9)
    axes.xaxis.set_major_formatter(lambda value, _: clock(value))
    axes.tick_params(colors=_INK, color=_LINE, labelsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    if not drawn:
        axes.text(0.5, 0.5, "no face found", transform=axes.transAxes, ha="center", color=_SOFT)
    if left_out:
        others = "person is" if left_out == 1 else "people are"
        text = f"{left_out} more {others} not drawn: seen for less time"
        axes.set_title(text, loc="left", fontsize=8.5, color=_SOFT)


def clock(seconds: float, *, tenths: bool | None = None) -> str:
    """Return a time as people read it.

    Args:
        seconds: The time.
        tenths: Whether tenths of a second are told; by default where they are not 0.

    >>> clock(65), clock(7389), clock(0.5), clock(7, tenths=True)
    ('1:05', '2:03:09', '0:00.5', '0:07.0')
    """
    whole, rest = divmod(round(seconds * 10) if tenths is not False else round(seconds) * 10, 10)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"
    return f"{text}.{rest}" if tenths or (tenths is None and rest) else text


def _tick_step(seconds: float, most: int) -> float:
    """Return the shortest time that people count in of which at most so many fit."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
    fitting = (step for step in steps if seconds / step <= most)
    return next(fitting, 3600 * math.ceil(seconds / 3600 / most))


def _draw_legend(figure: "Figure", colours: dict[str, str], *, columns: int) -> None:
    """Explain the colours."""
    from matplotlib.patches import Patch  # noqa: PLC0415 - slow to import

    if colours:
        figure.legend(
            [Patch(facecolor=colour) for colour in colours.values()],
            [name.replace("$", r"\$") for name in colours],
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            labelcolor=_INK,
            handlelength=1.0,
            handletextpad=0.5,
            columnspacing=1.4,
        )
