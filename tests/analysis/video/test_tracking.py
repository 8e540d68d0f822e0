import functools
import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.video.tracking import FaceTracker

Array = npt.NDArray[np.float64]
#: People by name, each with the middle of their face at a time; None where it is hidden.
Path = Callable[[float], tuple[float, float] | None]

FPS = 30
SIDE = 60.0


@functools.cache
def direction(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(200)


def look(name: str, time_s: float = 0.0) -> Array:
    """A description as alike as real ones: 0.9 of one person, 0.55 of two."""
    own, noise = direction(sum(map(ord, name))), direction(round(time_s * FPS) * 7 + ord(name[0]))
    row = 0.75 * direction(0) + 0.6 * own + 0.3 * noise
    return np.asarray(row / np.linalg.norm(row), np.float64)


def box(middle_xy: tuple[float, float]) -> Array:
    x, y = middle_xy
    return np.array([x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2])


def follow(
    people: dict[str, Path], seconds: float, *, fps: float = FPS, tracker: FaceTracker | None = None
) -> list[dict[str, int]]:
    """Return, frame by frame, the number that each visible person got."""
    tracker = tracker or FaceTracker()
    frames = []
    for index in range(round(seconds * fps)):
        time_s = index / fps
        places = {name: path(time_s) for name, path in people.items()}
        seen = {name: place for name, place in places.items() if place is not None}
        boxes = np.array([box(place) for place in seen.values()]).reshape(-1, 4)
        looks = np.array([look(name, time_s) for name in seen]).reshape(-1, 200)
        frames.append(dict(zip(seen, tracker.update(time_s, boxes, looks), strict=True)))
    return frames


def numbers(frames: list[dict[str, int]], name: str) -> set[int]:
    return {frame[name] for frame in frames if name in frame}


def test_people_who_sit_keep_their_numbers_though_boxes_jitter() -> None:
    random = np.random.default_rng(1)

    def sit(x: float) -> Path:
        return lambda _: (x + random.normal(0, 4), 100 + random.normal(0, 4))

    frames = follow({"anna": sit(100), "ben": sit(200), "carl": sit(300)}, 3)

    assert [numbers(frames, name) for name in ("anna", "ben", "carl")] == [{1}, {2}, {3}]


def test_numbers_last_through_a_crossing_with_both_in_view() -> None:
    frames = follow(
        {"anna": lambda t: (100 + 150 * t, 100), "ben": lambda t: (400 - 150 * t, 115)}, 2
    )

    assert (numbers(frames, "anna"), numbers(frames, "ben")) == ({1}, {2})


@pytest.mark.parametrize("speed", [60, 150, 300])
def test_numbers_last_through_a_crossing_behind_one_another(speed: float) -> None:
    def anna(time_s: float) -> tuple[float, float]:
        return 100 + speed * time_s, 100

    def ben(time_s: float) -> tuple[float, float] | None:
        place = (300 - speed * time_s, 100)
        return None if abs(place[0] - anna(time_s)[0]) < 0.6 * SIDE else place

    frames = follow({"anna": anna, "ben": ben}, 240 / speed)

    assert any("ben" not in frame for frame in frames)
    assert (numbers(frames, "anna"), numbers(frames, "ben")) == ({1}, {2})


def test_two_who_turn_back_behind_one_another_are_told_apart() -> None:
    # Speeds alone would have them cross; only what they look like tells that they did not.
    def anna(time_s: float) -> tuple[float, float]:
        return 100 + 100 * (1 - abs(1 - time_s)), 100

    def ben(time_s: float) -> tuple[float, float] | None:
        place = (300 - 100 * (1 - abs(1 - time_s)), 100)
        return None if abs(place[0] - anna(time_s)[0]) < 0.7 * SIDE else place

    frames = follow({"anna": anna, "ben": ben}, 2)

    assert (numbers(frames, "anna"), numbers(frames, "ben")) == ({1}, {2})


def test_somebody_hidden_for_a_while_comes_back_as_the_same() -> None:
    def walk(hidden_s: float) -> Path:
        return lambda t: None if 1 <= t < 1 + hidden_s else (100 + 50 * t, 100)

    assert numbers(follow({"anna": walk(0.8)}, 3), "anna") == {1}
    assert numbers(follow({"anna": walk(1.5)}, 3), "anna") == {1, 2}


def test_somebody_quite_unlike_in_a_place_just_left_is_new() -> None:
    tracker = FaceTracker()
    anna, ben = np.eye(2)
    nobody = np.empty((0, 4)), np.empty((0, 2))
    tracker.update(0.0, box((100, 100))[None], anna[None])
    tracker.update(0.2, *nobody)

    assert tracker.update(0.4, box((100, 100))[None], ben[None]) == [2]


def test_somebody_half_alike_beside_a_place_just_left_is_new() -> None:
    anna, ben = np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])
    for x, expected in ((105, [1]), (140, [2])):
        tracker = FaceTracker()
        tracker.update(0.0, box((100, 100))[None], anna)
        tracker.update(0.2, np.empty((0, 4)), np.empty((0, 2)))

        assert tracker.update(0.9, box((x, 100))[None], ben) == expected


