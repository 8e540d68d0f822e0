import tkinter
from collections.abc import Iterator

import numpy as np
import pytest

from mien.analysis.video.frames import VideoFrame
from mien.analysis.video.results import TrackedFrame
from mien.cli.live_window import WindowView, has_display
from mien.cli.webcam import Pace, Seen

pytestmark = pytest.mark.skipif(not has_display(), reason="windows need a display")


@pytest.fixture
def view() -> Iterator[WindowView]:
    with WindowView("camera 0") as view:
        yield view


def seen_in(width: int, height: int) -> Seen:
    frame = VideoFrame(0, 0.0, np.full((height, width, 3), 64, np.uint8))
    return Seen(frame=frame, result=TrackedFrame("camera 0", 0, 0.0, (width, height)))


def test_frames_of_any_size_are_shown_within_the_screen(view: WindowView) -> None:
    pace = Pace(name="camera 0", dropped=7)
    for size_wh in ((320, 240), (320, 240), (5000, 2500)):
        view.show(seen_in(*size_wh), pace)

    assert not view.closed
    assert view._window.title() == "camera 0 - mien"
    assert view._photo.width() <= 0.8 * view._window.winfo_screenwidth()
    assert view._photo.width() == pytest.approx(2 * view._photo.height(), abs=2)
    assert view._line.cget("text") == f"{pace.to_line()} · q closes"


def test_another_window_of_the_program_is_not_drawn_into() -> None:
    first = tkinter.Tk()
    try:
        with WindowView("camera 0") as view:
            view.show(seen_in(320, 240), Pace(name="camera 0"))
            assert not view.closed
    finally:
        first.destroy()


@pytest.mark.parametrize("key", ["q", "<Escape>"])
def test_a_key_closes_it(view: WindowView, key: str) -> None:
    view.show(seen_in(320, 240), Pace(name="camera 0"))
    view._window.focus_force()
    view._window.event_generate(key)
    view.idle()

    assert view.closed


def test_a_window_that_is_gone_is_closed_and_no_error() -> None:
    with WindowView("camera 0") as view:
        view.show(seen_in(320, 240), Pace(name="camera 0"))
        view._window.destroy()
        view.show(seen_in(320, 240), Pace(name="camera 0"))
        assert view.closed
