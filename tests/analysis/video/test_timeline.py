import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.table import open_table
from mien.analysis.video.timeline import Timeline
from mien.errors import MediaError, MienError

MakeFrame = Callable[..., TrackedFrame]


@pytest.fixture
def variable(make_frame: MakeFrame) -> Timeline:
    """Person 1 is happy for 2 s and sad for 1 s, at a frame rate that varies; 3 is seen last."""
    return Timeline(
        [
            make_frame(0, (1, 0.8), time_s=0.0),
            make_frame(1, (1, 0.6), time_s=0.5),
            make_frame(2, (1, 0.1), time_s=2.0),
            make_frame(3, time_s=3.0),
            make_frame(4, (3, 0.5), time_s=4.0),
        ]
    )


def test_shares_are_of_time_and_not_of_frames(variable: Timeline) -> None:
    first, second = variable.summary()

    assert (first.track, first.first_s, first.last_s, first.seen_s) == (1, 0.0, 3.0, 3.0)
    assert first.shares == pytest.approx({"happy": 2 / 3, "sad": 1 / 3, "uncertain": 0.0})
    # The last frame stands for the median time of a frame.
    assert (second.track, second.first_s, second.last_s) == (3, 4.0, 5.0)
    assert second.shares["uncertain"] == 1
    assert variable.end_s == 5.0


def test_episodes_say_what_was_shown_from_when_to_when(variable: Timeline) -> None:
    found = variable.episodes()

    assert [(each.track, each.expression, each.start_s, each.end_s) for each in found] == [
        (1, "happy", 0.0, 2.0),
        (1, "sad", 2.0, 3.0),
        (3, "uncertain", 4.0, 5.0),
    ]
    # 0.5 s of 0.8 and 1.5 s of 0.6.
    assert found[0].confidence == pytest.approx(0.65)
    assert [each.expression for each in variable.episodes(min_s=1.5)] == ["happy"]


def test_an_episode_goes_on_over_a_short_absence(make_frame: MakeFrame) -> None:
    seen = {0, 1, 2, 5, 6, 30}
    timeline = Timeline(make_frame(i, *([(1, 0.9)] if i in seen else [])) for i in range(32))

    times = [time_s for e in timeline.episodes() for time_s in (e.start_s, e.end_s)]
    assert times == pytest.approx([0.0, 0.7, 3.0, 3.1])
    assert len(timeline.episodes(max_gap_s=0)) == 3
    assert timeline.summary()[0].seen_s == pytest.approx(0.6)


def test_people_do_not_mix(make_frame: MakeFrame) -> None:
    timeline = Timeline(make_frame(i, (7, 0.9), (2, 0.2)) for i in range(10))

    assert timeline.tracks == (2, 7)
    assert [(e.track, e.expression) for e in timeline.episodes()] == [(2, "sad"), (7, "happy")]


def test_one_frame_and_none_are_timelines(make_frame: MakeFrame) -> None:
    one, none = Timeline([make_frame(0, (1, 0.9))]), Timeline([])

    assert one.summary()[0].shares == {"happy": 1.0, "sad": 0.0}
    assert one.episodes()[0].confidence == 0.9
    assert (none.summary(), none.episodes(), none.to_records(), none.end_s) == ([], [], [], 0)


def test_what_is_no_timeline_is_refused(make_frame: MakeFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="earlier"):
        Timeline([make_frame(1), make_frame(0)])
    two = [make_frame(0, source="a.mp4"), make_frame(1, source="b.mp4")]
    with pytest.raises(ValueError, match=r"this is of a\.mp4 and b\.mp4"):
        Timeline(two)
    with open_table(tmp_path / "two.csv", ("happy", "sad")) as table:
        for frame in two:
            table.write(frame)
    with pytest.raises(MediaError, match=r"two\.csv: a timeline is of one video"):
        Timeline.read(tmp_path / "two.csv")
    second = Timeline.read(tmp_path / "two.csv", source="b.mp4")
    assert second.to_records() == Timeline(two[1:]).to_records()
    with pytest.raises(MediaError, match=r"two\.csv: has no frame of c\.mp4"):
        Timeline.read(tmp_path / "two.csv", source="c.mp4")


def test_a_table_gives_the_timeline_of_its_frames(make_frame: MakeFrame, tmp_path: Path) -> None:
    frames = [make_frame(i, (1, i / 10)) for i in range(10)]
    with open_table(tmp_path / "faces.csv", ("happy", "sad")) as table:
        for frame in frames:
            table.write(frame)

    read = Timeline.read(str(tmp_path / "faces.csv"))

    assert read.to_records() == Timeline(frames).to_records()
    assert read.summary() == Timeline(frames).summary()


def test_data_frames_hold_the_records(variable: Timeline) -> None:
    records = variable.to_records()

    assert records[1] == {
        "source": "clip.mp4",
        "frame": 1,
        "time_s": 0.5,
        "duration_s": 1.5,
        "track": 1,
        "expression": "happy",
        "confidence": 0.6,
        "smoothed_happy": 0.6,
        "smoothed_sad": 0.4,
    }
    assert variable.to_polars().to_dicts() == records
    assert variable.to_pandas().to_dict("records") == records


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_missing_package_is_named(
    variable: Timeline, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MienError, match=f"pip install {package}"):
        getattr(variable, f"to_{package}")()


def test_a_notebook_shows_the_picture(variable: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = variable._repr_png_()
    assert picture is not None
    assert picture.startswith(b"\x89PNG")

    assert Timeline([])._repr_png_() is None
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert variable._repr_png_() is None


def test_a_face_takes_little_memory(make_frame: MakeFrame) -> None:
    timeline = Timeline(make_frame(i, (1, 0.9)) for i in range(100))

    arrays = [value for value in vars(timeline).values() if isinstance(value, np.ndarray)]

    assert sum(array.nbytes for array in arrays) <= 100 * 100
