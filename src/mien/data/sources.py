"""``load_dataset``: what a path is, and the reader for it."""

import hashlib
from dataclasses import replace
from pathlib import Path

from mien.data.dataset import ExpressionDataset
from mien.data.fer2013_csv import read_fer2013_csv
from mien.errors import DataError


def load_dataset(path: Path) -> ExpressionDataset:
    """Read a data set from a CSV file.

    Raises:
        DataError: There is no such file, or it is not readable as one.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        dataset = read_fer2013_csv(file, source=path.name, gzipped=path.suffix == ".gz")
    return replace(dataset, fingerprint=fingerprint)
