"""Cartoon faces that a small model can learn, for tests and for trying a recipe without data."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.expressions import EXPRESSIONS, FERPLUS_COLUMNS
from mien.preprocess import FACE_SIZE

#: Shares of the splits, as in FER2013.
_SPLIT_SHARES: Final = (0.8, 0.1, 0.1)

#: What tells the expressions apart, in pixels on a face of 48: how far the mouth's corners rise
#: above its middle, how far it opens, how far the brows' inner ends drop, how far both brows
#: rise, and half the mouth's width.
_FEATURES: Final = {
    "angry": (-2.0, 0.0, 4.0, 0.0, 7.0),
    "disgust": (-3.0, 3.0, 2.0, -1.0, 5.0),
    "fear": (-1.0, 4.0, -4.0, 2.0, 9.0),
    "happy": (5.0, 2.0, 0.0, 1.0, 9.0),
    "sad": (-5.0, 0.0, -4.0, 0.0, 7.0),
    "surprise": (0.0, 8.0, 0.0, 4.0, 4.0),
    "neutral": (0.0, 0.0, 0.0, 0.0, 7.0),
}


def synthetic_faces(
    count: int, seed: int = 0, *, noise: float = 8.0, votes: bool = False
) -> ExpressionDataset:
    """Draw cartoon faces whose mouth and brows show their expression.

    Classes take turns, and each split gets every class as evenly as its size allows. Position,
    size, shade and noise vary, so that a model has something to learn and nothing to memorise.

    Args:
        count: Number of faces over all three splits, at least 10: about 80 % Training, 10 %
            PublicTest and 10 % PrivateTest.
        seed: The same seed and count give the same faces.
        noise: Standard deviation of the noise added, in grey levels.
        votes: Whether to add ten FER+ votes a face, most of them for its class.

    Raises:
        ValueError: ``count`` is too small to fill three splits.
    """
    if count < 10:
        raise ValueError(f"count must be at least 10 to fill three splits, got {count}")
    rng = np.random.default_rng(seed)
    held_out = [max(1, round(count * share)) for share in _SPLIT_SHARES[1:]]
    sizes = [count - sum(held_out), *held_out]
    labels = np.concatenate([np.arange(size) % len(EXPRESSIONS) for size in sizes])
    images = np.stack([_draw(EXPRESSIONS[label], rng) for label in labels]).astype(np.float64)
    images += rng.normal(0.0, noise, images.shape)
    return ExpressionDataset(
        images=images.clip(0, 255).astype(np.uint8),
        labels=labels.astype(np.int64),
        split_codes=np.repeat(np.arange(len(SPLITS), dtype=np.uint8), sizes),
        names=np.array([f"row {row}" for row in range(1, count + 1)]),
        votes=_votes(labels, rng) if votes else None,
        fingerprint=f"synthetic count={count} seed={seed} noise={noise:g}",
    )


def _draw(expression: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one ``(48, 48)`` face, at four times its size for smooth lines."""
    smile, opening, frown, lift, mouth = _FEATURES[expression] + rng.normal(0.0, 0.3, 5)
    zoom = 4 * rng.uniform(0.9, 1.1)
    middle_x, middle_y = 4 * (FACE_SIZE / 2 + rng.uniform(-2.0, 2.0, 2))
    skin, dark, ground = rng.integers((140, 10, 60), (230, 60, 120))

    def at(x: float, y: float) -> tuple[float, float]:
        return middle_x + zoom * x, middle_y + zoom * y

    image = Image.new("L", (4 * FACE_SIZE, 4 * FACE_SIZE), int(ground))
    pen = ImageDraw.Draw(image)
    ink, width = int(dark), round(1.6 * zoom)
    pen.ellipse([at(-18, -21), at(18, 21)], fill=int(skin))
    for side in (-1, 1):
        pen.ellipse([at(side * 8 - 2.5, -7), at(side * 8 + 2.5, -3)], fill=ink)
        brow_y = -11 - lift
        pen.line([at(side * 12, brow_y), at(side * 4, brow_y + frown)], fill=ink, width=width)
    xs = np.linspace(-1, 1, 9)
    lip_ys = 11 - smile * xs**2 + smile / 2
    gape = max(opening, 0.0) / 2 * (1 - xs**2)
    upper = [at(mouth * x, y) for x, y in zip(xs, lip_ys - gape, strict=True)]
    lower = [at(mouth * x, y) for x, y in zip(xs, lip_ys + gape, strict=True)]
    pen.polygon([*upper, *lower[::-1]], fill=ink)
    pen.line(upper, fill=ink, width=width)
    pen.line(lower, fill=ink, width=width)
    return np.asarray(image.reduce(4))


def _votes(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Give each face ten votes, most of them for its class."""
    columns = list(FERPLUS_COLUMNS.values())
    chances = np.full((len(labels), len(columns)), 0.15 / len(columns))
    own_column = np.array([columns.index(name) for name in EXPRESSIONS])[labels]
    chances[np.arange(len(labels)), own_column] += 0.85
    return rng.multinomial(10, chances).astype(np.uint8)
