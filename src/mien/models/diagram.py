"""A network drawn on one page: a standalone SVG, made from its summary.

Boxes are blocks, coloured by what they mostly compute; blocks that differ in nothing are one box
with a number. Between boxes stands the shape that is passed on, beside them the shortcut of
residual blocks. What follows a convolution or a dense layer (normalisation, activation, dropout)
is in its box.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise, takewhile
from math import ceil
from pathlib import Path
from typing import Final

from mien.cache import atomic_write
from mien.models.summary import LayerSummary, NetworkSummary, group_repeats

#: What a box mostly computes → fill and line.
COLOURS: Final = {
    "convolution": ("#e3eefb", "#3b78c2"),
    "dense": ("#fdeedd", "#c9822b"),
    "attention": ("#f0e6fa", "#8454b8"),
    "pooling": ("#e2f4e8", "#3c9a5f"),
    "other": ("#f1f2f4", "#7d8590"),
}

#: Networks are opened up while they have at most so many boxes; a page holds no more.
MOST_BOXES: Final = 20
#: Boxes in a column; more are spread evenly over columns.
_IN_COLUMN: Final = 7
#: Lines of text in a box, after its title.
_MOST_LINES: Final = 6

# In pixels.
_MARGIN: Final = 24
_TOP: Final = 84
_BOX_WIDTH: Final = 348
_COLUMN_WIDTH: Final = _BOX_WIDTH + 84
_GAP: Final = 44
_TITLE_HEIGHT: Final = 28
_LINE_HEIGHT: Final = 17
_PADDING: Final = 9
_LEAST_WIDTH: Final = 520
# Fonts differ from machine to machine, so that widths can only be guessed: in letters.
_TITLE_LETTERS: Final = 43
_LINE_LETTERS: Final = 52

_STYLE: Final = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;"
    "font-size:12px;fill:#3d444d}"
    ".h{font-size:18px;font-weight:600;fill:#1f2328}.t{font-size:13px;font-weight:600;fill:#1f2328}"
    ".s{fill:#656d76}.e{text-anchor:end}.m{text-anchor:middle}"
    "path.f{fill:none;stroke:#656d76;stroke-width:1.3}path.r{fill:none;stroke:#c2453b;"
    "stroke-width:1.5}"
)
_ARROW_HEAD: Final = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#656d76"/></marker></defs>'
)


@dataclass(frozen=True, kw_only=True)
class _Box:
    """What is drawn as one box: blocks alike, or a plain layer and what follows it."""

    names: tuple[str, str]  # of its first and its last layer
    kind: str
    parameters: int
    lines: tuple[str, ...]
    family: str
    takes: tuple[int, ...] | None
    returns: tuple[int, ...] | None
    count: int
    shortcut: bool

    @property
    def height(self) -> int:
        return _TITLE_HEIGHT + _LINE_HEIGHT * len(self.lines) + _PADDING * bool(self.lines)


def write_diagram(path: Path, summary: NetworkSummary, *, title: str = "") -> None:
    """Write :func:`draw_diagram`'s SVG to a file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    svg = draw_diagram(summary, title=title)
    with atomic_write(path) as temporary:
        temporary.write_text(svg, "utf-8")


def draw_diagram(summary: NetworkSummary, *, title: str = "") -> str:
    """Return the network as the text of an SVG file that needs no other.

    Args:
        summary: The network.
        title: What to call it; its class without.
    """
    boxes = [box for run in _open_up(summary) for box in _boxes(run)]
    columns = _columns(boxes)
    bottom = max(_TOP + sum(box.height + _GAP for box in column) for column in columns) + _GAP
    width = max(2 * _MARGIN + len(columns) * _COLUMN_WIDTH - 30, _LEAST_WIDTH)
    height = bottom + 52
    heading = title or summary.kind
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(heading)}</title>",
            f"<style>{_STYLE}</style>",
            _ARROW_HEAD,
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            _text(_MARGIN, 34, heading, "h"),
            _text(_MARGIN, 54, _totals(summary), "s"),
            *_draw_columns(columns, summary),
            *_draw_legend(boxes, height - 22),
            "</svg>\n",
        )
    )


def format_shape(shape: Sequence[int] | None) -> str:
    """Return a shape as people write it: ``32 × 24 × 24``; nothing where there is none."""
    return " × ".join(map(str, shape or ()))


def _totals(summary: NetworkSummary) -> str:
    return (
        f"{_short(summary.parameters)} parameters · "
        f"{_short(summary.multiply_adds)} multiply-adds a face"
    )


def _short(count: int) -> str:
    """Return a count with three digits and its magnitude."""
    for power, letter in ((9, " G"), (6, " M"), (3, " k")):
        if count >= 10**power:
            return f"{count / 10**power:.3g}{letter}"
    return str(count)


# From layers to boxes.


