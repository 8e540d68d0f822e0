"""Grey levels written as text (``70 80 82 ...``), parsed a block of rows at a time."""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.preprocess import FACE_SIZE

PIXELS_PER_FACE: Final = FACE_SIZE * FACE_SIZE

_ZERO: Final = np.uint8(ord("0"))
_SPACE: Final = np.uint8(ord(" "))


class PixelTextError(ValueError):
    """A row of pixel text is malformed.

    Attributes:
        row: Its 0-based position in the block that was parsed.
        reason: What is wrong with it.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason


def parse_pixel_text(
    text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Parse rows of 2,304 numbers from 0 to 255 separated by spaces.

    Every step runs over all bytes of the block at once: a byte's level is its digit plus ten
    times the digit before plus a hundred times the one before that, and the levels of the bytes
    that end a number are kept. Blocks that fit a core's cache (256 KiB) are the fastest.

    Args:
        text: ``(B,)`` bytes of all rows, one straight after the other.
        offsets: ``(N + 1,)`` where each row starts, from 0, and where the last one stops.

    Returns:
        ``(N, 2304)`` uint8.

    Raises:
        PixelTextError: A row has another count of numbers, one above 255, or another character.
    """
    starts, stops = offsets[:-1], offsets[1:]
    if not len(starts):
        return np.empty((0, PIXELS_PER_FACE), np.uint8)
    # A shorter row cannot hold 2,304 numbers, and a long one keeps ``starts + 1`` inside it.
    if int((stops - starts).min()) < 2 * PIXELS_PER_FACE - 1:
        raise _first_error(text, offsets)
    digits = text - _ZERO
    is_digit = digits < 10
    if not np.logical_or(is_digit, text == _SPACE).all():
        raise _first_error(text, offsets)
    digits *= is_digit.view(np.uint8)
    levels, too_large = _levels(digits, is_digit, starts)

    ends = np.empty(len(text), np.bool_)
    np.greater(is_digit[:-1], is_digit[1:], out=ends[:-1])
    ends[stops - 1] = is_digit[stops - 1]
    positions = np.flatnonzero(ends)
    counts = np.diff(np.searchsorted(positions, offsets))
    if too_large or (counts != PIXELS_PER_FACE).any():
        raise _first_error(text, offsets)
    # np.take: half the time of ``levels[positions]``, a tenth of ``levels[ends]``.
    return np.take(levels, positions).reshape(-1, PIXELS_PER_FACE)


def _levels(
    digits: npt.NDArray[np.uint8], is_digit: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], bool]:
    """Return the number that ends at each byte, and whether any is above 255."""
    tens = np.zeros_like(digits)
    np.multiply(digits[:-1], np.uint8(10), out=tens[1:])
    hundreds = np.zeros_like(digits)
    pairs = is_digit[1:] & is_digit[:-1]
    # Rows touch: the first two digits of a row do not continue the row before.
    tens[starts] = 0
    pairs[starts[1:] - 1] = False
    np.multiply(digits[:-2], (pairs[1:] & pairs[:-1]).view(np.uint8), out=hundreds[2:])

    tens += digits
    levels = hundreds * np.uint8(100)
    levels += tens
    four_digits = pairs[2:] & pairs[1:-1] & pairs[:-2]
    # All is uint8, three times faster than with uint16: up to 299 a sum above 255 shows by having
    # wrapped below its own last two digits, and from 300 by its first digit.
    too_large = hundreds.max() > 2 or (levels < tens).any() or four_digits.any()
    return levels, bool(too_large)


def _first_error(text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> PixelTextError:
    """Find the first malformed row of a block that is known to have one."""
    for row, (start, stop) in enumerate(pairwise(offsets)):
        reason = explain_pixel_text(text[start:stop].tobytes())
        if reason:
            return PixelTextError(row, reason)
    raise AssertionError("the block has no malformed row")


def explain_pixel_text(row: bytes) -> str | None:
    """Say what is wrong with one row of pixel text, or None when nothing is."""
    numbers = row.split(b" ")
    for position, number in enumerate((n for n in numbers if n), start=1):
        shown = number[:12].decode("utf-8", "replace")
        if not number.isdigit():
            return f"pixel {position} is {shown!r}, expected a whole number from 0 to 255"
        if len(number) > 3 or int(number) > 255:
            return f"pixel {position} is {shown}, expected 0 to 255"
    count = sum(1 for number in numbers if number)
    if count != PIXELS_PER_FACE:
        return f"{count:,} pixels, expected {PIXELS_PER_FACE:,} ({FACE_SIZE}×{FACE_SIZE})"
    return None