def test_numbers_mistaken_while_two_touch_are_exchanged_once_they_part() -> None:
    anna, ben = look("anna"), look("ben")
    both = (anna + ben) / np.linalg.norm(anna + ben)
    apart, touching = (box((150, 100)), box((215, 100))), (box((150, 100)), box((205, 100)))
    tracker = FaceTracker()

    assert tracker.update(0.0, np.array(apart), np.array([anna, ben])) == [1, 2]
    # Of two who look the same so long nothing is learned, or nobody could be told apart after it.
    for step in range(1, 60):
        assert tracker.update(step / FPS, np.array(touching), np.array([both, both])) == [1, 2]
    assert tracker.update(2.0, np.array(apart), np.array([ben, anna])) == [2, 1]
    assert tracker.update(2.1, np.array(apart), np.array([ben, anna])) == [2, 1]


def test_whoever_is_out_of_sight_is_taken_to_stop() -> None:
    tracker = FaceTracker()
    follow({"anna": lambda t: (100 + 100 * t, 100)}, 1, tracker=tracker)
    last_s = 1 - 1 / FPS

    def expect(after_s: float) -> float:
        ((left, _, right, _),) = tracker.predict(last_s + after_s, seen_within_s=9)
        return float((left + right) / 2 - (100 + 100 * last_s))

    assert expect(0.1) == pytest.approx(10, abs=1.5), "as fast as before at first"
    assert 40 < expect(2) < expect(8) < 51


def test_a_face_of_quite_another_size_is_another_person() -> None:
    tracker = FaceTracker()
    tracker.update(0.0, box((100, 100))[None], look("anna")[None])

    assert tracker.update(0.04, np.array([[0.0, 0, 200, 200]]), look("anna")[None]) == [2]


def test_numbers_are_given_as_people_enter_and_not_again() -> None:
    frames = follow(
        {
            "anna": lambda t: (100, 100) if t < 1 else None,
            "ben": lambda t: (400, 100) if t > 0.5 else None,
            "carl": lambda t: (800, 100) if t > 2.5 else None,
        },
        3,
    )

    assert [numbers(frames, name) for name in ("anna", "ben", "carl")] == [{1}, {2}, {3}]


def test_a_false_face_of_one_frame_has_a_number_of_its_own() -> None:
    frames = follow(
        {
            "anna": lambda _: (100, 100),
            "false": lambda t: (300, 300) if round(t * FPS) == 20 else None,
            "ben": lambda t: (500, 100) if t > 2 else None,
        },
        3,
    )

    assert (numbers(frames, "anna"), numbers(frames, "false")) == ({1}, {2})
    assert numbers(frames, "ben") == {3}


def test_people_are_followed_at_one_frame_a_second() -> None:
    frames = follow({"anna": lambda t: (100 + 10 * t, 100), "ben": lambda _: (300, 100)}, 6, fps=1)

    assert (numbers(frames, "anna"), numbers(frames, "ben")) == ({1}, {2})


def test_after_a_cut_everybody_is_new_but_not_after_a_flash() -> None:
    for name, x, expected in (("anna", 102, [1]), ("ben", 102, [2]), ("anna", 140, [2])):
        tracker = FaceTracker()
        tracker.update(0.0, box((100, 100))[None], look("anna")[None])

        assert tracker.update(0.04, box((x, 100))[None], look(name)[None], is_cut=True) == expected


def test_a_restored_state_goes_on_the_same() -> None:
    people: dict[str, Path] = {
        "anna": lambda t: (100 + 150 * t, 100),
        "ben": lambda t: (400 - 150 * t, 110),
    }
    whole, first, second = FaceTracker(), FaceTracker(), FaceTracker()
    follow(people, 2, tracker=whole)
    follow(people, 0.9, tracker=first)
    second.restore(json.loads(json.dumps(first.state())))
    for index in range(round(0.9 * FPS), 2 * FPS):
        time_s = index / FPS
        boxes = np.array([box(path(time_s) or (0, 0)) for path in people.values()])
        second.update(time_s, boxes, np.array([look(name, time_s) for name in people]))

    assert second.state() == whole.state()


def test_time_that_goes_back_forgets_everybody() -> None:
    tracker = FaceTracker()
    tracker.update(5.0, box((100, 100))[None], look("anna")[None])

    assert tracker.update(0.0, box((100, 100))[None], look("anna")[None]) == [2]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_lost_s"):
        FaceTracker(keep_lost_s=-1)
    with pytest.raises(ValueError, match="from 1"):
        FaceTracker(first_track=0)
    with pytest.raises(ValueError, match="descriptions"):
        FaceTracker().update(0.0, np.zeros((2, 4)), np.zeros((1, 3)))
