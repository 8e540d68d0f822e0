"""Corruptions: what can happen to a face on its way to a model, at five strengths each.

Twelve pure functions of grey faces. What is left to chance is drawn from the face's own pixels and
a seed: a face is corrupted alike for every model, in every batch and at every place in the data.

Source: the idea and the first kinds are those of ImageNet-C, Hendrycks and Dietterich 2019,
https://arxiv.org/abs/1903.12261. Its strengths are for pictures of 224 pixels; these are for 48.
Misaligned crops and things before the face are added: they are what a face model meets.
"""

import io
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mien.preprocess import FACE_SIZE, FER2013_CROP, align_face

#: From a trace to what people themselves have trouble with.
STRENGTHS: Final = (1, 2, 3, 4, 5)

_Faces = npt.NDArray[np.uint8]
_Generators = Iterable[np.random.Generator]

#: Grey levels of dark glasses and of a surgical mask.
_GLASSES_GREY: Final = 25
_MASK_GREY: Final = 190

#: Masks are drawn so many times larger, for smooth edges.
_OVERSAMPLING: Final = 4


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """One kind of damage.

    Attributes:
        title: Its name for people.
        quantity: What a level is, with its unit.
        levels: One a strength of :data:`STRENGTHS`.
        apply: Takes ``(N, 48, 48)`` uint8 faces, a level, and a random generator for each face;
            returns new faces alike.
    """

    title: str
    quantity: str
    levels: tuple[float, float, float, float, float]
    apply: Callable[[_Faces, float, _Generators], _Faces] = field(repr=False)


