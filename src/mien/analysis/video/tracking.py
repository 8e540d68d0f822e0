"""Who is who from frame to frame: a number for each person that lasts through short occlusion."""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.analysis.video.assignment import assign

Array = npt.NDArray[np.float64]

#: Likeness of descriptions above which a face out of place can be somebody's, and below which one
#: in place is not a person's who was out of sight; from the figures at
#: :func:`mien.analysis.video.appearance.describe_faces`.
_ALIKE: Final = 0.75
_UNLIKE: Final = 0.4
#: What a person costs who is not seen, against a face a side away (0.8) with half the likeness (1).
_UNSEEN_COST: Final = 1.5
#: Overlap, as common area by that of both, from which two faces are taken to touch.
_TOUCHING: Final = 0.02
#: How much better swapped numbers must fit two people who have parted, out of 4.
_SWAP_GAIN: Final = 0.2
#: Seconds over which speeds and descriptions are averaged, and after which one out of sight is
#: taken to have stopped.
_SPEED_S: Final = 0.15
_LOOK_S: Final = 0.5
_STOP_S: Final = 0.5


@dataclass(slots=True)
class _Track:
    """One person.

    Attributes:
        number: Their number.
        box_xyxy: ``(4,)`` where they were last seen.
        speed: ``(2,)`` of the box's middle, in pixels a second.
        seen_s: When they were last seen.
        look: Their description, of length 1, from when nobody else was in the way.
        met: The numbers of those who were in the way since.
    """

    number: int
    box_xyxy: Array
    speed: Array
    seen_s: float
    look: Array
    met: set[int] = field(default_factory=set)

    def predict(self, time_s: float) -> Array:
        """Return the box ``(4,)`` where they should be at a time."""
        elapsed_s = time_s - self.seen_s
        shift = self.speed * (-math.expm1(-elapsed_s / _STOP_S) * _STOP_S)
        return self.box_xyxy + np.tile(shift, 2)

    def see(self, time_s: float, box_xyxy: Array) -> None:
        """Move to where they are seen now."""
        elapsed_s = time_s - self.seen_s
        if elapsed_s > 0:
            moved = (_middles(box_xyxy) - _middles(self.box_xyxy)) / elapsed_s
            self.speed = self.speed - math.expm1(-elapsed_s / _SPEED_S) * (moved - self.speed)
        self.box_xyxy, self.seen_s = box_xyxy, time_s

    def remember(self, look: Array, elapsed_s: float) -> None:
        """Take a description into the average."""
        mixed = self.look - math.expm1(-elapsed_s / _LOOK_S) * (look - self.look)
        self.look = mixed / max(float(np.linalg.norm(mixed)), 1e-9)


