"""Boxes as arrays: the small geometry that a detector's stages share."""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

#: Boxes compared with one another at a time.
_BLOCK: Final = 512

Array = npt.NDArray[np.float32]


def shift_edges(boxes_xyxy: Array, offsets: Array) -> Array:
    """Move each edge by its offset, given in sides of the box; both are ``(N, 4)``."""
    sides_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return boxes_xyxy + offsets * np.concatenate((sides_wh, sides_wh), axis=1)


def square(boxes_xyxy: Array) -> Array:
    """Grow the shorter side of each ``(N, 4)`` box about its centre to the longer one."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate((centres - half, centres + half), axis=1)


def suppress(
    boxes_xyxy: Array,
    scores: Array,
    *,
    threshold: float,
    relative_to: Literal["union", "smaller"] = "union",
) -> npt.NDArray[np.intp]:
    """Return the indices to keep, best first, so that no two overlap by more than ``threshold``.

    Greedy non-maximum suppression: the best box stays, those it covers go, and so on.

    Args:
        boxes_xyxy: ``(N, 4)``.
        scores: ``(N,)``.
        threshold: The largest overlap allowed, 0 to 1.
        relative_to: What the common area is divided by: the area of the two together, or of the
            smaller one, which also removes a box inside another.
    """
    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    # All pairs at once are fastest; in blocks, so that thousands of boxes need no gigabyte.
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        covered = _covers(boxes_xyxy[kept], boxes_xyxy[block], threshold, relative_to).any(axis=0)
        block = block[~covered]
        covers = _covers(boxes_xyxy[block], boxes_xyxy[block], threshold, relative_to)
        alive = np.ones(len(block), bool)
        for index, row in enumerate(covers):
            if alive[index]:
                alive[index + 1 :] &= ~row[index + 1 :]
        kept = np.concatenate((kept, block[alive]))
    return kept


def _covers(
    boxes: Array, others: Array, threshold: float, relative_to: Literal["union", "smaller"]
) -> npt.NDArray[np.bool_]:
    """Return ``(N, M)``: whether each of N boxes overlaps each of M others by too much."""
    left, top, right, bottom = boxes.T[:, :, None]
    other_left, other_top, other_right, other_bottom = others.T
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    area = (right - left) * (bottom - top)
    other_area = (other_right - other_left) * (other_bottom - other_top)
    whole = area + other_area - common if relative_to == "union" else np.minimum(area, other_area)
    # Multiplied out, so that a box without area divides by nothing.
    covers: npt.NDArray[np.bool_] = common > threshold * whole
    return covers