def corrupt(images: _Faces, name: str, strength: int, *, seed: int = 0) -> _Faces:
    """Damage faces.

    Args:
        images: ``(N, 48, 48)`` uint8 grey faces; left as they are.
        name: One of :data:`CORRUPTIONS`.
        strength: 1, a little, to 5, a lot.
        seed: The same face, name, strength and seed give the same picture.

    Returns:
        ``(N, 48, 48)`` uint8.

    Raises:
        ValueError: There is no such corruption or strength, or the array is no such faces.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}: expected one of {', '.join(CORRUPTIONS)}")
    if strength not in STRENGTHS:
        raise ValueError(f"strength must be 1 to {STRENGTHS[-1]}, got {strength}")
    if images.dtype != np.uint8 or images.shape[1:] != (FACE_SIZE, FACE_SIZE):
        raise ValueError(f"expected uint8 (N, 48, 48), got {images.dtype} {images.shape}")
    if not len(images):
        return images.copy()
    corruption = CORRUPTIONS[name]
    key = (seed, zlib.crc32(name.encode("ascii")), strength)
    generators = (np.random.default_rng((*key, zlib.crc32(face.tobytes()))) for face in images)
    return corruption.apply(images, corruption.levels[strength - 1], generators)


def _add_noise(images: _Faces, deviation: float, generators: _Generators) -> _Faces:
    shape = images.shape[1:]
    noise = np.stack([rng.standard_normal(shape, np.float32) for rng in generators])
    return _to_grey(images + np.float32(deviation) * noise)


def _blur(images: _Faces, deviation: float, _: _Generators) -> _Faces:
    reach = math.ceil(3 * deviation)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / deviation) ** 2)
    rows = np.arange(FACE_SIZE)[:, None]
    matrix = np.zeros((FACE_SIZE, FACE_SIZE))
    # Beyond the picture its edge pixels go on.
    np.add.at(matrix, (rows, (rows + offsets).clip(0, FACE_SIZE - 1)), weights / weights.sum())
    return _resample(images, matrix)


def _blur_by_motion(images: _Faces, length: float, generators: _Generators) -> _Faces:
    """Average each face along a line, in one of twelve directions."""
    directions = np.array([rng.integers(12) for rng in generators])
    blurred = np.empty_like(images)
    for direction in range(12):
        chosen = directions == direction
        blurred[chosen] = _average_along(images[chosen], length, math.pi * direction / 12)
    return blurred


def _average_along(images: _Faces, length: float, angle: float) -> _Faces:
    """Average faces along a line of so many pixels, at an angle in radians."""
    places = np.linspace(-0.5, 0.5, 4 * round(length) + 1) * (length - 1)
    xs, ys = places * math.cos(angle), places * math.sin(angle)
    left, top = np.floor(xs).astype(int), np.floor(ys).astype(int)
    margin = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * margin + 1, 2 * margin + 1))
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weights = (1 - np.abs(xs - left - x)) * (1 - np.abs(ys - top - y))
        np.add.at(kernel, (top + y + margin, left + x + margin), weights / len(places))
    around = ((0, 0), (margin, margin), (margin, margin))
    padded = np.pad(images, around, mode="edge").astype(np.float32)
    total = np.zeros(images.shape, np.float32)
    for y, x in np.argwhere(kernel > 1e-9):
        total += np.float32(kernel[y, x]) * padded[:, y : y + FACE_SIZE, x : x + FACE_SIZE]
    return _to_grey(total)


def _compress(images: _Faces, quality: float, _: _Generators) -> _Faces:
    def compressed(face: _Faces) -> _Faces:
        stream = io.BytesIO()
        Image.fromarray(face).save(stream, "JPEG", quality=int(quality))
        with Image.open(stream) as image:
            return np.asarray(image)

    return np.stack([compressed(face) for face in images])


def _relight(images: _Faces, change: float, generators: _Generators) -> _Faces:
    return _to_grey(images + (change * _signs(generators)).astype(np.float32)[:, None, None])


def _flatten_contrast(images: _Faces, kept: float, _: _Generators) -> _Faces:
    means = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _to_grey(means + np.float32(kept) * (images - means))


def _turn(images: _Faces, degrees: float, generators: _Generators) -> _Faces:
    angles = np.radians(degrees) * _signs(generators)
    return np.stack([_crop(face, angle=angle) for face, angle in zip(images, angles, strict=True)])


def _shift(images: _Faces, distance: float, generators: _Generators) -> _Faces:
    angles = [rng.uniform(0, 2 * math.pi) for rng in generators]
    shifts = [(distance * math.cos(angle), distance * math.sin(angle)) for angle in angles]
    return np.stack([_crop(face, shift=xy) for face, xy in zip(images, shifts, strict=True)])


def _crop(face: _Faces, *, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> _Faces:
    """Cut a face out as if its eyes and mouth had been found turned and shifted.

    Going through the package's own cropping makes this what a mistaken face finder gives.
    """
    crop = FER2013_CROP
    nose_xy = (0.5, (crop.left_eye_xy[1] + crop.mouth_xy[1]) / 2)
    points = [crop.left_eye_xy, crop.right_eye_xy, nose_xy, crop.mouth_xy, crop.mouth_xy]
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = (np.array(points) - 0.5) @ np.array([[cosine, sine], [-sine, cosine]])
    return align_face(face, (turned + 0.5) * FACE_SIZE + shift, crop, size=FACE_SIZE)


def _lower_resolution(images: _Faces, side: float, _: _Generators) -> _Faces:
    # Each small pixel averages its exact area. Pillow's box filter takes whole pixels or none: to
    # 32 pixels it would take two, one, two, one, and move the face by a quarter of a pixel.
    edges = np.linspace(0, FACE_SIZE, int(side) + 1)[:, None]
    covered = (edges - np.arange(FACE_SIZE)).clip(0, 1)
    small = Image.fromarray((np.diff(covered, axis=0) * side / FACE_SIZE).astype(np.float32))
    # Scaling is linear, so the scaled identity is the matrix that scales any face.
    return _resample(images, np.asarray(small.resize((FACE_SIZE,) * 2, Image.Resampling.BICUBIC)))


def _wear_sunglasses(images: _Faces, radius: float, _: _Generators) -> _Faces:
    canvas, pen = _canvas()
    eyes = [
        np.array(xy) * FACE_SIZE for xy in (FER2013_CROP.left_eye_xy, FER2013_CROP.right_eye_xy)
    ]
    for x, y in eyes:
        box = (x - radius, y - 0.8 * radius, x + radius, y + 0.8 * radius)
        pen.ellipse([_OVERSAMPLING * edge for edge in box], fill=255)
    bridge = [tuple(_OVERSAMPLING * eye) for eye in eyes]
    pen.line(bridge, fill=255, width=round(_OVERSAMPLING * 1.5))
    return _cover(images, canvas, _GLASSES_GREY)


def _wear_mask(images: _Faces, height: float, _: _Generators) -> _Faces:
    eyes_y, mouth_y = FER2013_CROP.left_eye_xy[1], FER2013_CROP.mouth_xy[1]
    nose = mouth_y - height * (mouth_y - eyes_y)
    # Highest on the nose, down to the jaw's corners; the chin lies near the picture's edge.
    right = [(0.6, nose), (0.93, nose + 0.08), (0.86, 0.9), (0.66, 1.0)]
    outline = [*right, *((1 - x, y) for x, y in reversed(right))]
    canvas, pen = _canvas()
    pen.polygon([(x * canvas.width, y * canvas.height) for x, y in outline], fill=255)
    return _cover(images, canvas, _MASK_GREY)


def _hold_before(images: _Faces, side: float, generators: _Generators) -> _Faces:
    """Put a square at a random place within each face, in its own mean grey as a hand's skin."""
    corners = np.array([rng.integers(0, FACE_SIZE - int(side) + 1, 2) for rng in generators])
    pixels = np.arange(FACE_SIZE)
    inside = (pixels >= corners[..., None]) & (pixels < corners[..., None] + int(side))
    covered = inside[:, 0, :, None] & inside[:, 1, None, :]
    means = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return np.where(covered, _to_grey(means), images)


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    side = _OVERSAMPLING * FACE_SIZE
    canvas = Image.new("L", (side, side))
    return canvas, ImageDraw.Draw(canvas)


