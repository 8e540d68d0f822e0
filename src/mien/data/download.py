"""Fetching FER2013's pictures from Kaggle."""

import contextlib
import os
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mien.data.fer2013 import FER2013_URL
from mien.errors import DownloadError, MissingExtraError
from mien.folders import expand_home

#: The data set's handle on Kaggle.
KAGGLE_HANDLE: Final = "msambare/fer2013"

_KAGGLE_API: Final = "https://api.kaggle.com"
_REACH_SECONDS: Final = 10.0
_BY_HAND: Final = f"get it by hand from {FER2013_URL}, unpack it and run: mien data prepare FOLDER"


def download_fer2013(
    output: str | os.PathLike[str] | None = None,
    *,
    fetch: Callable[[str | None], str] | None = None,
) -> Path:
    """Download FER2013's pictures through kagglehub.

    Args:
        output: A folder to put them in, new or empty; kagglehub's own cache when left out, where
            a broken download goes on the next time.
        fetch: Does the download to a folder, or to a place of its own for None, and returns where
            it went; kagglehub when left out.

    Returns:
        The folder with ``train`` and ``test``.

    Raises:
        DownloadError: There is no network or no permission, or ``output`` is not empty; the
            message says how to get the data by hand.
        MissingExtraError: kagglehub is not installed.
    """
    fetch = fetch or _fetch_from_kaggle
    if output is None:
        return Path(_attempt(fetch, None))
    folder = expand_home(output)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DownloadError(f"{folder}: not an empty folder; name a new one")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place and moved there when whole, so that a failure leaves nothing behind.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
            fetched = Path(_attempt(fetch, str(Path(beside, "fer2013"))))
            if folder.exists():
                folder.rmdir()
            fetched.rename(folder)
    except OSError as error:
        raise DownloadError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def _attempt(fetch: Callable[[str | None], str], output: str | None) -> str:
    try:
        return fetch(output)
    except (DownloadError, MissingExtraError):
        raise
    except Exception as error:  # kagglehub's and requests' errors share no other root
        detail = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(f"Kaggle did not give it ({detail[0][:160]}); {_BY_HAND}") from error


def _fetch_from_kaggle(output: str | None) -> str:
    # It writes its messages to the standard output of its import; that belongs to the caller.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            import kagglehub  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError("kagglehub", "train") from error
        _check_reachable(_KAGGLE_API, _REACH_SECONDS)
        return str(kagglehub.dataset_download(KAGGLE_HANDLE, output_dir=output))


def _check_reachable(url: str, seconds: float) -> None:
    """Knock at a server first, since kagglehub's own first request waits for ever.

    Raises:
        DownloadError: It does not answer in time.
    """
    # urllib rather than a socket: it goes through the proxy that the environment names.
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError:
        return  # an answer is an answer
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLError):
            return  # so is this; kagglehub brings certificates of its own
        detail = getattr(reason, "strerror", None) or str(reason)
        raise DownloadError(f"Kaggle cannot be reached ({detail}); {_BY_HAND}") from error
