"""Values of a JSON file that somebody may have damaged: checked as they are read, and written."""

import math
from typing import Any


def read_number(value: Any, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number between two limits, both included.

    Raises:
        TypeError: It is no number.
        ValueError: It is not finite, or beyond a limit.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got a {type(value).__name__}")
    if not low <= value <= high or not math.isfinite(value):
        raise ValueError(f"expected a number from {low:g} to {high:g}, got {value:g}")
    return float(value)


def read_count(value: Any, *, low: int = 0) -> int:
    """Return a whole number, not below a limit.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is below the limit.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got a {type(value).__name__}")
    if value < low:
        raise ValueError(f"expected a whole number of at least {low}, got {value}")
    return value


def read_text(value: Any) -> str:
    """Return a text.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got a {type(value).__name__}")
    return value


def finite_or_none(value: float | None) -> float | None:
    """Return a number as JSON can hold it, which knows neither infinity nor NaN."""
    return value if value is not None and math.isfinite(value) else None
