"""What a camera shows, in the terminal: a small picture, the people, the pace."""

import functools
import math
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from PIL import Image, ImageDraw
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from mien.analysis.video.annotated import tracked_colour
from mien.cli.console import plain_console

if TYPE_CHECKING:
    from mien.analysis.video.results import TrackedFace, TrackedFrame
    from mien.cli.webcam import Pace, Seen

_BAR_WIDTH: Final = 24
#: Lines that the picture leaves to the people and the pace.
_LINES_BELOW: Final = 8
#: A picture of fewer lines shows nothing.
_FEWEST_LINES: Final = 6
#: Levels of a colour are rounded to this step: styles are then made once and used again.
_STEP: Final = 8


class TerminalView:
    """Shows frames and people in a terminal; where output goes elsewhere, nothing.

    Attributes:
        closed: Whether the terminal is gone.
    """

    closed: bool = False

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or plain_console(redraws=True)
        self._stack = ExitStack()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            # The alternate screen leaves what stood in the terminal as it was.
            self._live = self._stack.enter_context(
                Live(console=self._console, screen=True, auto_refresh=False)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A terminal that is gone must not keep from its end what is written.
        with suppress(OSError):
            self._stack.__exit__(kind, error, traceback)

    def show(self, seen: "Seen", pace: "Pace") -> None:
        """Show one frame, the people in it and the pace."""
        if self._live is None:
            return
        lines = self._console.height - _LINES_BELOW - len(seen.result.faces)
        parts: list[RenderableType] = [
            people_table(seen.result),
            Text(pace.to_line(), style="dim", overflow="ellipsis"),
        ]
        if lines >= _FEWEST_LINES:
            parts.insert(0, BlockPicture(seen, columns=self._console.width, lines=lines))
        try:
            self._live.update(Group(*parts), refresh=True)
        except OSError:
            self.closed = True

    def idle(self) -> None:
        """Do nothing: a terminal asks for no attention between frames."""


def people_table(result: "TrackedFrame") -> Table:
    """Return a row a person, in the order of their numbers: the expression, a bar, the next one."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    table.add_column("person", justify="right")
    table.add_column("expression", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("next", no_wrap=True, style="dim")
    for face in sorted(result.faces, key=lambda face: face.track):
        bar = "█" * max(1, round(face.confidence * _BAR_WIDTH))
        table.add_row(
            str(face.track),
            Text(face.expression, style="bold"),
            Text(f"{face.confidence:4.0%} ").append(bar.ljust(_BAR_WIDTH), tracked_colour(face)),
            Text(_next(face)),
        )
    if not result.faces:
        table.add_row("", Text("no face in sight", style="dim"), "", "")
    return table


def _next(tracked: "TrackedFace") -> str:
    others = {name: value for name, value in tracked.smoothed.items() if name != tracked.expression}
    name = max(others, key=others.__getitem__, default="")
    return f"{name} {others[name]:.0%}" if name else ""


class BlockPicture:
    """A frame in half blocks, two pixels in each character, with the faces' boxes.

    Args:
        seen: The frame and its faces.
        columns: The most characters in a line.
        lines: The most lines.
    """

    def __init__(self, seen: "Seen", *, columns: int, lines: int) -> None:
        image = Image.fromarray(seen.frame.image_rgb)
        scale = min(columns / image.width, 2 * lines / image.height, 1.0)
        width = max(1, math.floor(image.width * scale))
        height = max(2, math.floor(image.height * scale) // 2 * 2)
        small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.0)
        levels = np.asarray(small) // _STEP * _STEP
        small = Image.fromarray(levels)
        draw = ImageDraw.Draw(small)
        for face in seen.result.faces:
            left, top, right, bottom = (edge * scale for edge in face.face.box_xyxy)
            draw.rectangle((left, top, right, bottom), outline=tracked_colour(face))
        self._pixels: list[list[list[int]]] = np.asarray(small).tolist()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for upper, lower in zip(self._pixels[::2], self._pixels[1::2], strict=True):
            yield from _merged(upper, lower)
            yield Segment.line()


def _merged(upper: list[list[int]], lower: list[list[int]]) -> Iterator[Segment]:
    """Yield one line, neighbours of the same colours as one piece."""
    begin = 0
    for place in range(1, len(upper) + 1):
        whole = place == len(upper)
        if whole or upper[place] != upper[begin] or lower[place] != lower[begin]:
            yield Segment("▀" * (place - begin), _style(tuple(upper[begin]), tuple(lower[begin])))
            begin = place


@functools.lru_cache(maxsize=1 << 15)
def _style(upper: tuple[int, ...], lower: tuple[int, ...]) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))
