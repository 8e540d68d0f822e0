"""A data set in one ``.npz`` file: plain arrays and JSON, never a pickle."""

import json
import os
from pathlib import Path
from typing import Final

import numpy as np

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.expressions import FERPLUS_COLUMNS

#: Goes up whenever the arrays, or what the readers make of the same source, change.
FORMAT: Final = 1


def save_dataset(dataset: ExpressionDataset, path: str | os.PathLike[str]) -> None:
    """Write a data set to a ``.npz`` file, whole or not at all.

    The pixels stay uncompressed: that reads back in a tenth of a second, and compression would
    save a third of the space for twenty times the wait.

    Raises:
        DataError: The file cannot be written.
    """
    meta = {
        "format": FORMAT,
        "classes": dataset.classes,
        "fingerprint": dataset.fingerprint,
    }
    votes = dataset.votes
    try:
        # An open file, since np.savez would add its suffix to a name without one.
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                images=dataset.images,
                labels=dataset.labels,
                split_codes=dataset.split_codes,
                names=dataset.names,
                votes=np.empty((0, len(FERPLUS_COLUMNS)), np.uint8) if votes is None else votes,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
            )
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_dataset(path: str | os.PathLike[str]) -> ExpressionDataset:
    """Read a file written by :func:`save_dataset`.

    Raises:
        DataError: The file is missing, damaged, or not one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            if meta["format"] != FORMAT:
                raise DataError(
                    f"{path}: written in format {meta['format']}, this version reads {FORMAT}; "
                    "prepare it again"
                )
            votes = file["votes"]
            return ExpressionDataset(
                images=file["images"],
                labels=file["labels"],
                split_codes=file["split_codes"],
                names=file["names"],
                classes=tuple(meta["classes"]),
                votes=votes if len(votes) else None,
                fingerprint=meta["fingerprint"],
            )
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except Exception as error:
        # Damage shows in many ways: BadZipFile, zlib.error, NotImplementedError, MemoryError …
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: damaged, or not a data set that mien wrote ({reason})") from error
