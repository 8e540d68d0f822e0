"""Pictures sorted into one folder per class, on disk or in a zip."""

import io
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.row_problems import RowProblem, leave_out, note_problem
from mien.errors import DataError, MediaError
from mien.expressions import EXPRESSIONS, parse_expression
from mien.folders import walk_files
from mien.pictures import decode_picture, is_picture
from mien.preprocess import FACE_SIZE, resize_face, to_gray

logger = logging.getLogger(__name__)

#: Larger files and pictures are refused: no crop of a face comes near, a bomb does.
MAX_IMAGE_BYTES: Final = 64 << 20
_MAX_PIXELS: Final = 64_000_000

#: Folder names that mean a split. Who has one held-out folder only, ``test``, reports on it.
_SPLIT_FOLDERS: Final = MappingProxyType(
    {
        "train": "Training",
        "training": "Training",
        "val": "PublicTest",
        "valid": "PublicTest",
        "validation": "PublicTest",
        "dev": "PublicTest",
        "publictest": "PublicTest",
        "test": "PrivateTest",
        "testing": "PrivateTest",
        "privatetest": "PrivateTest",
    }
)
#: The folder that a split is written to, and read back from.
FOLDER_OF_SPLIT: Final = MappingProxyType(
    {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
)
_KAGGLE_NAME: Final = re.compile(rf"({'|'.join(SPLITS)})_\d+\.\w+")


def is_kaggle_name(name: str) -> bool:
    """Whether a picture is named as in Kaggle's folder of FER2013, ``Training_123.jpg``."""
    return _kaggle_split(name) is not None


def list_images(folder: Path) -> dict[str, os.stat_result]:
    """Return the pictures under a folder, by relative path with ``/``, sorted.

    Raises:
        OSError: A folder cannot be read, or a link to a picture leads nowhere.
    """
    return {name: (folder / name).stat() for name in walk_files(folder, is_picture)}


def read_image_tree(
    paths: Sequence[str],
    read: Callable[[str], bytes],
    *,
    source: str,
    own_classes: bool = False,
    problems: list[RowProblem] | None = None,
) -> ExpressionDataset:
    """Decode pictures in class folders to grey 48×48 faces.

    The class is the name of the folder that a picture lies in, by any spelling that
    :func:`mien.expressions.parse_expression` knows. Where none of the names is one or nearly
    one, they are classes of the user's own, in alphabetical order. The split is told by a Kaggle
    file name (``PublicTest_123.jpg``), else by a folder above (``train``, ``val``, ``test``),
    else it is Training.

    Args:
        paths: Relative paths with ``/``.
        read: Returns a path's bytes.
        source: What to call the whole in messages.
        own_classes: Take the names as they are even where some are expressions.
        problems: An empty list to fill: pictures that cannot be read are then left out.

    Raises:
        DataError: Some folders are expressions and some are not, or a picture is damaged, the
            message names it; or no picture is left.
    """
    folders = [path.rpartition("/")[0] for path in paths]
    class_of = {folder: _class_name(folder, source) for folder in sorted(set(folders))}
    classes, label_of = _labels(class_of, source, own=own_classes)
    split_of = {folder: _folder_split(folder) for folder in label_of}
    images = _read_faces(paths, read, source, problems)
    splits = [
        _kaggle_split(path) or split_of[folder] for path, folder in zip(paths, folders, strict=True)
    ]
    if set(splits) == {"Training"}:
        logger.info("%s: no splits by folder or file name, so all is Training", source)
    dataset = ExpressionDataset(
        images=images,
        labels=np.array([label_of[folder] for folder in folders], np.int64),
        split_codes=np.array([SPLITS.index(split) for split in splits], np.uint8),
        names=np.array(paths),
        classes=classes,
    )
    return leave_out(dataset, problems, source=source) if problems else dataset


def _read_faces(
    paths: Sequence[str],
    read: Callable[[str], bytes],
    source: str,
    problems: list[RowProblem] | None,
) -> npt.NDArray[np.uint8]:
    """Decode pictures; a black one stands in for each that cannot be read, which is told of."""
    images = np.zeros((len(paths), FACE_SIZE, FACE_SIZE), np.uint8)
    for face, path in zip(images, paths, strict=True):
        data = None
        try:
            data = read(path)
            face[:] = _decode(data, f"{source}: {path}")
        except DataError as error:
            reason = str(error).rpartition(f"{path}: ")[2]
            problem = RowProblem(name=path, column="pixels", missing=data == b"", reason=reason)
            note_problem(problem, problems, refusal=str(error))
    return images


def _class_name(folder: str, source: str) -> str:
    name = folder.rpartition("/")[2]
    if not name or name.lower() in _SPLIT_FOLDERS:
        raise DataError(
            f"{source}: pictures lie directly in {folder or 'it'}, expected a folder for "
            f"each class: {', '.join(EXPRESSIONS)}, or your own"
        )
    return name


def _labels(
    class_of: Mapping[str, str], source: str, *, own: bool
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes, and each folder's label."""
    known, wrong = {}, {}
    for folder, name in class_of.items():
        try:
            known[folder] = EXPRESSIONS.index(parse_expression(name))
        except ValueError as error:
            wrong[folder] = str(error)
    misspelt = any("did you mean" in reason for reason in wrong.values())
    if own or (wrong and not known and not misspelt):
        classes = tuple(sorted(set(class_of.values())))
        return classes, {folder: classes.index(name) for folder, name in class_of.items()}
    for folder, reason in wrong.items():
        raise DataError(
            f"{source}: folder {folder}: {reason}; for classes of your own say --own-classes, "
            "in Python own_classes=True"
        ) from None
    return EXPRESSIONS, known


def _kaggle_split(path: str) -> str | None:
    named = _KAGGLE_NAME.fullmatch(path.rpartition("/")[2])
    return named[1] if named else None


def _folder_split(folder: str) -> str:
    """Return the split that the nearest folder above a class folder names."""
    for above in folder.split("/")[-2::-1]:
        split = _SPLIT_FOLDERS.get(above.lower())
        if split:
            return split
    return "Training"


def _decode(data: bytes, source: str) -> npt.NDArray[np.uint8]:
    """Decode one picture of any size and mode to a grey ``(48, 48)`` face."""
    try:
        image = decode_picture(io.BytesIO(data), source, max_pixels=_MAX_PIXELS)
    except MediaError as error:
        raise DataError(str(error)) from error
    pixels = np.asarray(image)
    return resize_face(pixels if image.mode == "L" else to_gray(pixels))
