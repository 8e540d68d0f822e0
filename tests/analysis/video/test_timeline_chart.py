from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.analysis.draw import COLOURS
from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.timeline import Timeline
from mien.analysis.video.timeline_chart import MAX_LANES, clock, draw_timeline, label_colours

MakeFrame = Callable[..., TrackedFrame]
Pixels = npt.NDArray[np.uint8]


def lanes(timeline: Timeline) -> list[Pixels]:
    """Return the band and the probabilities of each lane as they are drawn."""
    images: Any = draw_timeline(timeline).axes[0].get_images()
    return [image.get_array() for image in images]


def rgb(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(COLOURS[name][1:]))


def at(pixels: Pixels, share: float, row: int = 0) -> tuple[int, ...]:
    """Return the colour at a share of a lane's width."""
    return tuple(pixels[row, int(share * pixels.shape[1])].tolist())


def test_a_lane_shows_what_is_shown_when(make_frame: MakeFrame) -> None:
    # Happy for 4 s, then unseen for 4 s, then sad for 2 s; two frames stand for as long as many.
    seen = [(0.0, 0.75), (1.0, 0.75), (1.5, 0.75), (4.0, None), (8.0, 0.25), (9.0, 0.25)]
    timeline = Timeline(
        make_frame(i, *([] if happy is None else [(1, happy)]), time_s=time_s)
        for i, (time_s, happy) in enumerate(seen)
    )

    band, stack = lanes(timeline)

    assert at(band, 0.1) == at(band, 0.39) == rgb("happy")
    assert at(band, 0.5) == (255, 255, 255)
    assert at(band, 0.9) == rgb("sad")
    height = len(stack)
    assert at(stack, 0.2, row=height // 2) == rgb("happy")
    assert at(stack, 0.2, row=height // 8) == rgb("sad")
    assert at(stack, 0.9, row=height // 2) == rgb("sad")


def test_a_long_clip_is_summed_up_to_the_picture_s_columns(make_frame: MakeFrame) -> None:
    # One frame in ten is sad: too short to see, but its probability counts.
    timeline = Timeline(make_frame(i, (1, 0.0 if i % 10 == 0 else 1.0)) for i in range(20_000))

    band, stack = lanes(timeline)

    assert band.shape[1] < 2000
    assert {tuple(colour) for colour in band[0].tolist()} == {rgb("happy")}
    sad = (stack == rgb("sad")).all(axis=-1).mean()
    assert sad == pytest.approx(0.1, abs=0.02)


def test_those_seen_longest_are_drawn_and_the_others_told(make_frame: MakeFrame) -> None:
    people = MAX_LANES + 3
    # Person n is seen in n frames.
    timeline = Timeline(
        make_frame(i, *[(n, 0.9) for n in range(1, people + 1) if n > i]) for i in range(people)
    )

    axes: Any = draw_timeline(timeline).axes[0]

    drawn = [int(text.get_text()) for text in axes.get_yticklabels()]
    assert drawn == list(range(4, people + 1))
    assert axes.get_title(loc="left").startswith("3 more people are not drawn")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_timeline_gives_the_same_picture(
    make_frame: MakeFrame, tmp_path: Path, suffix: str
) -> None:
    timeline = Timeline(make_frame(i, (1, 0.9)) for i in range(5))

    for name in "ab":
        timeline.plot(tmp_path / f"{name}.{suffix}")

    written = (tmp_path / f"a.{suffix}").read_bytes()
    assert written == (tmp_path / f"b.{suffix}").read_bytes()
    assert b"<svg" in written or Image.open(tmp_path / "a.png").width > 1000


def test_nobody_is_a_picture_and_another_format_none(tmp_path: Path) -> None:
    Timeline([]).plot(str(tmp_path / "nobody.png"))

    assert Image.open(tmp_path / "nobody.png").height > 100
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        Timeline([]).plot(tmp_path / "nobody.gif")


def test_every_class_has_a_colour_of_its_own() -> None:
    colours = label_colours(["wink", "happy", "frown", "uncertain"])

    assert colours["happy"] == COLOURS["happy"]
    assert len(set(colours.values())) == 4


def test_times_read_as_people_write_them() -> None:
    assert [clock(value) for value in (0, 59.96, 61.5, 3599.99, 7389)] == [
        "0:00",
        "1:00",
        "1:01.5",
        "1:00:00",
        "2:03:09",
    ]
