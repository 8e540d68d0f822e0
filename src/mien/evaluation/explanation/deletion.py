"""Whether highlighted pixels matter: a reading watched while they are taken away."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from mien.analysis.classifier import softmax
from mien.evaluation.explanation.network import FaceReader

#: Shares of a face that are replaced, closer together where the curves part. Beyond half of it the
#: orders all come to the same blurred face, of which a model may think anything.
FRACTIONS: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)

#: The share whose probabilities a verdict names.
_TOLD: Final = 0.2

#: Of a single face: random orders that an opinion takes, and the shares of them that are between
#: one opinion and the other.
_FEWEST_DRAWS: Final = 20
_UNCLEAR: Final = (0.05, 0.95)

#: Pixels, a sixth of a face: after it, eyes and mouth are shadows.
_BLUR_RADIUS: Final = 8

#: Side of the grid that random areas are drawn on, as coarse as Grad-CAM's maps are.
_COARSE: Final = 4


@dataclass(frozen=True, kw_only=True)
class DeletionCheck:
    """A class's mean probability while pixels are replaced, in three orders.

    Attributes:
        fractions: Shares of the face replaced, rising, 0 to 1.
        highlighted: Mean probability after each, the highest values of the map replaced first.
        random: Likewise, random areas first.
        least: Likewise, the lowest values of the map first.
        gap: How far the random curve's area is above the highlighted one's, mean over the faces.
        gap_error: Standard error of that mean; of a single face 0, since there is no other.
        wins: Share of all random orders whose curve's area is above the highlighted one's; one of
            the same area is half a win.
        count: Faces.
        draws: Random orders a face.
        seed: What they were drawn by.
    """

    fractions: tuple[float, ...]
    highlighted: tuple[float, ...]
    random: tuple[float, ...]
    least: tuple[float, ...]
    gap: float
    gap_error: float
    wins: float
    count: int
    draws: int
    seed: int

    @property
    def areas(self) -> dict[str, float]:
        """Area under each curve, 0 to 1: its mean over the shares replaced."""
        return {
            name: float(_areas(np.array(getattr(self, name)), self.fractions))
            for name in ("highlighted", "random", "least")
        }

    @property
    def matters(self) -> bool | None:
        """Whether highlighted pixels matter more than random ones; None where it is not clear.

        Clear is a gap of two standard errors; of a single face, 19 of 20 random orders on the same
        side, for which it needs that many.
        """
        if self.count == 1:
            # A mean gap that one draw decides says the contrary of most: it must say the same.
            most = self.wins >= _UNCLEAR[1] if self.gap > 0 else self.wins <= _UNCLEAR[0]
            clear = self.draws >= _FEWEST_DRAWS and most
        else:
            clear = abs(self.gap) > 2 * self.gap_error
        return self.gap > 0 if clear and self.gap else None

    def verdict(self) -> str:
        """Return in a sentence whether the highlighted pixels matter."""
        told = int(np.abs(np.array(self.fractions) - _TOLD).argmin())
        share = f"{100 * self.fractions[told]:.0f} %"
        start, end = self.highlighted[0], self.highlighted[told]
        facts = (
            f"with the most highlighted {share} blurred, the probability goes from {start:.2f} to "
            f"{end:.2f}; with random areas as large, to {self.random[told]:.2f}"
        )
        if self.count == 1:
            won = round(self.wins * self.draws)
            facts += f" on average; it falls faster than for {won} of {self.draws} such areas"
        opinion = {
            True: "The highlighted pixels matter",
            False: "The highlighted pixels matter less than others",
            None: "The highlighted pixels are not seen to matter more than others",
        }[self.matters]
        return f"{opinion}: {facts}."

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain JSON types."""
        return {
            "fractions": list(self.fractions),
            "highlighted": list(self.highlighted),
            "random": list(self.random),
            "least": list(self.least),
            "areas": self.areas,
            "gap": self.gap,
            "gap_error": self.gap_error,
            "wins": self.wins,
            "matters": self.matters,
            "verdict": self.verdict(),
            "count": self.count,
            "draws": self.draws,
            "seed": self.seed,
        }


