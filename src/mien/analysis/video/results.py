"""What is read in a video: the faces of a frame, each with the person it belongs to.

A :class:`TrackedFrame` is to a frame what :class:`mien.results.FrameResult` is to a picture. Values
are native Python ones, so a result pickles, compares and turns into JSON as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mien.results import (
    FACE_COLUMNS,
    LANDMARK_COLUMNS,
    LANDMARKS,
    Face,
    Probabilities,
    class_column,
)


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """One face in one frame, and whose it is.

    Attributes:
        track: The person's number, from 1 on in the order they appear; it stays the same through
            short occlusion.
        face: What was read in this frame alone; its probabilities are the raw ones.
        smoothed: The person's probabilities, averaged over the time before this frame, with more
            weight on the recent; they sum to 1.
        expression: What is shown of the person: an expression that changes only when another has
            clearly become more probable, or ``uncertain``.
    """

    track: int
    face: Face
    smoothed: Probabilities
    expression: str

    def __post_init__(self) -> None:
        if self.track < 1:
            raise ValueError(f"tracks are counted from 1, got {self.track}")
        if tuple(self.smoothed) != tuple(self.face.probabilities):
            raise ValueError("smoothed and raw probabilities are of different classes")

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """The face's box: left, top, right, bottom in pixels; may reach outside the frame."""
        return self.face.box_xyxy

    @property
    def confidence(self) -> float:
        """The smoothed probability of what is shown; of the most probable where uncertain."""
        return self.smoothed.get(self.expression, self.smoothed[self.smoothed.top])

    def to_dict(self) -> dict[str, Any]:
        """Return the face as plain JSON types."""
        return {
            "track": self.track,
            "expression": self.expression,
            "confidence": self.confidence,
            "smoothed": dict(self.smoothed),
            "face": self.face.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """What was read in one frame; no face is an empty result, not an error.

    Attributes:
        source: The video's path as given, or the camera's name.
        index: The frame's place in the video, counted from 0 over all its frames, read or not.
        time_s: Its presentation time in seconds from the video's first frame.
        size_wh: Width and height of the upright frame in pixels.
        faces: The faces, largest first.
    """

    source: str
    index: int
    time_s: float
    size_wh: tuple[int, int]
    faces: tuple[TrackedFace, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {
            "source": self.source,
            "frame": self.index,
            "time_s": self.time_s,
            "size_wh": list(self.size_wh),
            "faces": [face.to_dict() for face in self.faces],
        }

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat row a face, with the columns of :func:`record_columns`.

        A frame without a face gives one row whose ``track`` and face columns are None, without
        landmarks and probabilities, so that no frame goes missing from a table.
        """
        head = {"source": self.source, "frame": self.index, "time_s": self.time_s}
        head |= {"width": self.size_wh[0], "height": self.size_wh[1]}
        if not self.faces:
            return [{**head, "track": None, **dict.fromkeys(FACE_COLUMNS)}]
        return [{**head, "track": face.track, **_flat(face)} for face in self.faces]


def record_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table of frames, in order.

    The raw probabilities have their classes' names, or :func:`mien.results.class_column`'s where
    those are taken, the smoothed ones ``smoothed_`` before them.
    """
    return (
        *("source", "frame", "time_s", "width", "height", "track"),
        *FACE_COLUMNS,
        *LANDMARK_COLUMNS,
        *map(class_column, classes),
        *(f"smoothed_{name}" for name in classes),
    )


def _flat(tracked: TrackedFace) -> dict[str, Any]:
    face = tracked.face
    values = (tracked.expression, tracked.confidence, *face.box_xyxy, face.score)
    row: dict[str, Any] = dict(zip(FACE_COLUMNS, values, strict=True))
    for name, (x, y) in zip(LANDMARKS, face.landmarks or (), strict=False):
        row |= {f"{name}_x": x, f"{name}_y": y}
    row.update((class_column(name), value) for name, value in face.probabilities.items())
    row.update((f"smoothed_{name}", value) for name, value in tracked.smoothed.items())
    return row