def _open_up(network: LayerSummary) -> list[list[LayerSummary]]:
    """Return the layers to draw, in runs of sisters, as many as a page holds.

    Stages are opened into their blocks, the largest first and those of one class together, as long
    as the boxes stay few; blocks stay whole.
    """
    runs = [_sisters(network)]
    while True:
        stages = Counter[tuple[int, str]]()
        for number, run in enumerate(runs):
            for layer in run:
                if not _is_block(layer):
                    stages[number, layer.kind] += layer.parameters
        for (number, kind), _ in stages.most_common():
            opened = _open_kind(runs[number], kind)
            wider = [*runs[:number], *opened, *runs[number + 1 :]]
            if sum(len(list(_boxes(run))) for run in wider) <= MOST_BOXES:
                runs = wider
                break
        else:
            return runs


def _open_kind(run: Sequence[LayerSummary], kind: str) -> list[list[LayerSummary]]:
    """Return a run with the stages of that class replaced by what is in them."""
    parts: list[list[LayerSummary]] = [[]]
    for layer in run:
        if layer.kind == kind and not _is_block(layer):
            parts += [_sisters(layer), []]
        else:
            parts[-1].append(layer)
    return [part for part in parts if part]


def _sisters(layer: LayerSummary) -> list[LayerSummary]:
    """Return what is in a layer and does something."""
    return [
        inner
        for inner in layer.layers
        if not inner.is_idle and (inner.output_shape or inner.parameters or inner.layers)
    ]


def _is_block(layer: LayerSummary) -> bool:
    """Return whether a layer is best drawn whole.

    That is one with a shortcut around it, and one whose multiply-adds are mostly in plain layers
    right inside, when these are few enough to be told in one box.
    """
    inner = _sisters(layer)
    nested = sum(part.multiply_adds for part in inner if _sisters(part))
    return layer.shortcut or (
        2 * nested <= layer.multiply_adds and len(_lines(inner)) <= _MOST_LINES
    )


def _boxes(layers: Sequence[LayerSummary]) -> Iterator[_Box]:
    """Yield boxes: one a run of blocks alike, one a plain layer with what follows it."""
    plain: list[LayerSummary] = []
    for group in group_repeats(layers):
        is_block = group[0].multiply_adds and _sisters(group[0])
        for layer in group[:1] if is_block else group:
            if plain and layer.multiply_adds:
                yield _box(plain)
                plain = []
            if is_block:
                yield _box(group, count=len(group))
            else:
                plain.append(layer)
    if plain:
        yield _box(plain)


def _box(layers: Sequence[LayerSummary], *, count: int = 1) -> _Box:
    """Return the box of a plain layer and what follows it, or of ``count`` blocks alike."""
    first, last = layers[0], layers[-1]
    is_block = bool(first.multiply_adds and _sisters(first))
    return _Box(
        names=(first.name, last.name),
        kind=first.kind if is_block and first.kind != "Sequential" else "",
        parameters=sum(layer.parameters for layer in layers),
        lines=_shortened(_lines(_sisters(first) if is_block else layers)),
        family=_family(first if first.multiply_adds else last),
        takes=first.input_shape,
        returns=last.output_shape,
        count=count,
        shortcut=first.shortcut,
    )


def _lines(layers: Sequence[LayerSummary]) -> list[str]:
    """Return what is in a box: a line a layer that computes or pools, with what follows it."""
    steps: list[list[str]] = []
    after_block = True
    for layer in layers:
        if after_block or layer.multiply_adds or "Pool" in layer.kind:
            steps.append([])
        steps[-1].append(_words(layer))
        after_block = bool(layer.layers and layer.multiply_adds)
    counted = [(text, len(list(same))) for text, same in groupby(map(" → ".join, steps))]
    return [f"{count} × ({text})" if count > 1 else text for text, count in counted]


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"… and {len(lines) - _MOST_LINES + 1} more"]
    return tuple(_fit(line, _LINE_LETTERS) for line in lines)


def _words(layer: LayerSummary) -> str:
    """Return a layer in few words; a sequence, whose class says nothing, by name and contents."""
    if layer.kind == "Sequential":
        name = layer.name.rpartition(".")[2]
        return f"{name}: {' → '.join(map(_words, _sisters(layer)))}"
    if layer.kind == "Conv2d" and layer.output_shape:
        return f"conv {layer.detail}, {layer.output_shape[0]}"
    if layer.kind == "Linear" and layer.output_shape:
        return f"dense {layer.output_shape[-1]}"
    kind = "norm" if layer.kind in ("BatchNorm1d", "BatchNorm2d", "LayerNorm") else layer.kind
    return f"{kind} {layer.detail}".strip()


def _family(layer: LayerSummary) -> str:
    """Return which of :data:`COLOURS` a layer is: what most of its multiply-adds are for."""
    inner = list(_walk(layer))
    heaviest = max(inner, key=lambda part: part.own_multiply_adds)
    if "Conv" in heaviest.kind and heaviest.multiply_adds:
        return "convolution"
    if any("Attention" in part.kind or "Attn" in part.kind for part in inner):
        return "attention"
    if heaviest.multiply_adds:
        return "dense"
    return "pooling" if any("Pool" in part.kind for part in inner) else "other"


def _walk(layer: LayerSummary) -> Iterator[LayerSummary]:
    yield layer
    for inner in layer.layers:
        yield from _walk(inner)


# From boxes to SVG.


