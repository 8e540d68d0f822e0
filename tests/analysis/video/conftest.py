"""Frames made by hand, for the tests of tables and timelines."""

from collections.abc import Callable

import pytest

from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.results import Face, Probabilities


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., TrackedFrame]:
    """A frame of people, each a track and its smoothed probability of ``happy``.

    Under 0.5 ``sad`` is shown, at 0.5 ``uncertain``.
    """

    def face(track: int, happy: float) -> TrackedFace:
        names = ("happy", "sad")
        raw = Face(
            (10.25 * track, -1.0, 10.25 * track + 30.0, 41.37),
            0.9876543,
            None if track % 2 else ((1.5, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.5)),
            Probabilities(names, (0.1234567, 0.8765433)),
        )
        shown = "uncertain" if happy == 0.5 else "happy" if happy > 0.5 else "sad"
        return TrackedFace(track, raw, Probabilities(names, (happy, 1 - happy)), shown)

    def make(
        index: int,
        *seen: tuple[int, float],
        time_s: float | None = None,
        source: str = "clip.mp4",
    ) -> TrackedFrame:
        faces = tuple(face(track, happy) for track, happy in seen)
        time_s = index / 10 if time_s is None else time_s
        return TrackedFrame(source, index, time_s, (640, 360), faces)

    return make