class FaceTracker:
    """Gives each face of a frame the number of the person it belongs to.

    Faces go to people at the least total cost: how far each is from where the person's speed
    would have it, and how unlike the person's description. While two touch, neither's description
    is changed, and once they have parted their numbers are exchanged where that fits both better.
    Whoever is out of sight keeps the number for ``keep_lost_s``.

    A face that is nobody's gets a new number at once, so that no row waits for one; a face seen
    by mistake in a single frame uses up a number, which is in no other frame.

    Args:
        keep_lost_s: Seconds for which a person out of sight is waited for, besides one frame.
        first_track: The first person's number.

    Attributes:
        time_s: The last frame's time; None before the first.

    Raises:
        ValueError: ``keep_lost_s`` is negative or not a number, or ``first_track`` below 1.
    """

    def __init__(self, *, keep_lost_s: float = 1.0, first_track: int = 1) -> None:
        if not (keep_lost_s >= 0 and math.isfinite(keep_lost_s)):
            raise ValueError(f"keep_lost_s must be a number from 0 on, got {keep_lost_s}")
        if first_track < 1:
            raise ValueError(f"tracks are counted from 1, got {first_track}")
        self.keep_lost_s = keep_lost_s
        self._next = first_track
        self.time_s: float | None = None
        self._tracks: list[_Track] = []

    def predict(self, time_s: float, *, seen_within_s: float) -> Array:
        """Return the boxes ``(N, 4)`` where those seen of late should be at a time."""
        boxes = [t.predict(time_s) for t in self._tracks if time_s - t.seen_s <= seen_within_s]
        return np.array(boxes, np.float64).reshape(-1, 4)

    def update(
        self,
        time_s: float,
        boxes_xyxy: npt.NDArray[np.floating],
        looks: Array,
        *,
        is_cut: bool = False,
    ) -> list[int]:
        """Take the faces of the next frame.

        Args:
            time_s: The frame's time in seconds; one before the last frame's forgets everybody.
            boxes_xyxy: ``(N, 4)`` in pixels.
            looks: ``(N, D)`` descriptions, rows of length 1, as of
                :func:`mien.analysis.video.appearance.describe_faces`.
            is_cut: The picture changed altogether. Everybody is new then, but for those at the
                same place who look the same: a flash is no cut.

        Returns:
            The person's number for each face.

        Raises:
            ValueError: There are not as many descriptions as boxes.
        """
        boxes: Array = np.asarray(boxes_xyxy, np.float64)
        looks = np.asarray(looks, np.float64)
        if boxes.shape != (len(looks), 4):
            raise ValueError(f"{len(looks)} descriptions for boxes {boxes.shape}")
        if self.time_s is not None and time_s < self.time_s:
            self._tracks, self.time_s = [], None
        elapsed_s = 0.0 if self.time_s is None else time_s - self.time_s
        kept_s = self.keep_lost_s + elapsed_s
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= kept_s]
        pairs = self._pair(time_s, boxes, looks, is_cut=is_cut)
        self.time_s = time_s
        seen = {face: self._tracks[row] for row, face in pairs}
        if is_cut:
            self._tracks = list(seen.values())
        for face, track in seen.items():
            track.see(time_s, boxes[face])
        for face in range(len(boxes)):
            if face not in seen:
                seen[face] = self._start(time_s, boxes[face], looks[face])
        self._note_meetings(time_s)
        self._settle(seen, looks, elapsed_s)
        return [seen[face].number for face in range(len(boxes))]

    def state(self) -> dict[str, Any]:
        """Return what is remembered as plain JSON types, for :meth:`restore`."""
        tracks = [
            {
                "number": track.number,
                "box_xyxy": track.box_xyxy.tolist(),
                "speed": track.speed.tolist(),
                "seen_s": track.seen_s,
                "look": track.look.tolist(),
                "met": sorted(track.met),
            }
            for track in self._tracks
        ]
        return {"next": self._next, "time_s": self.time_s, "tracks": tracks}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state` returned, and nothing else."""
        self._next = state["next"]
        self.time_s = state["time_s"]
        self._tracks = [
            _Track(
                number=track["number"],
                box_xyxy=np.array(track["box_xyxy"], np.float64),
                speed=np.array(track["speed"], np.float64),
                seen_s=track["seen_s"],
                look=np.array(track["look"], np.float64),
                met=set(track["met"]),
            )
            for track in state["tracks"]
        ]

    def _start(self, time_s: float, box_xyxy: Array, look: Array) -> _Track:
        track = _Track(self._next, box_xyxy, np.zeros(2), time_s, look)
        self._tracks.append(track)
        self._next += 1
        return track

    def _pair(
        self, time_s: float, boxes: Array, looks: Array, *, is_cut: bool
    ) -> list[tuple[int, int]]:
        """Return which track, by its place in the list, is which face."""
        if not self._tracks or not len(boxes):
            return []
        expected = np.array([track.predict(time_s) for track in self._tracks])
        unseen_s = np.array([[time_s - track.seen_s] for track in self._tracks])
        was_seen = np.array([[track.seen_s == self.time_s] for track in self._tracks])
        likeness = np.array([track.look for track in self._tracks]) @ looks.T
        overlaps = _overlaps(expected, boxes)
        sides, expected_sides = _sides(boxes), _sides(expected)[:, None]
        away = np.linalg.norm(_middles(expected)[:, None] - _middles(boxes), axis=2)
        # What is uncertain grows with the time out of sight: place and size.
        reach = np.minimum(0.75 + 2 * unseen_s, 3) * (sides + expected_sides) / 2
        near = (away < reach) & (np.abs(np.log(sides / expected_sides)) < 0.5 + unseen_s)
        in_place = np.where(was_seen, overlaps > 0.1, (overlaps > 0.3) & (likeness > _UNLIKE))
        allowed = near & (in_place | (likeness > _ALIKE))
        if is_cut:
            allowed = (overlaps > 0.5) & (likeness > _ALIKE)
        costs = (1 - overlaps + away / reach) / 2 + 2 * (1 - likeness)
        return assign(np.where(allowed, costs, np.inf), unmatched=_UNSEEN_COST)

    def _note_meetings(self, time_s: float) -> None:
        """Note who touches whom, or is expected behind whom."""
        boxes = np.array([track.predict(time_s) for track in self._tracks]).reshape(-1, 4)
        touching = _overlaps(boxes, boxes) > _TOUCHING
        numbers = {track.number for track in self._tracks}
        for track, row in zip(self._tracks, touching, strict=True):
            others = {o.number for o, is_near in zip(self._tracks, row, strict=True) if is_near}
            track.met = (track.met | others) & numbers - {track.number}

    def _settle(self, seen: dict[int, _Track], looks: Array, elapsed_s: float) -> None:
        """See who came out of a meeting as whom, and bring descriptions up to date."""
        free = {track.number for track in seen.values() if self._is_free(track, seen)}
        parted = {
            (min(track.number, number), max(track.number, number))
            for track in seen.values()
            for number in track.met & free
            if track.number in free
        }
        for pair in sorted(parted):
            _part(seen, looks, pair)
        for face, track in seen.items():
            if not track.met:
                track.remember(looks[face], elapsed_s)

    def _is_free(self, track: _Track, seen: dict[int, _Track]) -> bool:
        others = np.array([o.box_xyxy for o in seen.values() if o is not track]).reshape(-1, 4)
        return not (_overlaps(track.box_xyxy[None], others) > _TOUCHING).any()


def _part(seen: dict[int, _Track], looks: Array, numbers: tuple[int, int]) -> None:
    """End the meeting of two people; exchange their places where that fits both clearly better."""
    face, other_face = (
        next(face for face, track in seen.items() if track.number == number) for number in numbers
    )
    track, other = seen[face], seen[other_face]
    kept = track.look @ looks[face] + other.look @ looks[other_face]
    swapped = track.look @ looks[other_face] + other.look @ looks[face]
    track.met.discard(other.number)
    other.met.discard(track.number)
    if swapped - kept > _SWAP_GAIN:
        seen[face], seen[other_face] = other, track
        track.box_xyxy, other.box_xyxy = other.box_xyxy, track.box_xyxy
        track.speed, other.speed = other.speed, track.speed


def _middles(boxes_xyxy: Array) -> Array:
    """Return the middles ``(..., 2)`` of boxes ``(..., 4)``."""
    middles: Array = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    return middles


def _sides(boxes_xyxy: Array) -> Array:
    """Return the sides ``(N,)`` of squares of the boxes' areas."""
    sides: Array = np.sqrt((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1))
    return sides


def _overlaps(boxes: Array, others: Array) -> Array:
    """Return ``(N, M)``: the common area of each two boxes by that of both together."""
    corners = np.minimum(boxes[:, None, 2:], others[:, 2:])
    sides_wh = corners - np.maximum(boxes[:, None, :2], others[:, :2])
    common = np.maximum(sides_wh, 0).prod(axis=2)
    areas, other_areas = _sides(boxes) ** 2, _sides(others) ** 2
    overlaps: Array = common / (areas[:, None] + other_areas - common)
    return overlaps