def _columns(boxes: Sequence[_Box]) -> list[Sequence[_Box]]:
    """Return the boxes in columns of nearly the same number."""
    number = max(1, ceil(len(boxes) / _IN_COLUMN))
    edges = [column * len(boxes) // number for column in range(number + 1)]
    return [boxes[start:end] for start, end in pairwise(edges)]


def _draw_columns(columns: Sequence[Sequence[_Box]], summary: NetworkSummary) -> Iterator[str]:
    shape: tuple[int, ...] | None = summary.input_shape
    parent = _common_parent([name for column in columns for box in column for name in box.names])
    for number, column in enumerate(columns):
        x = _MARGIN + number * _COLUMN_WIDTH
        y = _TOP
        for box in column:
            yield from _draw_arrow(x, y, _passed_on(shape, box.takes))
            y += _GAP
            yield from _draw_box(box, x, y, _title(box, parent))
            y += box.height
            shape = box.returns
        if number < len(columns) - 1:
            yield _draw_turn(x, y)
        else:
            yield from _draw_arrow(x, y, _passed_on(shape, summary.output_shape))


def _passed_on(returned: tuple[int, ...] | None, taken: tuple[int, ...] | None) -> str:
    """Return the shape between two boxes; both where something between them changes it."""
    shapes = [format_shape(shape) for shape in (returned, taken) if shape]
    return " → ".join(dict.fromkeys(shapes))


def _common_parent(names: Sequence[str]) -> str:
    """Return what all names begin with, up to a dot: it tells nothing."""
    parents = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*parents, strict=False))
    return "".join(f"{parts[0]}." for parts in shared)


def _title(box: _Box, parent: str) -> str:
    """Return ``stages.2``, ``stages.2–5`` or ``conv1–maxpool``, with the class if there is room."""
    first, last = (name.removeprefix(parent) for name in box.names)
    before, _, end = last.rpartition(".")
    name = first
    if first != last:
        name = f"{first}–{end if first.rpartition('.')[0] == before else last}"
    room = _TITLE_LETTERS - 17 * bool(box.parameters)
    titled = f"{name} · {box.kind}" if box.kind else name
    return titled if len(titled) <= room else _fit(name, room)


def _fit(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _draw_box(box: _Box, x: int, y: int, title: str) -> Iterator[str]:
    fill, line = COLOURS[box.family]
    right = x + _BOX_WIDTH
    if box.count > 1:  # more of the same lie behind it
        yield _rectangle(x + 5, y + 5, box.height, fill, line)
        yield _text(right + 28, y + box.height // 2 + 5, f"× {box.count}", "t")
    yield _rectangle(x, y, box.height, fill, line)
    yield _text(x + 11, y + 18, title, "t")
    if box.parameters:
        yield _text(right - 11, y + 18, f"{_short(box.parameters)} parameters", "s e")
    for number, words in enumerate(box.lines):
        yield _text(x + 11, y + 37 + number * _LINE_HEIGHT, words)
    if box.shortcut:
        yield _draw_shortcut(x, y - 9, y + box.height + 10)


def _draw_shortcut(x: int, top: int, bottom: int) -> str:
    """Return the arc around a box and the sum it ends in."""
    middle, edge = x + _BOX_WIDTH // 2, x + _BOX_WIDTH + 8
    return (
        f'<path class="r" d="M{middle} {top}H{edge}q14 0 14 14V{bottom - 14}q0 14 -14 14'
        f'H{middle + 6}"/><circle cx="{middle}" cy="{bottom}" r="6" fill="#fff" stroke="#c2453b"/>'
        f'<path class="r" d="M{middle - 3.5} {bottom}h7M{middle} {bottom - 3.5}v7"/>'
    )


def _draw_arrow(x: int, y: int, shape: str) -> Iterator[str]:
    middle = x + _BOX_WIDTH // 2
    yield f'<path class="f" d="M{middle} {y}v{_GAP}" marker-end="url(#a)"/>'
    yield _text(middle + 10, y + 30, shape, "s")


def _draw_turn(x: int, y: int) -> str:
    """Return the line from under a column to above the next."""
    middle = x + _BOX_WIDTH // 2
    gutter = x + _COLUMN_WIDTH - 14
    return f'<path class="f" d="M{middle} {y}v28H{gutter}V{_TOP}H{middle + _COLUMN_WIDTH}"/>'


def _draw_legend(boxes: Sequence[_Box], y: int) -> Iterator[str]:
    x = _MARGIN
    for name, (fill, line) in COLOURS.items():
        if not any(box.family == name for box in boxes):
            continue
        square = f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="3"'
        yield f'{square} fill="{fill}" stroke="{line}"/>'
        yield _text(x + 18, y, name)
        x += 36 + 7 * len(name)
    if any(box.shortcut for box in boxes):
        yield f'<path class="r" d="M{x} {y - 4}h16"/>'
        yield _text(x + 22, y, "shortcut, added")


def _rectangle(x: int, y: int, height: int, fill: str, line: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{height}" rx="7" fill="{fill}" '
        f'stroke="{line}"/>'
    )


def _text(x: float, y: float, words: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}>{escape(words)}</text>'
