"""What models are compared by: each figure's name, how it is read, written and which is better."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from mien.evaluation.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of an evaluation.

    Attributes:
        name: What people call it, its unit included.
        better: Which of two values is the better one; None where neither is.
        read: Returns its value; None where the evaluation does not tell.
        write: Returns a value as people read it.
        alike: Returns what must be the same of all for one of them to be the best.
    """

    name: str
    better: Literal["higher", "lower"] | None
    read: Callable[[Evaluation], float | None]
    write: Callable[[float], str]
    alike: Callable[[Evaluation], object] = lambda _: None

    def text(self, evaluation: Evaluation) -> str:
        """Return the evaluation's value as people read it, a dash where there is none."""
        value = self.read(evaluation)
        return "–" if value is None else self.write(value)


def short_count(number: float) -> str:
    """Return a large number in three digits: ``2.84 M``, ``78.1 M``, ``950``.

    >>> short_count(2838087), short_count(1000), short_count(950)
    ('2.84 M', '1.00 k', '950')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            value = number / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return f"{number:.0f}"


def _gap_points(evaluation: Evaluation) -> float | None:
    return evaluation.training.dynamics.gap_points if evaluation.training else None


def _epochs(evaluation: Evaluation) -> float | None:
    return evaluation.training.dynamics.epochs if evaluation.training else None


def _minutes(evaluation: Evaluation) -> float | None:
    return evaluation.training.minutes if evaluation.training else None


def _loss(evaluation: Evaluation) -> float | None:
    return evaluation.metrics.loss if math.isfinite(evaluation.metrics.loss) else None


def _threads(evaluation: Evaluation) -> int | None:
    return evaluation.latency.threads if evaluation.latency else None


ACCURACY: Final = Measure(
    name="accuracy",
    better="higher",
    read=lambda e: e.metrics.accuracy,
    write=lambda v: f"{100 * v:.2f} %",
)
MACRO_F1: Final = Measure(
    name="macro-F1", better="higher", read=lambda e: e.metrics.macro_f1, write=lambda v: f"{v:.3f}"
)
ECE: Final = Measure(
    name="calibration error",
    better="lower",
    read=lambda e: e.calibration.ece if e.calibration else None,
    write=lambda v: f"{100 * v:.1f} %",
)
ROBUSTNESS: Final = Measure(
    name="accuracy, faces damaged",
    better="higher",
    read=lambda e: e.robustness.mean_accuracy if e.robustness else None,
    write=lambda v: f"{100 * v:.2f} %",
)
PARAMETERS: Final = Measure(
    name="parameters", better="lower", read=lambda e: e.parameters, write=short_count
)
MULTIPLY_ADDS: Final = Measure(
    name="multiply-adds", better="lower", read=lambda e: e.multiply_adds, write=short_count
)
FILE_MB: Final = Measure(
    name="file, MB",
    better="lower",
    read=lambda e: None if e.file_bytes is None else e.file_bytes / 1e6,
    write=lambda v: f"{v:.2f}",
)
LATENCY: Final = Measure(
    name="ms a face",
    better="lower",
    read=lambda e: e.latency.batch_1_ms if e.latency else None,
    write=lambda v: f"{v:.2f}",
    alike=_threads,
)
BATCH_LATENCY: Final = Measure(
    name="ms a face, 64 at once",
    better="lower",
    read=lambda e: e.latency.batch_64_ms if e.latency else None,
    write=lambda v: f"{v:.2f}",
    alike=_threads,
)

#: In the order that tables show them. Neither more epochs nor a smaller gap makes a better model:
#: one that learned nothing has no gap at all.
MEASURES: Final = (
    ACCURACY,
    MACRO_F1,
    Measure(name="loss", better="lower", read=_loss, write=lambda v: f"{v:.3f}"),
    ECE,
    ROBUSTNESS,
    PARAMETERS,
    MULTIPLY_ADDS,
    FILE_MB,
    LATENCY,
    BATCH_LATENCY,
    Measure(name="threads", better=None, read=_threads, write=lambda v: f"{v:.0f}"),
    Measure(name="epochs", better=None, read=_epochs, write=lambda v: f"{v:.0f}"),
    Measure(name="minutes", better="lower", read=_minutes, write=lambda v: f"{v:.1f}"),
    Measure(
        name="train–val gap, points", better=None, read=_gap_points, write=lambda v: f"{v:.1f}"
    ),
)
