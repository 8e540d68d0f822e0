"""Timelines: who showed what, when and for how long, out of the frames of one video.

>>> timeline = Timeline.read("clip.csv")  # doctest: +SKIP
>>> timeline.summary()[0].shares["happy"]  # doctest: +SKIP
0.62
"""

import os
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.table_formats import read_table
from mien.errors import MediaError, MienError, MissingExtraError

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    import polars as pl

#: Longest absence, in seconds, that an episode goes on over, if the same is shown after it.
MAX_GAP_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A time over which one person was shown with one expression.

    Attributes:
        track: The person's number.
        expression: What was shown; may be ``uncertain``.
        start_s: From when, in seconds from the video's first frame.
        end_s: Till when.
        confidence: The mean probability of what was shown, over time.
    """

    track: int
    expression: str
    start_s: float
    end_s: float
    confidence: float

    @property
    def duration_s(self) -> float:
        """How long it lasted, in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What one person showed over a video.

    Attributes:
        track: The person's number.
        first_s: When they were seen first, in seconds from the video's first frame.
        last_s: Till when they were seen.
        seen_s: How long they were seen in all.
        shares: Expression, and ``uncertain`` where anybody was → its share of that time, 0 to 1.
    """

    track: int
    first_s: float
    last_s: float
    seen_s: float
    shares: Mapping[str, float]


class Timeline:
    """Who showed what when, in one video.

    Each row stands for the time until the next frame that was read, so that a variable frame rate
    comes out right; the last stands for as long as the median one.

    Args:
        frames: The frames of one video as they were read, in the order of their times; taken
            once, and kept in some 100 bytes a face.

    Attributes:
        source: The video; empty without a frame.
        classes: The expressions' names; empty without a face.
        labels: What can be shown of a person: the classes, then ``uncertain`` where anybody was.
        time_s: ``(F,)`` float64 times of the frames.
        duration_s: ``(F,)`` float64, for how long each frame stands.
        row_frame: ``(N,)`` int64, the frame of each face, as a place in ``time_s``; ascending.
        frame_index: ``(F,)`` int64, the frames' places in the video.
        track: ``(N,)`` int64, whose face it is.
        label: ``(N,)`` int64, what is shown of it, as a place in ``labels``.
        confidence: ``(N,)`` float64.
        smoothed: ``(N, classes)`` float64 probabilities.

    Raises:
        ValueError: The frames are of several videos or classes, or not in order.
    """

    def __init__(self, frames: Iterable[TrackedFrame]) -> None:
        self.source = ""
        self.classes: tuple[str, ...] = ()
        labels: dict[str, int] = {}
        time, smoothed, confidence = array("d"), array("d"), array("d")
        frame_index, row_frame, track, label = array("q"), array("q"), array("q"), array("q")
        for number, frame in enumerate(frames):
            self._check(frame, number, time)
            time.append(frame.time_s)
            frame_index.append(frame.index)
            for face in frame.faces:
                if not labels:
                    self.classes = tuple(face.smoothed)
                    labels = {name: code for code, name in enumerate(self.classes)}
                if tuple(face.smoothed) != self.classes:
                    raise ValueError("one timeline is of one model's classes")
                row_frame.append(number)
                track.append(face.track)
                label.append(labels.setdefault(face.expression, len(labels)))
                confidence.append(face.confidence)
                smoothed.extend(face.smoothed.values())
        self.labels = tuple(labels)
        self.time_s = np.asarray(time, np.float64)
        self.frame_index = np.asarray(frame_index, np.int64)
        self.duration_s = _durations(self.time_s)
        self.row_frame = np.asarray(row_frame, np.int64)
        self.track = np.asarray(track, np.int64)
        self.label = np.asarray(label, np.int64)
        self.confidence = np.asarray(confidence, np.float64)
        self.smoothed = np.asarray(smoothed, np.float64).reshape(len(track), len(self.classes))

    @classmethod
    def read(cls, table: str | os.PathLike[str], source: str | None = None) -> Self:
        """Return the timeline of a video in a table that ``mien video`` wrote.

        Args:
            table: The table's file.
            source: The video, as the column of that name has it; may be left out where the table
                is of one.

        Raises:
            MediaError: The file cannot be read, is no such table, or has no such video, or several
                and none is named.
            MissingExtraError: It is Parquet, and pyarrow is not installed.
        """
        frames = read_table(Path(table))
        try:
            timeline = cls(frame for frame in frames if source in (None, frame.source))
        except ValueError as error:
            raise MediaError(f"{table}: {error}") from error
        if source is not None and not len(timeline):
            raise MediaError(f"{table}: has no frame of {source}")
        return timeline

    def __repr__(self) -> str:
        people = len(self.tracks)
        return f"Timeline({self.source!r}, {self.end_s:.1f} s, {people} tracked)"

    def _repr_png_(self) -> bytes | None:
        """Return the picture that a notebook shows; None without matplotlib or frames.

        Source: https://ipython.readthedocs.io/en/stable/config/integrating.html
        """
        from mien.analysis.video.timeline_chart import chart_picture  # noqa: PLC0415 - matplotlib

        try:
            return chart_picture(self, "png") if len(self) else None
        except MissingExtraError:
            return None

    def __len__(self) -> int:
        """Return how many frames were read."""
        return len(self.time_s)

    @property
    def end_s(self) -> float:
        """Till when the last frame stands, in seconds from the video's first frame."""
        return float(self.time_s[-1] + self.duration_s[-1]) if len(self) else 0.0

    @property
    def tracks(self) -> tuple[int, ...]:
        """The people's numbers, ascending."""
        return tuple(np.unique(self.track).tolist())

    def summary(self) -> list[Person]:
        """Return what each person showed, in the order of their numbers."""
        return [self._person(track) for track in self.tracks]

    def episodes(self, *, min_s: float = 0.0, max_gap_s: float = MAX_GAP_S) -> list[Episode]:
        """Return the times over which what is shown of a person stays the same.

        Args:
            min_s: Shorter ones, in seconds, are left out.
            max_gap_s: Longest absence that an episode goes on over, if the same is shown after.

        Returns:
            The episodes by their starts, then by person.
        """
        found = [
            episode
            for track in self.tracks
            for episode in self._episodes(track, max_gap_s)
            if episode.duration_s >= min_s
        ]
        return sorted(found, key=lambda each: (each.start_s, each.track))

    def to_records(self) -> list[dict[str, Any]]:
        """Return a flat row for each face in each frame, as plain Python values.

        The columns: ``source``, ``frame``, ``time_s``, ``duration_s``, ``track``, ``expression``,
        ``confidence`` and ``smoothed_`` with each class.
        """
        columns = self._columns()
        values = [
            column.tolist() if isinstance(column, np.ndarray) else column
            for column in columns.values()
        ]
        return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows of :meth:`to_records` as a data frame of pandas.

        Raises:
            MienError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - only this needs it
        except ModuleNotFoundError as error:
            raise MienError("this needs pandas, which is not installed: pip install pandas") from (
                error
            )
        return pd.DataFrame(self._columns())

    def to_polars(self) -> "pl.DataFrame":
        """Return the rows of :meth:`to_records` as a data frame of Polars.

        Raises:
            MienError: Polars is not installed.
        """
        try:
            import polars as pl  # noqa: PLC0415 - only this needs it
        except ModuleNotFoundError as error:
            raise MienError("this needs polars, which is not installed: pip install polars") from (
                error
            )
        return pl.DataFrame(self._columns())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the timeline, a lane a person; see :func:`draw_timeline`.

        Args:
            path: The picture, ``.png`` or ``.svg``; replaced whole or not at all.

        Raises:
            ValueError: The suffix is another.
            MediaError: The file cannot be written.
            MissingExtraError: matplotlib is not installed.
        """
        from mien.analysis.video.timeline_chart import write_chart  # noqa: PLC0415 - matplotlib

        write_chart(Path(path), self)

    def _check(self, frame: TrackedFrame, number: int, times: "array[float]") -> None:
        if number == 0:
            self.source = frame.source
        elif frame.source != self.source:
            raise ValueError(
                f"a timeline is of one video, this is of {self.source} and {frame.source}: "
                f"name one as source"
            )
        elif frame.time_s < times[-1]:
            raise ValueError(f"frame {frame.index} is earlier than the one before it")

    def _person(self, track: int) -> Person:
        rows = np.flatnonzero(self.track == track)
        starts = self.time_s[self.row_frame[rows]]
        lasts = self.duration_s[self.row_frame[rows]]
        seen = float(lasts.sum())
        # All of no duration are one frame, or frames of one time: each counts the same.
        weights = lasts if seen else np.ones(len(rows))
        sums = np.bincount(self.label[rows], weights, minlength=len(self.labels))
        shares = (sums / weights.sum()).tolist()
        return Person(
            track=track,
            first_s=float(starts[0]),
            last_s=float(starts[-1] + lasts[-1]),
            seen_s=seen,
            shares=dict(zip(self.labels, shares, strict=True)),
        )

    def _episodes(self, track: int, max_gap_s: float) -> list[Episode]:
        rows = np.flatnonzero(self.track == track)
        starts = self.time_s[self.row_frame[rows]]
        lasts = self.duration_s[self.row_frame[rows]]
        ends = starts + lasts
        labels = self.label[rows]
        is_new = (labels[1:] != labels[:-1]) | (starts[1:] - ends[:-1] > max_gap_s)
        firsts = np.concatenate([[0], np.flatnonzero(is_new) + 1, [len(rows)]])
        episodes = []
        for first, end in pairwise(firsts.tolist()):
            within = slice(first, end)
            weights = lasts[within] if lasts[within].any() else None
            episodes.append(
                Episode(
                    track=track,
                    expression=self.labels[labels[first]],
                    start_s=float(starts[first]),
                    end_s=float(ends[end - 1]),
                    confidence=float(np.average(self.confidence[rows[within]], weights=weights)),
                )
            )
        return episodes

    def _columns(self) -> dict[str, Any]:
        return {
            "source": [self.source] * len(self.track),
            "frame": self.frame_index[self.row_frame],
            "time_s": self.time_s[self.row_frame],
            "duration_s": self.duration_s[self.row_frame],
            "track": self.track,
            "expression": [self.labels[code] for code in self.label.tolist()],
            "confidence": self.confidence,
            **{f"smoothed_{name}": self.smoothed[:, i] for i, name in enumerate(self.classes)},
        }


def _durations(time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for how long each frame stands: until the next; the last as the median one."""
    gaps = np.diff(time_s)
    last = float(np.median(gaps)) if len(gaps) else 0.0
    return np.append(gaps, last)[: len(time_s)]
