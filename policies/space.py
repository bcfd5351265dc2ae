"""Search spaces: which numbers of a rule a tuner may choose, and from what, as data.

A policy class that can be tuned has a static method ``space()`` that gives a tuple of dimensions,
as ``(Size("max_batch_size"), Time("max_wait_ms", zero=True))``.

Rules of this module:

1. A dimension names a key of the policy's table in a scenario file and is in that key's unit.
2. Given the :class:`Facts` of a scenario it becomes axes: finite, ordered grids of values that a
   person would write.  So a setting found by search can be typed, and found again.
3. ``fill`` turns chosen values into the keys of the table; most dimensions have one axis and fill
   their own key.
4. Nothing here searches, draws or knows what is best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from .contract import NEVER, FloatArray, IntArray

NS_PER_MS = 10**6

STEPS = 33
"""Values of a grid of times: steps of about 15 % over two decades."""

ZERO_SHARE = 0.125
"""Of the first tries, those at a 0 that begins a grid: not to wait is what has to be beaten."""

Number = int | float


class Facts(NamedTuple):
    """What a search space may know of a scenario."""

    largest_batch: int
    alone_ns: int
    """Time of a batch of one request of median length."""
    full_ns: int
    """Time of the largest batch of the longest requests."""
    slo_ns: int
    """The tightest latency target; NEVER without one."""
    length: IntArray
    """int64 (V,), increasing: the lengths that arrive, as the service sees them."""
    probability: FloatArray
    """float64 (V,), adds up to 1."""
    tiers: int = 1


class Axis(NamedTuple):
    """One number to choose: an ordered grid."""

    name: str
    values: tuple[Number, ...]
    log: bool = False
    """Spread the first tries evenly over the logarithm of the place: more of them at the start."""
    whole: bool = True
    """The values are whole numbers; between two of them there is none."""

    def place(self, uniform: float) -> int:
        """Index of the value for a number in [0, 1); a 0 at the start of a grid gets its share."""
        count = len(self.values)
        if not self.whole and count > 1 and self.values[0] == 0:
            rest = (uniform - ZERO_SHARE) / (1.0 - ZERO_SHARE)
            return 0 if rest < 0.0 else 1 + min(int(rest * (count - 1)), count - 2)
        if self.log:
            return min(int((count + 1) ** uniform) - 1, count - 1)
        return min(int(uniform * count), count - 1)

    def within(self, low: Number, high: Number) -> Axis:
        """The axis between two values, both included; between decimals the grid is drawn anew."""
        inside = tuple(value for value in self.values if low <= value <= high)
        if not self.whole and low < high:
            inside = _grid(low, high, zero=False, log=self.log and low > 0)
        return self._replace(values=inside)


class Dimension(Protocol):
    """What every dimension has."""

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """The numbers to choose."""
        ...

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """Keys of the policy's table, from a value for every axis of the policy."""
        ...


Space = tuple[Dimension, ...]
"""What a policy's ``space()`` gives."""


class Size(NamedTuple):
    """A batch size: 1 to the profile's largest."""

    key: str
    tiers: bool = False
    """Whether every tier has one of its own."""

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """Every size, since times rise in steps and the good sizes are at their edges."""
        axis = Axis(self.key, tuple(range(1, facts.largest_batch + 1)), log=True)
        return _for_tiers(axis, facts) if self.tiers else (axis,)

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The size, or those of all tiers."""
        return _filled(self.key, chosen, facts, tiers=self.tiers)


class Part(NamedTuple):
    """A batch size as a share of another one, so that it is never larger."""

    key: str
    of: str
    """The key of the larger one, a :class:`Size` of the same space."""

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """Eighths: 0 is a size of 1, 1 the whole."""
        return (Axis(f"{self.key}_share", tuple(i / 8 for i in range(9)), whole=False),)

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The share of the larger size, rounded up, at least 1."""
        share = chosen[f"{self.key}_share"]
        return {self.key: max(1, int(np.ceil(share * chosen[self.of])))}


class Time(NamedTuple):
    """A time in ms up to the latency target; without one, up to two of the largest batches."""

    key: str
    zero: bool = False
    """Whether it may be 0."""
    low: float = 0.05
    """Where the grid begins, in units of the time of one request alone."""
    log: bool = True
    """Logarithmic steps, or even ones."""
    tiers: bool = False
    """Whether every tier has one of its own."""

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """The grid."""
        high_ns = 2 * facts.full_ns if facts.slo_ns == NEVER else facts.slo_ns
        low_ns = min(self.low * facts.alone_ns, high_ns / 4)
        values = _grid(low_ns / NS_PER_MS, high_ns / NS_PER_MS, zero=self.zero, log=self.log)
        axis = Axis(self.key, values, whole=False)
        return _for_tiers(axis, facts) if self.tiers else (axis,)

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The time, or those of all tiers."""
        return _filled(self.key, chosen, facts, tiers=self.tiers)


class Whole(NamedTuple):
    """A whole number that no profile bounds, more densely where it is small."""

    key: str
    low: int
    high: int

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """Every number, or as many as a grid has."""
        span = np.geomspace(self.low, self.high, STEPS)
        if self.high - self.low < STEPS:
            span = np.arange(self.low, self.high + 1, dtype=np.float64)
        values = dict.fromkeys(round(rounded(value)) for value in span)
        return (Axis(self.key, tuple(values)),)

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The number."""
        return {self.key: int(chosen[self.key])}


