"""Balancing: as many faces of every class, by leaving some out and varying others.

Source: the recipe of Hejslet and Vetterstein 2025 for FER2013.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.image_tree import FOLDER_OF_SPLIT
from mien.errors import DataError
from mien.preprocess import FACE_SIZE

#: What a varied copy's name has between its original's and a number.
VARIED: Final = " varied "


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a face that stands in for a missing one differs from its original.

    Attributes:
        flip: Probability of mirroring left and right.
        rotation_deg: Largest rotation either way; borders are reflected.
        zoom: Smallest and largest zoom.
        contrast: Smallest and largest contrast around the face's mean.
        brightness_levels: Most grey levels added or taken away.
        noise_levels: Standard deviation of Gaussian noise in grey levels.
        noise_probability: Probability that a face gets noise.
    """

    flip: float = 0.5
    rotation_deg: float = 15.0
    zoom: tuple[float, float] = (0.95, 1.08)
    contrast: tuple[float, float] = (0.9, 1.1)
    brightness_levels: float = 8.0
    noise_levels: float = 3.0
    noise_probability: float = 0.3


def balance(
    dataset: ExpressionDataset,
    target: int,
    *,
    seed: int = 0,
    split: str = "Training",
    variation: Variation | None = None,
) -> ExpressionDataset:
    """Return the data set with exactly ``target`` faces of every class in one split.

    A class with more loses faces at random. One with fewer keeps all and gains varied copies, of
    each face in turn. Other splits stay as they are and come after.

    Args:
        dataset: The faces. FER+ votes go along with varied copies.
        target: Faces a class.
        seed: Which faces are left out and how the others vary.
        split: The split to balance; what is chosen or reported on must not be.
        variation: How copies vary; as published when left out.

    Raises:
        DataError: A class has no face in the split to vary.
        ValueError: ``target`` is below 1, or there is no such split.
    """
    if target < 1:
        raise ValueError(f"target must be 1 or more, got {target}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    rng = np.random.default_rng(seed)
    chosen, varied = [], []
    here = dataset.split_codes == SPLITS.index(split)
    for label, name in enumerate(dataset.classes):
        where = rng.permutation(np.flatnonzero(here & (dataset.labels == label)))
        if not len(where):
            raise DataError(f"no {split} face is {name!r}, so there is none to vary")
        chosen.append(np.sort(where[:target]))
        varied.append(np.resize(where, max(0, target - len(where))))
    copies = _vary(dataset.take(np.concatenate(varied)), variation or Variation(), rng)
    others = np.flatnonzero(~here)
    return _join([dataset.take(np.concatenate(chosen)), copies, dataset.take(others)])


def write_image_tree(dataset: ExpressionDataset, folder: Path) -> None:
    """Write faces as PNG files, ``train/happy/00017.png``, which read back to the same pixels.

    A varied copy is named after its original's file, ``00017.png varied 28711.png``, so that the
    two are known to be one face when they are read back.

    Args:
        dataset: The faces.
        folder: A new or empty folder; it is there whole or not at all.

    Raises:
        DataError: The folder has something in it or cannot be written, or a class has a name
            that no folder can have.
    """
    for name in dataset.classes:
        if name in (".", "..") or {"/", "\\", "\0"} & set(name):
            raise DataError(f"the class {name!r} cannot be the name of a folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not empty: name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            whole = Path(temporary, folder.name)
            _write_faces(dataset, whole)
            if folder.exists():
                folder.rmdir()  # Windows puts nothing in the place of a folder, even an empty one
            whole.replace(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _write_faces(dataset: ExpressionDataset, folder: Path) -> None:
    folder.mkdir()
    for image, label, code, name in zip(
        dataset.images, dataset.labels, dataset.split_codes, _file_names(dataset), strict=True
    ):
        there = folder / FOLDER_OF_SPLIT[SPLITS[code]] / dataset.classes[label]
        there.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(there / name)


def _file_names(dataset: ExpressionDataset) -> list[str]:
    """Return each face's file name: its number, and before it its original's if it is a copy.

    Where the original is not there, as when an earlier balancing left it out, the first of its
    copies stands for it.
    """
    width = len(str(len(dataset)))
    names = [f"{number:0{width}d}.png" for number in range(len(dataset))]
    is_varied = np.array([VARIED in name for name in dataset.names], np.bool_)
    first: dict[tuple[str, int, int], str] = {}
    for number in np.argsort(is_varied, kind="stable"):  # originals before copies
        original = dataset.names[number].partition(VARIED)[0]
        folder = int(dataset.split_codes[number]), int(dataset.labels[number])
        stands_for_it = first.setdefault((original, *folder), names[number])
        if is_varied[number] and stands_for_it != names[number]:
            names[number] = f"{stands_for_it}{VARIED}{names[number]}"
    return names


def _vary(
    faces: ExpressionDataset, variation: Variation, rng: np.random.Generator
) -> ExpressionDataset:
    """Return each face varied, named after its original."""
    images = np.empty_like(faces.images)
    for out, image in zip(images, faces.images, strict=True):
        out[:] = _vary_face(image, variation, rng)
    names = [f"{name}{VARIED}{number}" for number, name in enumerate(faces.names, start=1)]
    return replace(faces, images=images, names=np.array(names, np.str_))


def _vary_face(
    image: npt.NDArray[np.uint8], variation: Variation, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return a ``(48, 48)`` face varied."""
    if rng.random() < variation.flip:
        image = image[:, ::-1]
    turned = _turn(
        image,
        angle_deg=rng.uniform(-variation.rotation_deg, variation.rotation_deg),
        zoom=rng.uniform(*variation.zoom),
    ).astype(np.float64)
    mean = turned.mean()
    brightness = rng.uniform(-variation.brightness_levels, variation.brightness_levels)
    levels = (turned - mean) * rng.uniform(*variation.contrast) + mean + brightness
    if rng.random() < variation.noise_probability:
        levels += rng.normal(0.0, variation.noise_levels, levels.shape)
    varied: npt.NDArray[np.uint8] = levels.round().clip(0, 255).astype(np.uint8)
    return varied


def _turn(image: npt.NDArray[np.uint8], *, angle_deg: float, zoom: float) -> npt.NDArray[np.uint8]:
    """Rotate and zoom about the middle; what comes in from outside is the face reflected."""
    margin = FACE_SIZE // 2
    framed = Image.fromarray(np.pad(image, margin, mode="symmetric"))
    cosine, sine = np.cos(np.radians(angle_deg)) / zoom, np.sin(np.radians(angle_deg)) / zoom
    middle, half = margin + FACE_SIZE / 2, FACE_SIZE / 2
    matrix = (
        *(cosine, sine, middle - half * (cosine + sine)),
        *(-sine, cosine, middle - half * (cosine - sine)),
    )
    size = (FACE_SIZE, FACE_SIZE)
    return np.asarray(
        framed.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )


def _join(parts: list[ExpressionDataset]) -> ExpressionDataset:
    first = parts[0]

    def all_of(name: str) -> npt.NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    votes = None if first.votes is None else all_of("votes")
    arrays = {name: all_of(name) for name in ("images", "labels", "split_codes", "names")}
    return replace(first, **arrays, votes=votes)  # type: ignore[arg-type]
