"""What a service takes on: bytes and pictures of all requests together, within limits."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from mien.serving.problems import Problem
from mien.serving.settings import ServiceSettings

#: Longest time that a client is told to stay away.
_MAX_RETRY_S = 30


class Claim:
    """One request's part of what the service has taken on."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self.bytes = 0
        self.pictures = 0

    def add_bytes(self, count: int) -> None:
        """Take on as many more bytes.

        Raises:
            Problem: The service has too many already.
        """
        self._admission.take(count, 0)
        self.bytes += count

    def add_pictures(self, count: int) -> None:
        """Take on as many more pictures.

        Raises:
            Problem: The service has too many already.
        """
        self._admission.take(0, count)
        self.pictures += count


class Admission:
    """Counts what all requests of a service hold; used from its event loop only.

    Args:
        settings: The limits.

    Attributes:
        bytes: Bytes that are being received, waiting or being read.
        pictures: Pictures that are waiting or being read.
        closing: Whether nothing more is taken on, since the service is about to stop.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._seconds_a_picture = 0.1
        self.bytes = 0
        self.pictures = 0
        self.closing = False

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """Yield a request's claim, which ends with the block.

        Raises:
            Problem: The service is about to stop.
        """
        if self.closing:
            raise Problem(
                503,
                "closing",
                "the service is about to stop: try again soon",
                headers={"Retry-After": "5", "Connection": "close"},
            )
        claim = Claim(self)
        try:
            yield claim
        finally:
            self.bytes -= claim.bytes
            self.pictures -= claim.pictures

    def take(self, count_bytes: int, count_pictures: int) -> None:
        """Count more, unless it would be too much.

        Raises:
            Problem: It would; the answer says when to try again.
        """
        too_many = self.pictures + count_pictures > self._settings.max_waiting_pictures
        if too_many or self.bytes + count_bytes > self._settings.max_waiting_bytes:
            raise Problem(
                429,
                "busy",
                "more is waiting than the service takes on: try again when Retry-After says",
                headers={"Retry-After": str(self.retry_after_s()), "Connection": "close"},
            )
        self.bytes += count_bytes
        self.pictures += count_pictures

    def note_picture(self, seconds: float) -> None:
        """Learn how long a picture kept one reader busy, to tell others when to come back."""
        self._seconds_a_picture += 0.1 * (seconds - self._seconds_a_picture)

    def retry_after_s(self) -> int:
        """Return the whole seconds in which what is waiting will about be done."""
        wait_s = self.pictures * self._seconds_a_picture / self._settings.readers
        return min(_MAX_RETRY_S, max(1, math.ceil(wait_s)))