class Real(NamedTuple):
    """A number without a unit, in even steps or logarithmic ones."""

    key: str
    low: float
    high: float
    log: bool = False
    tiers: bool = False
    """Whether every tier has one of its own."""

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """The grid."""
        values = _grid(self.low, self.high, zero=False, log=self.log)
        axis = Axis(self.key, values, whole=False)
        return _for_tiers(axis, facts) if self.tiers else (axis,)

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The number, or those of all tiers."""
        return _filled(self.key, chosen, facts, tiers=self.tiers)


class Tokens(NamedTuple):
    """A budget of padded length: from one longest request to a whole batch of them."""

    key: str

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """Logarithmic steps."""
        longest = int(facts.length[-1])
        span = np.geomspace(longest, longest * facts.largest_batch, STEPS)
        values = dict.fromkeys(max(longest, round(rounded(value))) for value in span)
        return (Axis(self.key, tuple(values)),)

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The budget."""
        return {self.key: int(chosen[self.key])}


class Buckets(NamedTuple):
    """Boundaries between length buckets: how many buckets, and what they share out evenly.

    With probabilities ``p(l)`` the boundaries are quantiles of ``p(l) l^tilt``: 0 gives every
    bucket as many requests, 1 as much work, more than 1 narrower buckets at the long end, where
    padding costs most.
    """

    key: str = "boundaries"
    most: int = 8

    def axes(self, facts: Facts) -> tuple[Axis, ...]:
        """``buckets`` and ``tilt``."""
        most = max(1, min(self.most, len(facts.length)))
        tilts = tuple(i / 4 for i in range(-2, 13))
        return (Axis("buckets", tuple(range(1, most + 1))), Axis("tilt", tilts, whole=False))

    def fill(self, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
        """The boundaries."""
        return {self.key: boundaries(facts, int(chosen["buckets"]), float(chosen["tilt"]))}


def boundaries(facts: Facts, buckets: int, tilt: float) -> list[int]:
    """Boundaries that share ``p(l) l^tilt`` evenly, increasing, below the longest length."""
    weight = facts.probability * facts.length.astype(np.float64) ** tilt
    cumulative = np.cumsum(weight) / weight.sum()
    shares = np.arange(1, buckets) / buckets
    places = np.searchsorted(cumulative, shares - 1e-12)
    found = sorted({int(facts.length[place]) for place in places})
    return [edge for edge in found if edge < facts.length[-1]]


def axes_of(space: Space, facts: Facts) -> tuple[Axis, ...]:
    """Every axis of a space, in order."""
    return tuple(axis for dimension in space for axis in dimension.axes(facts))


def filled(space: Space, chosen: Mapping[str, Number], facts: Facts) -> dict[str, Any]:
    """The keys of a policy's table, from a value for every axis."""
    return {
        key: value for dimension in space for key, value in dimension.fill(chosen, facts).items()
    }


def _for_tiers(axis: Axis, facts: Facts) -> tuple[Axis, ...]:
    """The axis for each tier, named by its number too; of a single tier as it is."""
    if facts.tiers == 1:
        return (axis,)
    return tuple(axis._replace(name=f"{axis.name}_{tier}") for tier in range(facts.tiers))


def _filled(
    key: str, chosen: Mapping[str, Number], facts: Facts, *, tiers: bool
) -> dict[str, Number | list[Number]]:
    """The value of a key, or the list of those of all tiers."""
    if tiers and facts.tiers > 1:
        return {key: [chosen[f"{key}_{tier}"] for tier in range(facts.tiers)]}
    return {key: chosen[key]}


def rounded(value: float, digits: int = 2) -> float:
    """A number with so many significant digits: what a person would type."""
    return float(f"{value:.{digits}g}")


def _grid(low: float, high: float, *, zero: bool, log: bool) -> tuple[float, ...]:
    """Values from low to high that people would write, both ends included."""
    count = STEPS - 1 if zero else STEPS
    span = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    middle = [rounded(value) for value in span[1:-1]]
    ends = (rounded(low), *middle, float(high))
    values = sorted({value for value in ends if value <= high})
    return (0.0, *values) if zero else tuple(values)
