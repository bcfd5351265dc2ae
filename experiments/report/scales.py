"""Axes of charts: from values to places, and where the ticks stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDE = 8.0
"""Positive values that differ by more than this factor get a log axis."""

ROOM = 0.06
"""Left free on both ends of an axis, as a share of it."""

MOST_DECADES = 1.6
"""Decades of a log axis that has ticks at 2 and 5, too."""


@dataclass(frozen=True)
class Scale:
    """From values to places of the drawing."""

    low: float
    high: float
    start: float
    """The place of ``low``."""
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(at, low / 10))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """Round values inside."""
        if not self.log:
            return linear_ticks(self.low, self.high)
        return log_ticks(self.low, self.high)


def scale_of(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    log: bool | None = None,
    zero: bool = False,
) -> Scale:
    """A scale that shows all values.

    Args:
        values: finite ones count.
        start: place of the lowest.
        end: place of the highest.
        log: a log axis; by default where the values are wide apart.
        zero: begins at 0, and is linear.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    wide = low > 0.0 and high > WIDE * low
    if not zero and (wide if log is None else log and low > 0.0):
        room = max(math.log10(high / low), 0.1) * ROOM
        return Scale(low / 10**room, high * 10**room, start, end, log=True)
    if zero:
        return Scale(min(low, 0.0), (high or 1.0) * (1 + ROOM), start, end)
    room = (high - low or abs(high) or 1.0) * ROOM
    return Scale(low - room, high + room, start, end)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most so many."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 where they are few; of one step, round values."""
    decades = math.log10(high / low)
    if decades < 0.5:
        return linear_ticks(low, high, 5)
    times = (1, 2, 5) if decades < MOST_DECADES * 2 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [t * 10.0**p for p in powers for t in times if low <= t * 10.0**p <= high]


def tick_text(value: float) -> str:
    """``0.5``, ``20``, ``1,000``, ``20k``."""
    if abs(value) >= 10_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k"
    return f"{value:,.6g}"


def thinned(count: int, most: int) -> Sequence[int]:
    """At most so many places out of ``count``, evenly, with both ends."""
    if count <= most:
        return range(count)
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})
