"""Face → aligned grey square → normalised float32: the only definition.

Training, export and analysis all go through this module, so a crop means the same everywhere.
Coordinates are continuous: the first pixel reaches from 0 to 1, its centre is at 0.5.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.metadata import CropGeometry

#: Side in pixels of FER2013's faces and so of every model's input here.
FACE_SIZE: Final = 48

#: How FER2013 frames a face: the mean positions of eyes and mouth that MTCNN finds in its Training
#: images, turned upright and made symmetric. Measured on a sample of 5,000, of which it found
#: 4,305, on 2026-11-20: ``python benchmarks/crop_geometry.py --sample 5000 --seed 0``.
FER2013_CROP: Final = CropGeometry(
    left_eye_xy=(0.316, 0.376), right_eye_xy=(0.684, 0.376), mouth_xy=(0.5, 0.784)
)

#: Roll of a face that :func:`crop_face` leaves in it, in degrees. FER2013's faces roll by 9° (one
#: standard deviation), and training turns them by 10° more. Turning each of them upright cost 1.8
#: points of 3,083 PublicTest faces; only the 86 beyond 25°, taken together, gained by it.
FREE_ROLL_DEG: Final = 20.0

#: By how much the square that landmarks ask for may differ from a picture that is taken for a ready
#: crop: its middle, in sides of the picture, and its side, as a ratio. One and a half standard
#: deviations of FER2013's own framing (0.06 and 18 %), measured as the mean positions above.
_READY_SHIFT: Final = 0.09
_READY_RATIO: Final = 1.3

#: The same for a picture of no more pixels than a crop has, three standard deviations: cut anew, it
#: would only be blurred. Of PublicTest's faces that are found, the model that this was chosen with
#: read 70.9 % right with these limits, 69.6 % with those above, 68.7 % all cut anew, 71.5 % as they
#: are published.
_TINY_SHIFT: Final = 0.18
_TINY_RATIO: Final = 1.7

#: Cosine between the landmarks and where they belong, below which they are not taken for a face's.
_LEAST_LIKENESS: Final = 0.5


def to_gray(image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn an ``(H, W, 3)`` RGB picture into ``(H, W)`` grey levels.

    The weights are ITU-R BT.601's luma (0.299, 0.587, 0.114), as in most tools that turn colour
    pictures grey and so, most likely, in FER2013.
    """
    return np.asarray(Image.fromarray(image_rgb).convert("L"))


