"""One expression for each person that does not flicker: averaged in time, slow to change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.expressions import UNCERTAIN, check_uncertain_below

Array = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Person:
    """What is remembered of one person.

    Attributes:
        start_s: When they were first seen.
        seen_s: When they were last seen.
        smoothed: ``(classes,)`` probabilities.
        shown: The expression shown of them.
        led_since_s: Since when another one leads by enough; None where none does.
    """

    start_s: float
    seen_s: float
    smoothed: Array
    shown: str
    led_since_s: float | None = None


class ExpressionSmoother:
    """Averages each person's probabilities and holds on to what is shown.

    The average is exponential in time, so that it does not depend on the frame rate; over a
    person's first moments, shorter than the time constant, all readings weigh the same. What is
    shown changes once another expression has led it by ``margin`` for ``hold_s`` without a break,
    even if it was not the same one all the time. Between ``uncertain`` and an expression time
    alone decides. The same readings always give the same.

    Args:
        classes: The expressions, in the order of the probabilities.
        uncertain_below: Smoothed probability, 0 to 1, below which the most probable expression is
            not told; 0 tells it always.
        time_constant_s: Seconds after which a reading's weight has fallen to 37 %; 0 does not
            average.
        margin: How much more probable another expression must be, 0 to 1.
        hold_s: For how many seconds; 0 shows it at once.
        gap_s: A person not seen for longer starts anew.

    Raises:
        ValueError: A setting is out of range.
        ModelError: ``uncertain_below`` with classes one of which has the name ``uncertain``.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        uncertain_below: float = 0.0,
        time_constant_s: float = 0.4,
        margin: float = 0.1,
        hold_s: float = 0.25,
        gap_s: float = 1.0,
    ) -> None:
        times = {"time_constant_s": time_constant_s, "hold_s": hold_s, "gap_s": gap_s}
        for name, value in times.items():
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number of seconds from 0 on, got {value}")
        if not 0 <= margin <= 1:
            raise ValueError(f"margin must be 0 to 1, got {margin}")
        check_uncertain_below(uncertain_below, classes)
        self.classes = tuple(classes)
        self.uncertain_below = uncertain_below
        self.time_constant_s = time_constant_s
        self.margin = margin
        self.hold_s = hold_s
        self.gap_s = gap_s
        self._people: dict[int, _Person] = {}

    def update(
        self, track: int, time_s: float, probabilities: npt.NDArray[np.floating]
    ) -> tuple[Array, str]:
        """Take one reading of one person; times of a person must not fall.

        A reading from before the last one starts the person anew, as after a gap.

        Args:
            track: The person's number.
            time_s: The frame's time in seconds.
            probabilities: ``(classes,)`` raw probabilities in this frame.

        Returns:
            The smoothed probabilities ``(classes,)``, and what to show: an expression or
            ``uncertain``.
        """
        raw = np.asarray(probabilities, np.float64)
        person = self._people.get(track)
        if person is None or not 0 <= time_s - person.seen_s <= self.gap_s:
            person = _Person(time_s, time_s, raw, self._wanted(raw))
            self._people[track] = person
            return raw, person.shown
        weight = self._weight(time_s - person.seen_s, time_s - person.start_s)
        person.smoothed = person.smoothed + weight * (raw - person.smoothed)
        person.seen_s = time_s
        self._decide(person)
        return person.smoothed, person.shown

    def forget(self, time_s: float) -> None:
        """Drop whoever was last seen so long before a time that they would start anew."""
        gone = [number for number, p in self._people.items() if time_s - p.seen_s > self.gap_s]
        for number in gone:
            del self._people[number]

    def state(self) -> dict[str, Any]:
        """Return what is remembered as plain JSON types, for :meth:`restore`."""
        return {
            str(number): {
                "start_s": person.start_s,
                "seen_s": person.seen_s,
                "smoothed": person.smoothed.tolist(),
                "shown": person.shown,
                "led_since_s": person.led_since_s,
            }
            for number, person in self._people.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state` returned, and nothing else."""
        self._people = {
            int(number): _Person(**{**person, "smoothed": np.array(person["smoothed"])})
            for number, person in state.items()
        }

    def _weight(self, elapsed_s: float, known_s: float) -> float:
        """Return the weight of a reading taken so long after the one and the first before."""
        if self.time_constant_s == 0:
            return 1.0
        if elapsed_s == 0:
            return 0.0
        return max(
            -math.expm1(-elapsed_s / self.time_constant_s), elapsed_s / (known_s + elapsed_s)
        )

    def _wanted(self, probabilities: Array) -> str:
        top = int(probabilities.argmax())
        return UNCERTAIN if probabilities[top] < self.uncertain_below else self.classes[top]

    def _decide(self, person: _Person) -> None:
        """Change what is shown where it has been led for long enough."""
        wanted = self._wanted(person.smoothed)
        if not self._leads(wanted, person):
            person.led_since_s = None
            return
        if person.led_since_s is None:
            person.led_since_s = person.seen_s
        if person.seen_s - person.led_since_s >= self.hold_s:
            person.shown, person.led_since_s = wanted, None

    def _leads(self, wanted: str, person: _Person) -> bool:
        if wanted == person.shown:
            return False
        if UNCERTAIN in (wanted, person.shown):
            return True
        ahead, behind = (self.classes.index(name) for name in (wanted, person.shown))
        return bool(person.smoothed[ahead] - person.smoothed[behind] >= self.margin)