def _cover(images: _Faces, canvas: Image.Image, grey: int) -> _Faces:
    share = np.asarray(canvas.reduce(_OVERSAMPLING), np.float32) / 255
    return _to_grey(images * (1 - share) + grey * share)


def _resample(images: _Faces, matrix: npt.NDArray[Any]) -> _Faces:
    """Apply ``(48, 48)`` weights down every column and along every row."""
    weights = matrix.astype(np.float32)
    return _to_grey(weights @ images.astype(np.float32) @ weights.T)


def _signs(generators: _Generators) -> npt.NDArray[np.float64]:
    """Return -1 or 1 for each face."""
    return np.array([rng.choice((-1.0, 1.0)) for rng in generators])


def _to_grey(images: npt.NDArray[np.floating[Any]]) -> _Faces:
    rounded: _Faces = np.rint(images).clip(0, 255).astype(np.uint8)
    return rounded


#: Every corruption by its name. Each strength is about as much worse than the one before, and the
#: strongest leaves most expressions just readable to a person.
CORRUPTIONS: Final[Mapping[str, Corruption]] = MappingProxyType(
    {
        "gaussian_noise": Corruption(
            title="gaussian noise",
            quantity="standard deviation, grey levels",
            levels=(6, 12, 18, 26, 38),
            apply=_add_noise,
        ),
        "gaussian_blur": Corruption(
            title="gaussian blur",
            quantity="standard deviation, pixels of 48",
            levels=(0.6, 0.9, 1.2, 1.6, 2.2),
            apply=_blur,
        ),
        "motion_blur": Corruption(
            title="motion blur",
            quantity="length, pixels of 48, any direction",
            levels=(3, 5, 7, 9, 12),
            apply=_blur_by_motion,
        ),
        "jpeg": Corruption(
            title="JPEG",
            quantity="quality, 1 to 95",
            levels=(50, 30, 18, 11, 6),
            apply=_compress,
        ),
        "brightness": Corruption(
            title="brightness",
            quantity="grey levels lighter or darker",
            levels=(25, 45, 65, 85, 110),
            apply=_relight,
        ),
        "contrast": Corruption(
            title="low contrast",
            quantity="share of the contrast kept",
            levels=(0.6, 0.4, 0.28, 0.2, 0.12),
            apply=_flatten_contrast,
        ),
        "rotation": Corruption(
            title="rotation",
            quantity="degrees to either side",
            levels=(6, 12, 18, 25, 35),
            apply=_turn,
        ),
        "shift": Corruption(
            title="shift",
            quantity="pixels of 48, any direction",
            levels=(2, 4, 6, 8, 11),
            apply=_shift,
        ),
        "low_resolution": Corruption(
            title="low resolution",
            quantity="side before scaling up, pixels",
            levels=(32, 24, 18, 14, 10),
            apply=_lower_resolution,
        ),
        "sunglasses": Corruption(
            title="sunglasses",
            quantity="radius of a lens, pixels of 48",
            levels=(3, 4.5, 6, 7.5, 9),
            apply=_wear_sunglasses,
        ),
        "mask": Corruption(
            title="mask",
            quantity="upper edge, share of the way from mouth to eyes",
            levels=(0.0, 0.2, 0.4, 0.6, 0.8),
            apply=_wear_mask,
        ),
        "hand": Corruption(
            title="hand",
            quantity="side of a square, pixels of 48, any place",
            levels=(10, 14, 18, 22, 27),
            apply=_hold_before,
        ),
    }
)
