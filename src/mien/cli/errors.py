"""From exceptions to one line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

from mien.errors import MissingExtraError

#: Exit code of a user's mistake: a wrong call or an input that cannot be used.
USER_ERROR = 2


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
