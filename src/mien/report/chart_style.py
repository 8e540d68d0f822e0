"""How every chart looks: colours, names that fit, axes, legends above them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As in templates/style.css, which a figure cannot read.
INK: Final = "#1d2430"
SOFT: Final = "#5b6575"
LINE: Final = "#dfe3ea"

#: One colour a model, the first seven told apart by the colour-blind too.
#: Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color/
MODEL_COLOURS: Final = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    *("#882255", "#999933", "#332288", "#888888", "#7a4a1e"),
)

#: One shape a model. As many as share no factor with the colours, so that of 84 no two are alike.
MODEL_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")

#: Characters of a name that fit beside an axis.
LONGEST_NAME: Final = 22


def fit_name(name: str, *, longest: int = LONGEST_NAME) -> str:
    """Return a name that fits into a chart, with no dollar left to start a formula.

    It is cut in its middle: runs differ by the time at their end.
    """
    if len(name) > longest:
        end = longest // 3
        name = f"{name[: longest - 1 - end]}…{name[-end:]}"
    return name.replace("$", r"\$")


def finish_axes(
    axes: "Axes", *, x: str = "", y: str = "", grid: Literal["x", "both"] = "both"
) -> None:
    """Label axes and make everything but the data quiet."""
    axes.set_xlabel(x, color=SOFT, fontsize=9)
    axes.set_ylabel(y, color=SOFT, fontsize=9)
    axes.tick_params(which="both", colors=INK, color=LINE, labelsize=8.5)
    axes.grid(axis=grid, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)


def draw_legend(
    figure: "Figure", handles: Sequence[Any], names: Sequence[str], *, columns: int = 3
) -> None:
    """Draw a legend above the axes.

    Args:
        figure: The chart.
        handles: What is explained; given by hand, since matplotlib leaves out what it finds under
            a name that starts with an underscore.
        names: One a handle.
        columns: At most so many names side by side.
    """
    longest = max((len(name) for name in names), default=0)
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=1 if longest > 28 else 2 if longest > 16 else columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.4,
        columnspacing=1.2,
    )
