"""Annotated pictures and frames: a box and a label for every face."""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from mien.analysis.media import Colour, Source, read_picture
from mien.analysis.writers import write_errors_named
from mien.cache import atomic_write
from mien.errors import MediaError
from mien.results import Face, FrameResult

#: One colour an expression, told apart by the colour-blind too.
#: Source: Okabe and Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/
COLOURS: Final = MappingProxyType(
    {
        "angry": "#d55e00",
        "disgust": "#009e73",
        "fear": "#cc79a7",
        "happy": "#f0e442",
        "sad": "#0072b2",
        "surprise": "#e69f00",
        "neutral": "#56b4e9",
    }
)
#: Of an expression that is none of these.
OTHER_COLOUR: Final = "#ffffff"
#: Of a face whose expression is not told.
UNCERTAIN_COLOUR: Final = "#9aa3af"
#: Pictures with a shorter side than this are enlarged, since a label needs pixels, as long as the
#: longer side stays within bounds.
_MIN_SIDE: Final = 240
_MAX_ENLARGED: Final = 2000
#: Longest side of a JPEG file.
MAX_JPEG: Final = 65_535
_MIN_FONT: Final = 11
#: Of letters in frames, which are looked at for a moment and smeared by compression.
_MIN_STEADY: Final = 13

_Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is drawn of a face.

    Attributes:
        box_xyxy: Left, top, right, bottom in pixels of the drawing; may reach outside it.
        text: The label.
        colour: Of box and label, as ``#rrggbb``.
    """

    box_xyxy: tuple[float, float, float, float]
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class _Label:
    """A face's text, set, and where it stands."""

    text: str
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    colour: str
    box_xyxy: _Rectangle


def annotate(source: Source, result: FrameResult, *, colour: Colour | None = None) -> Image.Image:
    """Draw a result into its picture.

    Line and letters grow with the picture; a label stands where it hides no other label and as
    little of the faces as can be, always inside the picture. A face that is uncertain is grey and
    its label has a question mark.

    Args:
        source: The picture that ``result`` was read in, as for :meth:`mien.Analyzer.analyze`.
        result: What was read.
        colour: Channel order of a colour array.

    Returns:
        An RGB picture, upright. One whose shorter side is under 240 pixels is enlarged by a whole
        factor, so that the labels can be read, to at most 2,000 pixels.

    Raises:
        MediaError: The picture cannot be read.
        ValueError: The result is of a picture of another size.
    """
    picture = read_picture(source, colour=colour)
    if picture.size_wh != result.size_wh:
        raise ValueError(f"a result for {result.size_wh} in a picture of {picture.size_wh}")
    image, factor = enlarge(Image.fromarray(picture.image_rgb))
    marks = [
        Mark(box_xyxy=_scale(face.box_xyxy, factor), text=_text(face), colour=face_colour(face))
        for face in result.faces
    ]
    draw_marks(image, marks)
    return image