def deletion_check(
    model: FaceReader,
    images: npt.NDArray[np.uint8],
    maps: npt.NDArray[np.float32],
    *,
    classes: npt.NDArray[np.integer] | None = None,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = 1,
    seed: int = 0,
) -> DeletionCheck:
    """Watch a class's probability fall as a face's pixels are replaced, step by step.

    A pixel is replaced by the same one of the blurred face, which takes features away and adds no
    edges. Random pixels go in areas as smooth as the maps: single ones, strewn over the face, are
    noise, which a network minds by itself (0.35 of probability left on average, against 0.39).

    Source: Petsiuk et al. 2018 (RISE), https://arxiv.org/abs/1806.07421; Samek et al. 2017,
    https://arxiv.org/abs/1509.06321

    Args:
        model: What reads the faces.
        images: ``(N, 48, 48)`` grey faces, N at least 1.
        maps: ``(N, 48, 48)`` how much each pixel is highlighted.
        classes: ``(N,)`` index of the class that each map is for; by default the one read.
        fractions: Shares of the face to replace, rising, 0 to 1, two or more.
        draws: Random orders a face; of few faces take some, since any one may hit the mouth.
        seed: The same seed gives the same random areas.

    Raises:
        ValueError: There is no face, or maps, classes, fractions or draws are not as said.
    """
    steps = np.array(fractions, np.float64)
    if not len(images) or maps.shape != images.shape or draws < 1:
        raise ValueError(
            f"expected faces, as many maps, and 1 draw or more, got {images.shape}, {maps.shape}, "
            f"{draws}"
        )
    if len(steps) < 2 or steps[0] < 0 or steps[-1] > 1 or (np.diff(steps) <= 0).any():
        raise ValueError(f"fractions must rise from 0 to at most 1, got {tuple(fractions)}")
    if classes is None:
        classes = model.logits(images).argmax(axis=1)
    elif classes.shape != (len(images),):
        raise ValueError(f"expected {len(images)} classes, one a face, got {classes.shape}")
    rng = np.random.default_rng(seed)
    areas = _random_areas(rng, (draws, *images.shape))
    watch = _Watch(model, images, np.asarray(classes, np.int64), steps)
    highlighted = watch.curves(-maps[None], areas[:1])
    least = watch.curves(maps[None], areas[:1])
    random = watch.curves(areas, areas)
    gaps = _areas(random, fractions) - _areas(highlighted, fractions)
    return DeletionCheck(
        fractions=tuple(float(step) for step in steps),
        highlighted=_mean_curve(highlighted),
        random=_mean_curve(random),
        least=_mean_curve(least),
        gap=float(gaps.mean()),
        gap_error=_error(gaps),
        wins=float((np.sign(gaps).mean() + 1) / 2),
        count=len(images),
        draws=draws,
        seed=seed,
    )


class _Watch:
    """Reads faces with shares of them replaced."""

    def __init__(
        self,
        model: FaceReader,
        images: npt.NDArray[np.uint8],
        classes: npt.NDArray[np.int64],
        steps: npt.NDArray[np.float64],
    ) -> None:
        self._model = model
        self._images = images
        self._blurred = _blur(images)
        self._classes = classes
        self._steps = steps
        self._whole = self._read(images[None])  # where all orders begin

    def curves(
        self, values: npt.NDArray[np.float32], ties: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """Return ``(D, N, F)`` probabilities after each step, the lowest ``values`` replaced first.

        Args:
            values: ``(D, N, 48, 48)``: D orders of each face's pixels.
            ties: Likewise; decides between pixels of equal value, as half of a map may be.
        """
        pixels = self._images[0].size
        flat = (*values.shape[:2], pixels)
        order = np.lexsort((ties.reshape(flat), values.reshape(flat)))
        ranks = np.argsort(order, axis=-1).reshape(values.shape)
        shown = []
        for step in self._steps.tolist():
            gone = ranks < round(step * pixels)
            replaced = np.where(gone, self._blurred, self._images)
            shown.append(self._read(replaced) if step else np.tile(self._whole, (len(values), 1)))
        return np.stack(shown, axis=-1)

    def _read(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return ``(D, N)`` probabilities of ``(D, N, 48, 48)`` faces."""
        logits = self._model.logits(images.reshape(-1, *images.shape[2:]))
        classes = np.tile(self._classes, len(images))
        probabilities = softmax(logits)[np.arange(len(classes)), classes].astype(np.float64)
        return probabilities.reshape(images.shape[:2])


def _blur(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    gaussian = ImageFilter.GaussianBlur(_BLUR_RADIUS)
    return np.stack([np.asarray(Image.fromarray(image).filter(gaussian)) for image in images])


def _random_areas(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return smooth random maps ``(draws, N, H, W)``: coarse noise, enlarged.

    Of the noise a window at any place is taken, off its border: enlarged as it stands, its extremes
    lie in the corners, where faces have nothing to lose (they went first 4.6 times as often as the
    middle), and any map of the middle would seem to matter.
    """
    height, width = shape[-2:]
    count, cells = math.prod(shape[:-2]), _COARSE + 2
    noise = rng.random((count, cells, cells), np.float32)
    # Bilinear values are between four cells from half a cell off the border on.
    corners = rng.uniform(0.5, 1.5, (count, 2)).tolist()
    smooth = [
        Image.fromarray(one).resize(
            (width, height),
            Image.Resampling.BILINEAR,
            (left, top, left + _COARSE, top + _COARSE),
        )
        for one, (left, top) in zip(noise, corners, strict=True)
    ]
    return np.stack([np.asarray(one) for one in smooth]).reshape(shape)


def _areas(curves: npt.NDArray[np.float64], fractions: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the area under curves ``(..., F)``, as a share of the steps' range."""
    steps = np.asarray(fractions, np.float64)
    heights = (curves[..., 1:] + curves[..., :-1]) / 2
    areas: npt.NDArray[np.float64] = heights @ np.diff(steps) / (steps[-1] - steps[0])
    return areas


def _error(gaps: npt.NDArray[np.float64]) -> float:
    """Return the standard error of the mean of ``(draws, N)`` gaps.

    A face's draws are averaged, since they are no evidence of other faces.
    """
    count = gaps.shape[1]
    return float(gaps.mean(axis=0).std(ddof=1) / count**0.5) if count > 1 else 0.0


def _mean_curve(curves: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Return the mean of curves ``(D, N, F)``."""
    return tuple(float(value) for value in curves.mean(axis=(0, 1)))
