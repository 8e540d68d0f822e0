"""Near copies: the same picture scaled, saved again, mirrored, moved by a pixel or two, lit anew.

Found in two steps. Each face becomes a point: small, smooth and with its brightness and contrast
taken out, on the leading principal components of all. Faces within a radius of each other, which
a grid over the first coordinates finds without comparing all pairs, are candidates; a projection
only ever brings points closer, so it loses none. Then each candidate is checked on its pixels: the
normalised correlation at the best of 25 small shifts.

Source: for the first step Faloutsos et al. 1994, "Fast subsequence matching in time-series
databases", https://doi.org/10.1145/191839.191925
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.data import ExpressionDataset
from mien.data.duplicates import Duplicates, count_copies, group_copies
from mien.data.measures import blocks, is_flat

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

#: Pixels that are averaged into one of the small picture, along each side.
_REDUCTION: Final = 3
#: Coordinates of a point: they hold 92 % of the energy of FER2013's small pictures.
_COORDINATES: Final = 24
#: Coordinates that the grid is laid over; its cells are as wide as the radius.
_GRID: Final = 4
#: Distance of points, that of unit vectors. A face moved by one pixel is 0.13 away (median of
#: 1,000 of FER2013's Training; 0.24 at the 99th percentile), two different faces 1.2.
_RADIUS: Final = 0.3
#: A face is looked for as it is and moved diagonally, so that moves of two pixels are within
#: the radius. The opposite moves come from the other face of a pair.
_MOVES: Final = ((0, 0), (1, 1), (1, -1))
#: Largest shift in pixels that a pair is compared at, along each axis.
_SHIFT: Final = 2
#: Smallest correlation of a near copy. Of 20 pairs of FER2013 between 0.92 and 0.93 all were, seen
#: as pictures, and of 20 between 0.91 and 0.92 three were not.
_CORRELATION: Final = 0.93
#: Points at a time: a row of distances to a thousand others each fits into a processor's cache.
_ROWS: Final = 256


@dataclass(frozen=True, eq=False, kw_only=True)
class NearDuplicates:
    """Near copies of a data set; exact ones are left to :mod:`mien.data.duplicates`.

    Attributes:
        pairs: ``(P, 2)`` int64 images that are near copies of each other, the earlier first and
            surest pairs before others. Of exact copies only the first is ever named.
        correlations: ``(P,)`` float32 of their pixels, at most 1.
        mirrored: ``(P,)`` whether one must be mirrored to be like the other.
        group_of: ``(N,)`` int64; images with the same number are exact or near copies. Each is
            one of the same face in its group, so that no chain of small steps joins two faces.
        duplicates: What that grouping amounts to, exact copies included.
    """

    pairs: Indices
    correlations: Array
    mirrored: npt.NDArray[np.bool_]
    group_of: Indices
    duplicates: Duplicates


def find_near_duplicates(dataset: ExpressionDataset) -> NearDuplicates:
    """Find images that nearly show the same pixels, in 12 s of one core for FER2013's 32,298 faces.

    Of 1,000 of them each varied, it found all that were saved again as JPEG of quality 75,
    mirrored or moved by a pixel, 999 that were made darker or brighter by 8 levels, 996 scaled to
    32×32 and back, 960 mirrored and moved by two pixels and 877 moved by two both ways. Seen as
    pictures, all of 100 pairs drawn at random from those above 0.95 were copies, and all of 20
    between 0.93 and 0.95.
    """
    exact = group_copies(dataset.images)
    first_of = np.unique(exact, return_index=True)[1]
    shown = first_of[~is_flat(dataset.images[first_of])]
    images = dataset.images[shown]
    pairs, correlations, mirrored = _verify(images, *_candidates(images))
    named = shown[pairs]
    star = np.arange(len(dataset))
    star[shown] = shown[_stars(pairs, len(shown))]
    group_of = star[first_of[exact]]
    return NearDuplicates(
        pairs=named,
        correlations=correlations,
        mirrored=mirrored,
        group_of=group_of,
        duplicates=count_copies(group_of, dataset.labels, dataset.split_codes),
    )


def _candidates(images: npt.NDArray[np.uint8]) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Return ``(P, 2)`` pairs of images whose points are close, and which of them mirrored."""
    small = _points(images)
    values, vectors = np.linalg.eigh(small.T @ small)
    axes = vectors[:, np.argsort(-values)[:_COORDINATES]]
    points = small @ axes
    found: list[Indices] = [np.empty((0, 3), np.int64)]
    for mirrored, (down, right) in product((False, True), _MOVES):
        queries = np.roll(images, (down, right), axis=(1, 2))
        projected = _points(queries[:, :, ::-1] if mirrored else queries) @ axes
        for first, second in _close(projected, points):
            pairs = np.sort(np.stack([first, second], axis=1), axis=1)
            marked = np.column_stack([pairs, np.full(len(pairs), mirrored)])
            found.append(marked[pairs[:, 0] < pairs[:, 1]])
    unique = np.unique(np.concatenate(found), axis=0)
    return unique[:, :2], unique[:, 2].astype(np.bool_)


