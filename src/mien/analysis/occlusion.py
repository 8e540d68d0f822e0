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

#: Side of the covering square and its step, in parts of the crop's side: 12 and 4 of 48 pixels,
#: about an eye or half a mouth.
_WINDOW: Final = 1 / 4
_STEP: Final = 1 / 12


def occlude(
    classify: Classify, crop_gray: npt.NDArray[np.uint8]
) -> tuple[int, npt.NDArray[np.float32]]:
    """Tell how much each place of a face matters for the expression read in it.

    A square of the crop's mean grey is moved over the face; a pixel's value is by how much the
    probability of the most probable class falls, on average, where the square covers it. Below 0
    the class becomes more probable.

    Args:
        classify: ``(N, H, W)`` uint8 crops to ``(N, classes)`` probabilities, such as
            :meth:`mien.Analyzer.classify`.
        crop_gray: ``(H, W)`` uint8, one crop.

    Returns:
        The class, and ``(H, W)`` float32 values of -1 to 1.

    Raises:
        ValueError: The crop is not ``(H, W)`` uint8.
    """
    if crop_gray.ndim != 2 or crop_gray.dtype != np.uint8:
        raise ValueError(f"expected (H, W) uint8, got {crop_gray.shape} {crop_gray.dtype}")
    places = [
        (slice(top, top + height), slice(left, left + width))
        for top, height in _spans(crop_gray.shape[0])
        for left, width in _spans(crop_gray.shape[1])
    ]
    crops = np.repeat(crop_gray[None], len(places) + 1, axis=0)
    fill = np.uint8(round(float(crop_gray.mean())))
    for crop, place in zip(crops, places, strict=False):
        crop[place] = fill
    probabilities = classify(crops)
    top_class = int(probabilities[-1].argmax())
    falls = probabilities[-1, top_class] - probabilities[:-1, top_class]
    total = np.zeros(crop_gray.shape, np.float32)
    count = np.zeros(crop_gray.shape, np.float32)
    for place, fall in zip(places, falls, strict=True):
        total[place] += fall
        count[place] += 1
    return top_class, total / count


def _spans(side: int) -> list[tuple[int, int]]:
    """Return the starts and the length of windows that cover a side whole, its end too."""
    window, step = max(1, round(side * _WINDOW)), max(1, round(side * _STEP))
    starts = sorted({*range(0, side - window, step), side - window})
    return [(start, window) for start in starts]
