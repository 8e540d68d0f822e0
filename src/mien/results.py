"""Results: the frozen values that every way of analysing returns.

One currency for Python, the command line, files and the service: a :class:`FrameResult` for each
picture or video frame, holding a :class:`Face` for each face found. Numbers are native Python
ones, so a result pickles, compares and turns into JSON as it is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from mien.expressions import UNCERTAIN, check_uncertain_below

#: Columns that tables of pictures and of video have beside those of the classes: of each row, and
#: of its face.
_ROW_COLUMNS: Final = ("source", "frame", "time_s", "width", "height", "face", "track")
FACE_COLUMNS: Final = ("expression", "confidence", "left", "top", "right", "bottom", "score")
#: Names of the landmarks, in the order of :attr:`Face.landmarks`; left as seen in the picture.
LANDMARKS: Final = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
LANDMARK_COLUMNS: Final = tuple(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")
_TAKEN: Final = frozenset((*_ROW_COLUMNS, *FACE_COLUMNS, *LANDMARK_COLUMNS))


def class_column(name: str) -> str:
    """Return the column of a class's probability: its name, or ``class_left`` for ``left``.

    So is one that begins like the columns of smoothed probabilities.
    """
    return f"class_{name}" if name in _TAKEN or name.startswith("smoothed_") else name


class Probabilities(Mapping[str, float]):
    """Immutable expression → probability, in the model's class order; values are 0 to 1.

    >>> p = Probabilities(("happy", "sad"), (0.75, 0.25))
    >>> p["happy"], p.top, list(p.values())
    (0.75, 'happy', [0.75, 0.25])
    """

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: tuple[float, ...]) -> None:
        if not names or len(names) != len(values):
            raise ValueError(f"{len(names)} names for {len(values)} probabilities")
        self._names = names
        self._values = tuple(float(value) for value in values)

    def __getitem__(self, name: str) -> float:
        try:
            return self._values[self._names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __hash__(self) -> int:
        return hash((self._names, self._values))

    def __reduce__(self) -> tuple[Any, ...]:
        return Probabilities, (self._names, self._values)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value:.3f}" for name, value in self.items())
        return f"Probabilities({inside})"

    @property
    def top(self) -> str:
        """The most probable expression."""
        return self._names[max(range(len(self._values)), key=self._values.__getitem__)]


@dataclass(frozen=True, slots=True)
class Face:
    """One face and what its expression was read as.

    Attributes:
        box_xyxy: Left, top, right, bottom in pixels of the upright picture; may reach outside it.
        score: The detector's confidence that this is a face, 0 to 1; 1 for a ready crop.
        landmarks: Left eye, right eye, nose, left and right mouth corner, as (x, y) pixels; left
            as seen in the picture. None where the detector gives none.
        probabilities: One probability a class; they sum to 1.
        uncertain_below: Probability, 0 to 1, below which the most probable class is not taken for
            the face's expression; with 0 it always is.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    landmarks: tuple[tuple[float, float], ...] | None
    probabilities: Probabilities
    uncertain_below: float = 0.0

    def __post_init__(self) -> None:
        check_uncertain_below(self.uncertain_below, self.probabilities)
        left, top, right, bottom = self.box_xyxy
        if right <= left or bottom <= top:
            raise ValueError(f"box_xyxy has no area: {self.box_xyxy}")
        if self.landmarks is not None and len(self.landmarks) != 5:
            raise ValueError(f"expected 5 landmarks, got {len(self.landmarks)}")

    @property
    def expression(self) -> str:
        """The most probable expression, or ``uncertain`` where :attr:`is_uncertain`."""
        return UNCERTAIN if self.is_uncertain else self.probabilities.top

    @property
    def confidence(self) -> float:
        """The probability of the most probable expression, told or not."""
        return self.probabilities[self.probabilities.top]

    @property
    def is_uncertain(self) -> bool:
        """Whether even the most probable expression is below :attr:`uncertain_below`."""
        return self.confidence < self.uncertain_below

    @property
    def area(self) -> float:
        """The box's area in square pixels."""
        left, top, right, bottom = self.box_xyxy
        return (right - left) * (bottom - top)

    def to_dict(self) -> dict[str, Any]:
        """Return the face as plain JSON types."""
        return {
            "expression": self.expression,
            "confidence": self.confidence,
            "uncertain_below": self.uncertain_below,
            "probabilities": dict(self.probabilities),
            "box_xyxy": list(self.box_xyxy),
            "score": self.score,
            "landmarks": None if self.landmarks is None else [list(xy) for xy in self.landmarks],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Face":
        """Return the face that :meth:`to_dict` made a table of.

        Raises:
            ValueError: It is no such table.
        """
        with _told_as_value_error("face"):
            left, top, right, bottom = map(float, fields["box_xyxy"])
            landmarks = fields["landmarks"]
            if landmarks is not None:
                landmarks = tuple((float(x), float(y)) for x, y in landmarks)
            named = fields["probabilities"]
            return cls(
                box_xyxy=(left, top, right, bottom),
                score=float(fields["score"]),
                landmarks=landmarks,
                probabilities=Probabilities(tuple(named), tuple(named.values())),
                uncertain_below=float(fields["uncertain_below"]),
            )


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was read in one picture or frame; no face is an empty result, not an error.

    Attributes:
        source: Where the picture came from: a path as given, or ``array`` with its number.
        size_wh: Width and height of the upright picture in pixels.
        faces: The faces, largest first.
    """

    source: str
    size_wh: tuple[int, int]
    faces: tuple[Face, ...] = ()

    @property
    def expression(self) -> str | None:
        """The largest face's expression, which may be ``uncertain``; None without a face."""
        return self.faces[0].expression if self.faces else None

    @property
    def confidence(self) -> float | None:
        """The largest face's confidence; None without a face."""
        return self.faces[0].confidence if self.faces else None

    @property
    def probabilities(self) -> Probabilities | None:
        """The largest face's probabilities; None without a face."""
        return self.faces[0].probabilities if self.faces else None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {
            "source": self.source,
            "size_wh": list(self.size_wh),
            "faces": [face.to_dict() for face in self.faces],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "FrameResult":
        """Return the result that :meth:`to_dict` made a table of, such as the service's answers.

        Raises:
            ValueError: It is no such table.
        """
        with _told_as_value_error("result"):
            width, height = map(int, fields["size_wh"])
            faces = tuple(Face.from_dict(face) for face in fields["faces"])
            return cls(source=str(fields["source"]), size_wh=(width, height), faces=faces)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat row a face, for a CSV file or a data frame.

        A picture without a face gives one row whose ``face`` and face columns are None, so that no
        picture goes missing from a table. It has no column for the classes, which such a result
        does not know: pandas fills them in; tell Polars to look at all rows
        (``infer_schema_length=None``), and ``csv.DictWriter`` the columns of a row with a face.
        """
        head = {"source": self.source, "width": self.size_wh[0], "height": self.size_wh[1]}
        if not self.faces:
            return [{**head, "face": None, **dict.fromkeys(FACE_COLUMNS)}]
        return [{**head, "face": i, **_flat(face)} for i, face in enumerate(self.faces)]


@contextmanager
def _told_as_value_error(kind: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a {kind} as to_dict gives it: {error!r}") from error


def _flat(face: Face) -> dict[str, Any]:
    values = (face.expression, face.confidence, *face.box_xyxy, face.score)
    row: dict[str, Any] = dict(zip(FACE_COLUMNS, values, strict=True))
    row.update((class_column(name), value) for name, value in face.probabilities.items())
    return row
