"""Which of a video's frames are read."""

import math
from typing import Final

#: Times are compared with this tolerance, since they are fractions in files and floats here.
TICK_S: Final = 1e-6


class Selection:
    """Chooses frames, by number or by time, from a start on.

    Args:
        every: Take each so many-th frame.
        fps: Take at most so many frames a second instead; None for by number.
        start_s: Take none before.
    """

    def __init__(self, every: int, fps: float | None, start_s: float) -> None:
        self._every = every
        self._fps = fps
        self._start_s = start_s
        self._first: int | None = None
        self._moment = -1

    def takes(self, index: int, time_s: float) -> bool:
        """Return whether a frame is wanted; to be asked once of each, in order."""
        since_s = time_s - self._start_s
        if since_s < -TICK_S:
            return False
        if self._fps is None:
            if self._first is None:
                self._first = index
            return (index - self._first) % self._every == 0
        moment = math.floor((since_s + TICK_S) * self._fps)
        if moment <= self._moment:
            return False
        self._moment = moment
        return True


def check_selection(every: int, fps: float | None, start_s: float, end_s: float | None) -> None:
    """See that frames can be chosen so.

    Raises:
        ValueError: A value is out of range, or both ``every`` and ``fps`` are given.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps must be above 0, got {fps}")
    if fps is not None and every != 1:
        raise ValueError("every and fps: choose one")
    if not 0 <= start_s < math.inf:
        raise ValueError(f"start_s must be at least 0, got {start_s}")
    if end_s is not None and not end_s > start_s:
        raise ValueError(f"end_s must be after start_s, got {end_s} and {start_s}")
