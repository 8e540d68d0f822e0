"""What was measured of one package, and ratios between two of them."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from mien.errors import MienError
from roster import Package

Timing = Literal["import_s", "cold_s", "face_ms", "batch_ms", "photo_ms"]

#: Faces in a batch.
BATCH: Final = 64


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well crops of a split were read.

    Attributes:
        accuracy: Share read as labelled, 0 to 1.
        interval: Its 95 % interval.
        macro_f1: Mean F1 over the classes.
        faces: Crops read.
        unknown: Of these, read as none of the seven expressions, which counts as wrong.
    """

    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    faces: int
    unknown: int


@dataclass(kw_only=True)
class Measurement:
    """One package's figures, filled while the benchmark runs.

    Attributes:
        package: The package.
        versions: Of all that its environment holds.
        installed_mb: What they take on disk.
        weights: ``"own"`` or ``"random"``; empty where none were opened.
        times: A figure a round, the median of that round's repeats.
        memory_mb: The most its process held, before whole splits were read.
        photo_faces: Faces read in the photo.
        scores: By split, then by the way of reading: ``"ready"``, and ``"default"`` where that is
            another.
        failure: Why there is no more of it; empty where it came through.
    """

    package: Package
    versions: dict[str, str] = field(default_factory=dict)
    installed_mb: float | None = None
    weights: str = ""
    times: dict[Timing, list[float]] = field(default_factory=dict)
    memory_mb: float | None = None
    photo_faces: int | None = None
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    failure: str = ""

    @property
    def label(self) -> str:
        """Name and version, and whether its weights are not its own."""
        version = self.versions.get(self.package.name, "")
        random = " (random weights)" if self.weights == "random" else ""
        return f"{self.package.name} {version}".strip() + random

    def add(self, timing: Timing, value: float) -> None:
        """Add a round's figure."""
        self.times.setdefault(timing, []).append(value)

    def median(self, timing: Timing) -> float | None:
        """Return the median over the rounds, None where there are none."""
        rounds = self.times.get(timing)
        return statistics.median(rounds) if rounds else None

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Let an error of the package end its own part alone."""
        try:
            yield
        except MienError as error:
            self.failure = str(error)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return {
            "package": self.package.name,
            "remark": self.package.remark,
            "versions": self.versions,
            "installed_mb": self.installed_mb,
            "weights": self.weights,
            "times": dict(self.times),
            "memory_mb": self.memory_mb,
            "photo_faces": self.photo_faces,
            "scores": {
                split: {way: asdict(score) for way, score in ways.items()}
                for split, ways in self.scores.items()
            },
            "failure": self.failure,
        }


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as much one package takes as another, paired by round.

    Attributes:
        median: Over the rounds.
        low: The least of them.
        high: The most.
    """

    median: float
    low: float
    high: float


def paired_ratio(values: Sequence[float], reference: Sequence[float]) -> Ratio | None:
    """Return the ratios of two packages' rounds; None where no round has both.

    Both were measured one after the other in each round, so that what slowed a round down slowed
    both, and cancels out.

    >>> paired_ratio([2.0, 6.0, 4.0], [1.0, 2.0, 2.0])
    Ratio(median=2.0, low=2.0, high=3.0)
    """
    ratios = [value / other for value, other in zip(values, reference, strict=False)]
    if not ratios:
        return None
    return Ratio(median=statistics.median(ratios), low=min(ratios), high=max(ratios))