def enlarge(image: Image.Image) -> tuple[Image.Image, int]:
    """Return a picture in which labels can be read, and by which whole factor it is enlarged."""
    wanted = -(-_MIN_SIDE // min(image.size))
    factor = max(1, min(wanted, _MAX_ENLARGED // max(image.size)))
    size_wh = (image.width * factor, image.height * factor)
    return image.resize(size_wh, Image.Resampling.BICUBIC), factor


def draw_marks(image: Image.Image, marks: Sequence[Mark], *, steady: bool = False) -> None:
    """Draw boxes and labels into an RGB picture, the first mark's label placed first.

    Args:
        image: What is drawn into.
        marks: One a face.
        steady: Letters of one size, for frames: they would grow and shrink with each face.
    """
    draw = ImageDraw.Draw(image)
    width = max(2, round(min(image.size) / 300))
    boxes = [_drawn_box(mark.box_xyxy, image.size, width) for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        _draw_box(draw, box, mark.colour, width)
    for label in _place_labels(draw, marks, boxes, image.size, line_width=width, steady=steady):
        _draw_label(draw, label)


def write_annotated(result: FrameResult, path: Path) -> None:
    """Draw a result into the picture file that it was read in, and write that as JPEG.

    Raises:
        MediaError: The picture cannot be read or has changed since, is too large for JPEG, or the
            file cannot be written.
    """
    try:
        jpeg = annotated_jpeg(result.source, result)
    except ValueError as error:
        raise MediaError(f"{result.source}: has changed since it was read") from error
    with write_errors_named(path), atomic_write(path) as temporary:
        temporary.write_bytes(jpeg)


def annotated_jpeg(source: Source, result: FrameResult, *, colour: Colour | None = None) -> bytes:
    """Return the picture that :func:`annotate` draws as a JPEG file.

    Raises:
        MediaError: The picture cannot be read, or is too large for JPEG.
        ValueError: The result is of a picture of another size.
    """
    image = annotate(source, result, colour=colour)
    if max(image.size) > MAX_JPEG:
        raise MediaError(
            f"{result.source}: a side of {max(image.size):,} pixels, {MAX_JPEG:,} are the most "
            "that an annotated picture can have; make it smaller first"
        )
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return file.getvalue()


def _scale(box: _Rectangle, factor: float) -> _Rectangle:
    left, top, right, bottom = box
    return left * factor, top * factor, right * factor, bottom * factor


def _drawn_box(box: _Rectangle, size_wh: tuple[int, int], line_width: int) -> _Rectangle:
    """Return a box so far inside the drawing that its line shows."""
    left, top, right, bottom = (
        min(max(edge, line_width), side - 1 - line_width)
        for edge, side in zip(box, size_wh * 2, strict=True)
    )
    return left, top, right, bottom


def face_colour(face: Face) -> str:
    """Return the colour that a face is drawn in, as ``#rrggbb``; grey where it is uncertain."""
    return UNCERTAIN_COLOUR if face.is_uncertain else COLOURS.get(face.expression, OTHER_COLOUR)


def _text(face: Face) -> str:
    """Return a face's label; ``happy? 31 %`` where that is too improbable to be told."""
    doubt = "?" if face.is_uncertain else ""
    return f"{face.probabilities.top}{doubt} {face.confidence * 100:.0f} %"


def _draw_box(draw: ImageDraw.ImageDraw, box: _Rectangle, colour: str, width: int) -> None:
    # A dark line on either side keeps every colour visible on every background.
    draw.rectangle(_grow(box, width), outline="black", width=width + 2)
    draw.rectangle(_grow(box, width - 1), outline=colour, width=width)


def _grow(box: _Rectangle, by: float) -> _Rectangle:
    left, top, right, bottom = box
    return left - by, top - by, right + by, bottom + by


def _place_labels(
    draw: ImageDraw.ImageDraw,
    marks: Sequence[Mark],
    boxes: Sequence[_Rectangle],
    size_wh: tuple[int, int],
    *,
    line_width: int,
    steady: bool,
) -> list[_Label]:
    """Find each label its place, in the order of the marks."""
    labels: list[_Label] = []
    for mark, box in zip(marks, boxes, strict=True):
        font = _steady_font(size_wh) if steady else _font(draw, mark.text, box, size_wh)
        text_box = draw.textbbox((0, 0), mark.text, font=font)
        padding = max(2, (text_box[3] - text_box[1]) // 4)
        label_wh = (text_box[2] + 2 * padding, text_box[3] + text_box[1] + 2 * padding)
        taken = [label.box_xyxy for label in labels]
        others = [other for other in boxes if other != box]
        places = _places(_grow(box, line_width), label_wh, size_wh)
        # The first of the best: overlap with labels counts most, then with faces.
        place = min(
            places,
            key=lambda p: (
                round(sum(_common_area(p, t) for t in taken)),
                round(sum(_common_area(p, o) for o in others)),
            ),
        )
        labels.append(_Label(mark.text, font, mark.colour, place))
    return labels


def _font(
    draw: ImageDraw.ImageDraw, text: str, box: _Rectangle, size_wh: tuple[int, int]
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the letters for a face: as wide as its box, within what suits the picture."""
    shorter = min(size_wh)
    largest = max(_MIN_FONT + 1, round(shorter / 28))
    smallest = max(_MIN_FONT, round(shorter / 60))
    probe = _letters(100)
    wanted = (box[2] - box[0]) / draw.textlength(text, font=probe) * 100
    fitting = size_wh[0] * 0.95 / draw.textlength(text, font=probe) * 100
    fitted = min(max(smallest, min(largest, wanted)), fitting)
    return _letters(max(1, round(fitted)))


def _steady_font(size_wh: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return letters that suit all faces of frames of a size."""
    return _letters(max(_MIN_STEADY, round(min(size_wh) / 32)))


@functools.lru_cache(maxsize=64)
def _letters(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return letters of a size; making them takes longer than drawing with them."""
    return ImageFont.load_default(size)


def _places(
    box: _Rectangle, label_wh: tuple[float, float], size_wh: tuple[int, int]
) -> list[_Rectangle]:
    """Return where a label may stand, best first: above, below, then inside the box."""
    left, top, right, bottom = box
    width, height = label_wh
    places = []
    for x, y in (
        (left, top - height),
        (left, bottom),
        (right - width, top - height),
        (right - width, bottom),
        (left, bottom - height),
        (left, top),
    ):
        x_inside = min(max(x, 0), size_wh[0] - width)
        y_inside = min(max(y, 0), size_wh[1] - height)
        places.append((x_inside, y_inside, x_inside + width, y_inside + height))
    return places


def _common_area(one: _Rectangle, other: _Rectangle) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _draw_label(draw: ImageDraw.ImageDraw, label: _Label) -> None:
    draw.rectangle(label.box_xyxy, fill=label.colour, outline="black")
    left, top, right, bottom = label.box_xyxy
    middle = ((left + right) / 2, (top + bottom) / 2)
    draw.text(middle, label.text, fill=_ink(label.colour), font=label.font, anchor="mm")


def _ink(colour: str) -> str:
    """Return black or white, whichever stands out from a colour more."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "white"
