"""Where a face's expression is read: what becomes of it when parts of the face are covered.

It asks nothing of the model but its answers, so any ONNX file can be explained, without torch.

Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014,
https://arxiv.org/abs/1311.2901
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Classify = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

#: Side of the patch and its stride, in parts of the crop's side: 12 and 4 of 48 pixels, about an
#: eye or half a mouth.
_PATCH: Final = 1 / 4
_STRIDE: Final = 1 / 12


def occlude(
    classify: Classify,
    crop_gray: npt.NDArray[np.uint8],
    *,
    watched: int | None = None,
    patch: int | None = None,
    stride: int | None = None,
) -> tuple[int, npt.NDArray[np.float32]]:
    """Tell how much each place of a face matters for the expression read in it.

    A patch of the crop's mean grey is moved over the face; a pixel's value is by how much the
    probability of a class falls, on average, where the patch covers it. Below 0 the class becomes
    more probable.

    Args:
        classify: ``(N, H, W)`` uint8 crops to ``(N, classes)`` probabilities, such as
            :meth:`mien.Analyzer.classify`.
        crop_gray: ``(H, W)`` uint8, one crop.
        watched: Index of the class; None for the most probable.
        patch: Side of the patch in pixels; None for a quarter of the crop's sides.
        stride: Pixels from one place of the patch to the next; None for a twelfth.

    Returns:
        The class, and ``(H, W)`` float32 values of -1 to 1.

    Raises:
        ValueError: The crop is not ``(H, W)`` uint8, the patch does not fit into it, or the stride
            leaves pixels out.
    """
    if crop_gray.ndim != 2 or crop_gray.dtype != np.uint8:
        raise ValueError(f"expected (H, W) uint8, got {crop_gray.shape} {crop_gray.dtype}")
    rows, columns = (_spans(side, patch, stride) for side in crop_gray.shape)
    places = [(row, column) for row in rows for column in columns]
    crops = np.repeat(crop_gray[None], len(places) + 1, axis=0)
    fill = np.uint8(round(float(crop_gray.mean())))
    for crop, place in zip(crops, places, strict=False):
        crop[place] = fill
    probabilities = classify(crops)
    if watched is None:
        watched = int(probabilities[-1].argmax())
    falls = probabilities[-1, watched] - probabilities[:-1, watched]
    total = np.zeros(crop_gray.shape, np.float32)
    count = np.zeros(crop_gray.shape, np.float32)
    for place, fall in zip(places, falls, strict=True):
        total[place] += fall
        count[place] += 1
    return watched, total / count


def _spans(side: int, patch: int | None, stride: int | None) -> list[slice]:
    """Return the places of a patch along a side, which cover all of it, its end too."""
    patch = max(1, round(side * _PATCH)) if patch is None else patch
    stride = max(1, round(side * _STRIDE)) if stride is None else stride
    if not 1 <= stride <= patch <= side:
        raise ValueError(f"expected 1 <= stride <= patch <= {side}, got {stride} and {patch}")
    starts = sorted({*range(0, side - patch, stride), side - patch})
    return [slice(start, start + patch) for start in starts]