def _points(images: npt.NDArray[np.uint8]) -> Array:
    """Return ``(N, D)`` small smooth pictures as vectors of mean 0 and length 1."""
    side = images.shape[1] // _REDUCTION
    points = np.empty((len(images), side * side), np.float32)
    for where in blocks(len(images)):
        strips = images[where].reshape(-1, side, _REDUCTION, images.shape[2])
        tiles = strips.sum(axis=2, dtype=np.float32).reshape(-1, side, side, _REDUCTION)
        small = np.pad(tiles.sum(axis=3), ((0, 0), (1, 1), (1, 1)), "edge")
        rows = small[:, :-2] + 2 * small[:, 1:-1] + small[:, 2:]
        smooth = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
        points[where] = _unit(smooth.reshape(len(smooth), -1))
    return points


def _unit(rows: Array) -> Array:
    """Return vectors less their mean, of length 1; those of one value stay 0."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths: Array = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-3)


def _close(queries: Array, points: Array) -> Iterator[tuple[Indices, Indices]]:
    """Yield indices of queries and of points that are within the radius of each other."""
    cells, members = np.unique(_cells(points), axis=0, return_inverse=True)
    inside = [np.flatnonzero(members.ravel() == number) for number in range(len(cells))]
    asked, askers = np.unique(_cells(queries), axis=0, return_inverse=True)
    # |q - p|² < r² is q·p - |p|²/2 + (r² - |q|²)/2 > 0: one product of longer vectors.
    ones = np.ones((len(points), 1), np.float32)
    lifted = np.hstack([points, -_halved_squares(points), ones])
    reach = _RADIUS**2 / 2 - _halved_squares(queries)
    asking = np.hstack([queries, np.ones((len(queries), 1), np.float32), reach])
    for number, cell in enumerate(asked):
        # What is within a cell's width lies in the cell itself or in one that touches it.
        near = np.flatnonzero((np.abs(cells - cell) <= 1).all(axis=1))
        if not len(near):
            continue
        others = np.concatenate([inside[each] for each in near])
        there = lifted[others].T
        here = np.flatnonzero(askers.ravel() == number)
        for start in range(0, len(here), _ROWS):
            some = here[start : start + _ROWS]
            first, second = np.divmod(np.flatnonzero(asking[some] @ there > 0), len(others))
            yield some[first], others[second]


def _halved_squares(rows: Array) -> Array:
    halved: Array = np.einsum("ij,ij->i", rows, rows)[:, None] / 2
    return halved


def _cells(points: Array) -> Indices:
    cells: Indices = np.floor(points[:, :_GRID] / _RADIUS).astype(np.int64)
    return cells


def _verify(
    images: npt.NDArray[np.uint8], pairs: Indices, mirrored: npt.NDArray[np.bool_]
) -> tuple[Indices, Array, npt.NDArray[np.bool_]]:
    """Return the pairs whose pixels are alike, their correlations and which are mirrored."""
    correlations = np.empty(len(pairs), np.float32)
    for where in blocks(len(pairs)):
        first, second = images[pairs[where]].swapaxes(0, 1).astype(np.float32)
        turned = np.where(mirrored[where, None, None], first[:, :, ::-1], first)
        correlations[where] = _best_correlation(turned, second)
    order = np.argsort(-correlations, kind="stable")
    order = order[correlations[order] >= _CORRELATION]
    # A symmetric face may be like another both ways: the better one comes first and is kept.
    _, kept = np.unique(pairs[order], axis=0, return_index=True)
    order = order[np.sort(kept)]
    return pairs[order], correlations[order], mirrored[order]


def _best_correlation(first: Array, second: Array) -> Array:
    """Return ``(n,)`` the highest correlation of ``(n, H, W)`` pictures over small shifts.

    Each shift compares all the pixels that both pictures have, less a border that is the same
    at every shift.
    """
    height, width = (side - 2 * _SHIFT for side in first.shape[1:])
    middle = first[:, _SHIFT : _SHIFT + height, _SHIFT : _SHIFT + width]
    fixed = _unit(middle.reshape(len(first), -1)).reshape(middle.shape)
    # Without its mean a window's variance is exact enough in single precision.
    second = second - second.mean(axis=(1, 2), keepdims=True)
    best = np.full(len(first), -1.0, np.float32)
    for down, right in product(range(2 * _SHIFT + 1), repeat=2):
        window = second[:, down : down + height, right : right + width]
        squares = np.einsum("ijk,ijk->i", window, window)
        spread = squares - np.einsum("ijk->i", window) ** 2 / (height * width)
        # A window of one colour is like nothing; fixed has no mean, so the window's may stay.
        found = np.einsum("ijk,ijk->i", fixed, window) / np.sqrt(spread.clip(1))
        np.maximum(best, found, out=best)
    return best.clip(-1, 1)


def _stars(pairs: Indices, count: int) -> Indices:
    """Return ``(count,)`` the centre of each one's group, which is a pair with all its members.

    Those with the most near copies are centres first; joining whatever a chain of pairs links
    would put faces into one group that are not alike at all.
    """
    centres = np.arange(count)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    degrees = np.bincount(both[:, 0], minlength=count)
    starts = np.concatenate([[0], np.cumsum(degrees)])
    taken = np.zeros(count, np.bool_)
    for centre in np.argsort(-degrees, kind="stable")[: int((degrees > 0).sum())]:
        if taken[centre]:
            continue
        members = both[starts[centre] : starts[centre + 1], 1]
        members = np.append(members[~taken[members]], centre)
        taken[members] = True
        centres[members] = centre
    return centres
