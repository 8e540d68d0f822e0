"""What can be measured on one picture: brightness, contrast, sharpness; and which lie far out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

#: Images at a time: 2 MB as float32, which stays in a processor's cache.
BLOCK: Final = 256

#: Tukey's rule: outlying is what lies further beyond the quartiles than this times their distance.
#: Source: Tukey 1977, "Exploratory Data Analysis".
TUKEY: Final = 1.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Measure:
    """One figure per image, with the limits beyond which an image is an outlier.

    Attributes:
        name: ``brightness``, ``contrast`` or ``sharpness``.
        definition: How it is computed, for readers.
        values: ``(N,)`` float32.
        quartiles: Of the values: 25 %, 50 %, 75 %.
        low: The lower limit; 0 where no value can be an outlier below.
        high: The upper limit.
        logarithmic: Whether the limits were found on log(1 + value), as for skewed figures.
    """

    name: str
    definition: str
    values: npt.NDArray[np.float32]
    quartiles: tuple[float, float, float]
    low: float
    high: float
    logarithmic: bool = False

    @property
    def is_low(self) -> npt.NDArray[np.bool_]:
        """``(N,)``: which images lie below the lower limit."""
        return self.values < self.low

    @property
    def is_high(self) -> npt.NDArray[np.bool_]:
        """``(N,)``: which images lie above the upper limit."""
        return self.values > self.high


def measure_images(images: npt.NDArray[np.uint8]) -> tuple[Measure, Measure, Measure]:
    """Measure brightness, contrast and sharpness of every image.

    Sharpness is the variance of the Laplacian, the usual focus measure: low for blurred pictures,
    high for crisp and for noisy ones. It grows with contrast too, so a low one alone proves no
    blur. Source: Pech-Pacheco et al. 2000, https://doi.org/10.1109/ICPR.2000.903548

    Args:
        images: ``(N, H, W)`` uint8 grey levels, at least one, of 3×3 pixels or more.

    Returns:
        The three, in this order.
    """
    brightness = np.empty(len(images), np.float32)
    contrast, sharpness = np.empty_like(brightness), np.empty_like(brightness)
    for where in blocks(len(images)):
        block = images[where].astype(np.int16)
        brightness[where], variance = _mean_variance(block)
        contrast[where] = np.sqrt(variance)
        _, sharpness[where] = _mean_variance(_laplacian(block))
    return (
        _measure("brightness", "mean grey level, 0 black to 255 white", brightness),
        _measure("contrast", "standard deviation of the grey levels", contrast),
        _measure(
            "sharpness",
            "variance of the Laplacian: low is blurred or empty, high is crisp or noisy",
            sharpness,
            logarithmic=True,
        ),
    )


def is_flat(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return ``(N,)`` which of ``(N, H, W)`` pictures are of one colour and so show nothing."""
    flat: npt.NDArray[np.bool_] = images.min(axis=(1, 2)) == images.max(axis=(1, 2))
    return flat


def blocks(count: int) -> Iterator[slice]:
    """Yield slices of :data:`BLOCK` images that together cover ``count``."""
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


def _mean_variance(
    block: npt.NDArray[np.int16],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return each image's mean and variance; half as slow as numpy's own along two axes."""
    rows = block.reshape(len(block), -1).astype(np.float32)
    means = rows.mean(axis=1)
    rows -= means[:, None]
    return means, np.einsum("ij,ij->i", rows, rows) / rows.shape[1]


def _laplacian(block: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Return ``(n, H - 2, W - 2)`` four-neighbour Laplacians, where all neighbours exist."""
    edges = -4 * block[:, 1:-1, 1:-1]
    edges += block[:, :-2, 1:-1]
    edges += block[:, 2:, 1:-1]
    edges += block[:, 1:-1, :-2]
    edges += block[:, 1:-1, 2:]
    return edges


def _measure(
    name: str, definition: str, values: npt.NDArray[np.float32], *, logarithmic: bool = False
) -> Measure:
    """Put Tukey's limits around the values, on a log scale where they are skewed."""
    scaled = np.log1p(values.astype(np.float64)) if logarithmic else values.astype(np.float64)
    lower, upper = np.quantile(scaled, (0.25, 0.75))
    reach = TUKEY * (upper - lower)
    low, high = lower - reach, upper + reach
    if logarithmic:
        low, high = np.expm1(low), np.expm1(high)
    first, middle, third = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return Measure(
        name=name,
        definition=definition,
        values=values,
        quartiles=(first, middle, third),
        # There and back through the logarithm may end a rounding inside equal quartiles.
        low=max(0.0, min(float(low), first)),
        high=max(float(high), third),
        logarithmic=logarithmic,
    )
