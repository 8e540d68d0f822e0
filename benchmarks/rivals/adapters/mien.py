"""This package, as its README says."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien import Analyzer


def open_reader(threads: int, folder: Path) -> "MienReader":
    return MienReader(threads)


class MienReader:
    """``mien.Analyzer``."""

    weights = "own"

    def __init__(self, threads: int) -> None:
        self._analyzer = Analyzer(threads=threads)

    def read_faces(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        columns = self._analyzer.classify(faces_gray).argmax(axis=1)
        return [self._analyzer.classes[column] for column in columns]

    def read_by_default(self, faces_gray: npt.NDArray[np.uint8]) -> list[str]:
        results = self._analyzer.analyze_many(faces_gray, whole_image=True)
        return [str(result.expression) for result in results]

    def read_photo(self, path: str) -> int:
        return len(self._analyzer.analyze(path).faces)
