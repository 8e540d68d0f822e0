"""The exception tree: everything mien raises for a person to read.

::

    MienError
    ├── DataError            a data set's source or contents
    │   └── DownloadError    it could not be fetched
    ├── RecipeError          a recipe file or an override of it
    ├── CheckpointError      a run or checkpoint that cannot be used
    ├── ModelError           an ONNX model that cannot be used
    ├── MediaError           a picture, clip or camera that cannot be read or written
    ├── ServiceError         a service that cannot be started or reached, or that refuses
    ├── ProtocolError        a figure that would be worthless, unless asked for all the same
    └── MissingExtraError    an optional dependency is not installed

Each message is one line: what was found, what was expected, what to do. A wrong *argument* is a
plain ``ValueError``; a face that is not there is an empty result and no error at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class MienError(Exception):
    """Root of every error that mien raises on purpose."""


class DataError(MienError):
    """A data set's source or contents are not what they should be."""


class DownloadError(DataError):
    """A data set could not be fetched."""


class RecipeError(MienError):
    """A recipe file, or an override of it, is not valid."""


class CheckpointError(MienError):
    """A run or checkpoint is missing, damaged or not safe to load."""


class ModelError(MienError):
    """An ONNX model is missing, damaged or lacks its metadata."""


class MediaError(MienError):
    """A picture, clip or camera cannot be read or written."""


class ServiceError(MienError):
    """A service cannot be started or reached, or it refuses what was asked.

    Args:
        message: What it says.
        status: The HTTP status of its refusal; None where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ProtocolError(MienError):
    """What was asked for would give a figure that cannot be trusted."""


class MissingExtraError(MienError):
    """An optional dependency is not installed.

    Args:
        package: The import that failed, e.g. ``torch``.
        extra: The extra that brings it, e.g. ``train``.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs {package}, which is not installed: pip install 'mien[{extra}]'"
        )
        self.package = package
        self.extra = extra


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Turn a failed import of a third party's package into the ``pip install`` line that helps.

    Raises:
        MissingExtraError: A package of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "mien":
            raise
        raise MissingExtraError(error.name, extra) from error
