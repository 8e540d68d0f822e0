"""Cuts: where a video's picture changes altogether from one frame to the next."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Mean difference of grey levels, 0 to 255, from which a change can be a cut, and how many times
#: the change before it must be. A hand-held clip's frames differed by 4.2 in the median and 6.3 at
#: most, those of a fixed camera by 0.3 and 1.4.
_LEAST_CHANGE: Final = 20.0
_SUDDEN: Final = 3.0
#: Rows of pixels that are looked at, and how many are averaged: what moves a little is no change.
_ROWS: Final = 90
_BLOCK: Final = 6


class CutFinder:
    """Compares each frame with the one before."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float64] | None = None
        self._change = 0.0

    def is_cut(self, image_rgb: npt.NDArray[np.uint8]) -> bool:
        """Take the next frame ``(H, W, 3)``; return whether another scene begins with it."""
        levels = _thumbnail(image_rgb)
        before, self._before = self._before, levels
        if before is None:
            return False
        if before.shape != levels.shape:
            return True
        change_before, self._change = self._change, float(np.abs(levels - before).mean())
        return self._change > max(_LEAST_CHANGE, _SUDDEN * change_before)

    def state(self) -> dict[str, Any]:
        """Return what is remembered as plain JSON types, for :meth:`restore`."""
        before = None if self._before is None else self._before.tolist()
        return {"before": before, "change": self._change}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state` returned, and nothing else."""
        before = state["before"]
        self._before = None if before is None else np.array(before, np.float64)
        self._change = state["change"]


def _thumbnail(image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return grey levels, each the mean of a block of pixels."""
    step = max(1, min(image_rgb.shape[:2]) // _ROWS)
    red, green, blue = np.moveaxis(image_rgb[::step, ::step], 2, 0).astype(np.float64)
    # The same as the mean over the last axis, in a fraction of its time.
    levels: npt.NDArray[np.float64] = (red + green + blue) / 3
    rows, columns = (max(1, side // _BLOCK) for side in levels.shape)
    blocks = levels[: rows * _BLOCK, : columns * _BLOCK]
    if min(levels.shape) < _BLOCK:
        return levels
    means: npt.NDArray[np.float64] = blocks.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    # Whole numbers keep a saved state short.
    return means.round()