def align_face(
    image: npt.NDArray[np.uint8],
    landmarks: npt.NDArray[np.floating],
    crop: CropGeometry,
    *,
    size: int = FACE_SIZE,
    free_roll_deg: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Cut out a face, turned, scaled and moved so that its points lie where ``crop`` wants them.

    The line through the eyes gives the rotation. Scale and shift are the least-squares fit of
    both eyes and the middle of the mouth, so that a head turned aside, whose eyes come closer
    together, keeps its size. Outside the picture its edge pixels go on: FER2013's crops lie
    within their photos, under 1 % of them have a black border, so black would be new to a model.

    Args:
        image: ``(H, W)`` grey levels or ``(H, W, 3)`` RGB, of which no more than is looked at is
            turned grey.
        landmarks: ``(5, 2)`` x, y in pixels: left eye, right eye, nose, left and right mouth
            corner, left as seen in the picture.
        crop: Where the points belong.
        size: Side of the crop in pixels.
        free_roll_deg: Roll that is left in the face, in degrees either way; the face is turned
            by what exceeds it, so that a head that tips over does not jump.

    Returns:
        ``(size, size)`` uint8.

    Raises:
        ValueError: The points are not five, or not those of an upright or turned face: they
            coincide, or the mouth is above the eyes.
    """
    return _cut_square(image, _fit_square(landmarks, crop, free_roll_deg), size)


def crop_box(
    image: npt.NDArray[np.uint8],
    box_xyxy: npt.NDArray[np.floating],
    *,
    size: int = FACE_SIZE,
) -> npt.NDArray[np.uint8]:
    """Cut out a box, for faces without landmarks.

    The shorter side grows about the box's middle to the longer one, so that nothing is squeezed;
    outside the picture its edge pixels go on, as in :func:`align_face`.

    Args:
        image: As for :func:`align_face`.
        box_xyxy: ``(4,)`` left, top, right, bottom in pixels; may reach outside the picture.
        size: Side of the crop in pixels.

    Returns:
        ``(size, size)`` uint8.

    Raises:
        ValueError: The box has no area.
    """
    left, top, right, bottom = (float(edge) for edge in box_xyxy)
    if not (right > left and bottom > top):
        raise ValueError(f"box_xyxy has no area: {left}, {top}, {right}, {bottom}")
    centre_xy = ((left + right) / 2, (top + bottom) / 2)
    side = max(right - left, bottom - top)
    return _cut(image, centre_xy=centre_xy, side=side, angle=0.0, size=size)


def crop_face(
    image: npt.NDArray[np.uint8],
    box_xyxy: npt.NDArray[np.floating],
    landmarks: npt.NDArray[np.floating] | None,
    crop: CropGeometry,
    *,
    size: int = FACE_SIZE,
) -> npt.NDArray[np.uint8]:
    """Cut out a face by its landmarks, or by its box where they are none of a face's.

    A roll of up to :data:`FREE_ROLL_DEG` stays, since models know it from FER2013. A picture that
    its landmarks show to be a face crop already, framed within FER2013's own spread, is scaled as a
    whole: cutting such 48-pixel pictures anew, which blurs them, cost more than it mended. One of
    at most ``size`` pixels a side may be framed more freely.

    Args:
        image: As for :func:`align_face`.
        box_xyxy: ``(4,)`` left, top, right, bottom in pixels.
        landmarks: ``(5, 2)`` as for :func:`align_face`; None where the detector gives none.
        crop: Where the landmarks belong.
        size: Side of the crop in pixels.

    Returns:
        ``(size, size)`` uint8.

    Raises:
        ValueError: The box has no area.
    """
    if landmarks is not None:
        try:
            square = _fit_square(landmarks, crop, FREE_ROLL_DEG)
        except ValueError:
            pass  # points that are no face's, as on a face seen from the side: use the box
        else:
            if _is_ready(image, square, size):
                return resize_face(image, size=size)
            return _cut_square(image, square, size)
    return crop_box(image, box_xyxy, size=size)


def resize_face(image: npt.NDArray[np.uint8], *, size: int = FACE_SIZE) -> npt.NDArray[np.uint8]:
    """Scale a picture that is a face crop already; one of the right size stays as it is.

    Args:
        image: As for :func:`align_face`; one that is not square is squared as by
            :func:`crop_box`.
        size: Side of the result in pixels.

    Returns:
        ``(size, size)`` uint8.
    """
    height, width = image.shape[:2]
    return crop_box(image, np.array([0, 0, width, height], np.float32), size=size)


def standardise(
    faces_gray: npt.NDArray[np.uint8], *, mean: float, std: float
) -> npt.NDArray[np.float32]:
    """Scale grey faces to 0..1, subtract ``mean`` and divide by ``std``.

    Args:
        faces_gray: ``(N, H, W)`` grey levels 0 to 255.
        mean: Mean of the training pixels on the scale 0 to 1.
        std: Their standard deviation on that scale.

    Returns:
        ``(N, 1, H, W)`` float32.
    """
    scale, shift = standardise_factors(mean=mean, std=std)
    faces = faces_gray[:, None].astype(np.float32)
    faces *= np.float32(scale)
    faces += np.float32(shift)
    return faces


def standardise_factors(*, mean: float, std: float) -> tuple[float, float]:
    """Return ``(scale, shift)`` such that ``grey_level * scale + shift`` is standardised."""
    if std <= 0:
        raise ValueError(f"std must be positive, got {std}")
    return 1 / (255 * std), -mean / std


@dataclass(frozen=True, kw_only=True)
class _Square:
    """Where a face is cut: middle and side in pixels, angle in radians, clockwise as seen."""

    centre_xy: tuple[float, float]
    side: float
    angle: float


def _fit_square(
    landmarks: npt.NDArray[np.floating], crop: CropGeometry, free_roll_deg: float
) -> _Square:
    """Return the square in which the landmarks lie as ``crop`` wants them, but for the free roll.

    Raises:
        ValueError: See :func:`align_face`.
    """
    if landmarks.shape != (5, 2):
        raise ValueError(f"expected landmarks (5, 2), got {landmarks.shape}")
    points = np.array([landmarks[0], landmarks[1], landmarks[3:].mean(axis=0)], np.float64)
    targets = np.array([crop.left_eye_xy, crop.right_eye_xy, crop.mouth_xy])
    roll = math.remainder(_angle(points) - _angle(targets), math.tau)
    points_mean, targets_mean = points.mean(axis=0), targets.mean(axis=0)
    turned = (points - points_mean) @ _rotation(-roll).T
    spread = float(np.sum(turned**2))
    agreement = float(np.sum(turned * (targets - targets_mean)))
    likeness = agreement / math.sqrt(max(spread, 1e-9) * np.sum((targets - targets_mean) ** 2))
    # Far from a face's the fitted side grows without bound, and the crop with it.
    if not likeness >= _LEAST_LIKENESS:
        raise ValueError("the landmarks are not those of a face")
    side = spread / agreement
    angle = math.copysign(max(abs(roll) - math.radians(free_roll_deg), 0.0), roll)
    # The middle of the three points comes to its place whatever roll is left.
    centre = points_mean + _rotation(angle) @ ((0.5 - targets_mean) * side)
    return _Square(centre_xy=(float(centre[0]), float(centre[1])), side=side, angle=angle)


def _is_ready(image: npt.NDArray[np.uint8], square: _Square, size: int) -> bool:
    """Tell whether a picture is a crop of the face in that square already."""
    height, width = image.shape[:2]
    longest = max(height, width)
    most_shift, most_ratio = (
        (_TINY_SHIFT, _TINY_RATIO) if longest <= size else (_READY_SHIFT, _READY_RATIO)
    )
    shift = max(abs(square.centre_xy[0] - width / 2), abs(square.centre_xy[1] - height / 2))
    return (
        square.angle == 0
        and longest <= most_ratio * min(height, width)
        and shift <= most_shift * longest
        and 1 / most_ratio <= square.side / longest <= most_ratio
    )


def _cut_square(image: npt.NDArray[np.uint8], square: _Square, size: int) -> npt.NDArray[np.uint8]:
    return _cut(image, centre_xy=square.centre_xy, side=square.side, angle=square.angle, size=size)


def _angle(points: npt.NDArray[np.float64]) -> float:
    """Return the angle in radians of the line from the first point to the second."""
    x, y = points[1] - points[0]
    return math.atan2(y, x)


def _rotation(angle: float) -> npt.NDArray[np.float64]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _cut(
    image: npt.NDArray[np.uint8],
    *,
    centre_xy: tuple[float, float],
    side: float,
    angle: float,
    size: int,
) -> npt.NDArray[np.uint8]:
    """Cut a square of any place, side and angle (radians, clockwise as seen) out of a picture."""
    if angle == 0:
        return _cut_upright(image, centre_xy, side, size)
    reach = side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle))) + _margin(side, size)
    left, top = (math.floor(centre - reach) for centre in centre_xy)
    extent = math.ceil(2 * reach) + 1
    window = Image.fromarray(_window(image, left, top, extent))
    x, y = centre_xy[0] - left, centre_xy[1] - top
    # Pillow's transform takes single pixels and would skip most of a large face's, so the
    # window is brought to the crop's scale first, by a filter that averages, then turned. Lanczos
    # comes nearest to FER2013's sharpness (mean |Laplacian| over standard deviation, median: 0.52
    # in FER2013; 0.49 in 29 photographed faces by Lanczos, 0.46 bicubic, 0.39 bilinear).
    scaled_side = max(1, round(extent * size / side))
    scaled = window.resize((scaled_side, scaled_side), Image.Resampling.LANCZOS)
    scale = scaled_side / extent
    matrix = _rotation(angle) * (side / size * scale)
    offset = np.array([x, y]) * scale - matrix @ np.array([size / 2, size / 2])
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    turned = scaled.transform(
        (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(turned)


def _margin(side: float, size: int) -> float:
    """Return how far beyond a square of ``side`` the filters that scale it to ``size`` look."""
    # Three and two pixels around, of the crop or, magnifying, the picture.
    return 5 * max(1.0, side / size)


def _cut_upright(
    image: npt.NDArray[np.uint8], centre_xy: tuple[float, float], side: float, size: int
) -> npt.NDArray[np.uint8]:
    """Cut an upright square, one direction after the other, as Pillow does within one call.

    Only one direction at a time is continued beyond the picture: the square about a long thin
    picture, all at once, has more pixels than fit into memory.
    """
    reach = side / 2 + _margin(side, size)
    columns, rows = (
        _clipped(centre, reach, count)
        for centre, count in zip(centre_xy, image.shape[1::-1], strict=True)
    )
    inside = _grey_levels(image[rows, columns])
    centre_x, centre_y = centre_xy[0] - columns.start, centre_xy[1] - rows.start
    # Pillow's order, across first, bounds memory to some five pictures unless one is so tall.
    if inside.shape[0] > 4 * inside.shape[1]:
        tall = _scale_columns(inside.T, centre_y, side, size).T
        return _scale_columns(tall, centre_x, side, size)
    wide = _scale_columns(inside, centre_x, side, size)
    return np.ascontiguousarray(_scale_columns(wide.T, centre_y, side, size).T)


def _grey_levels(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return image if image.ndim == 2 else to_gray(np.ascontiguousarray(image))


def _clipped(centre: float, reach: float, count: int) -> slice:
    """Return the pixels within reach of a centre that there are, at least the nearest one."""
    first = min(max(math.floor(centre - reach), 0), count - 1)
    return slice(first, min(max(math.ceil(centre + reach) + 1, first + 1), count))


def _scale_columns(
    image_gray: npt.NDArray[np.uint8], centre: float, side: float, size: int
) -> npt.NDArray[np.uint8]:
    """Scale the columns ``side`` wide about a centre: ``(H, W)`` to ``(H, size)``."""
    height, width = image_gray.shape
    reach = side / 2 + _margin(side, size)
    left = math.floor(centre - reach)
    columns = np.arange(left, left + math.ceil(2 * reach) + 1).clip(0, width - 1)
    # A seventh of the time of indexing with the columns.
    window = Image.fromarray(np.ascontiguousarray(np.take(image_gray, columns, axis=1)))
    box = (centre - left - side / 2, 0, centre - left + side / 2, height)
    return np.asarray(window.resize((size, height), Image.Resampling.LANCZOS, box))


def _window(
    image: npt.NDArray[np.uint8], left: int, top: int, extent: int
) -> npt.NDArray[np.uint8]:
    """Return ``(extent, extent)`` grey levels from a corner on, edge pixels repeated outside."""
    height, width = image.shape[:2]
    columns = np.clip(np.arange(left, left + extent), 0, width - 1)
    rows = np.clip(np.arange(top, top + extent), 0, height - 1)
    inside = _grey_levels(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    if inside.shape == (extent, extent):
        return np.ascontiguousarray(inside)
    return inside[np.ix_(rows - rows[0], columns - columns[0])]
