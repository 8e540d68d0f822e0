"""Weights that a package fetches at run time: its own where they lie, else random ones."""

import os
from pathlib import Path


def settle_weights(file: str, folder: Path) -> str:
    """Point the package at a weight file; return ``"own"`` or ``"random"``.

    Nothing is fetched: who has a package's own weights puts them below ``folder/home``, which the
    package takes for the user's home folder. Without them it is sent to ``folder/random``, where
    :mod:`random_networks` has put networks of the same shape.

    Args:
        file: Where the package looks for it, below the home folder.
        folder: The folder that the benchmark works in.

    Raises:
        FileNotFoundError: It is in neither.
    """
    if (folder / "home" / file).is_file():
        return "own"
    if not (folder / "random" / file).is_file():
        raise FileNotFoundError(f"no weights at {folder / 'random' / file}")
    os.environ["HOME"] = str(folder / "random")
    return "random"
