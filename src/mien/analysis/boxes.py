"""Boxes as arrays: the small geometry that a detector's stages share."""

from typing import Literal

import numpy as np
import numpy.typing as npt

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
    # One contiguous row for each edge makes the loop below twice as fast.
    left, top, right, bottom = np.ascontiguousarray(boxes_xyxy[order].T)
    areas = (right - left) * (bottom - top)
    kept: list[np.intp] = []
    while len(order):
        kept.append(order[0])
        width = np.minimum(right[1:], right[0]) - np.maximum(left[1:], left[0])
        height = np.minimum(bottom[1:], bottom[0]) - np.maximum(top[1:], top[0])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        whole = (
            areas[1:] + areas[0] - common
            if relative_to == "union"
            else np.minimum(areas[1:], areas[0])
        )
        # Multiplied out, so that a box without area divides by nothing.
        rest = np.flatnonzero(common <= threshold * whole) + 1
        order, areas = order[rest], areas[rest]
        left, top, right, bottom = left[rest], top[rest], right[rest], bottom[rest]
    return np.array(kept, dtype=np.intp)
