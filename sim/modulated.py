"""Poisson arrivals whose rate changes: at random (Markov-modulated), or along a given curve.

Both turn the points of a Poisson process of rate 1 into instants by the exact inverse of the
integrated rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from policies.contract import FloatArray

from .errors import is_positive, require

SECOND_NS = 1_000_000_000

FIRST_BLOCK, LARGEST_BLOCK = 256, 65_536
"""Instants drawn at a time: few at first, so that short draws are quick, then twice as many each
time up to what fits the cache.  The sizes are fixed, so that draws are prefixes of each other.
"""

SOJOURNS = 4_096
"""Visits of states drawn at a time."""


def block_sizes() -> Iterator[int]:
    """How many instants to draw next, without end."""
    size = FIRST_BLOCK
    while True:
        yield size
        size = min(2 * size, LARGEST_BLOCK)


def running_sum(gaps: Callable[[int], FloatArray]) -> Iterator[FloatArray]:
    """Blocks of partial sums of an endless sequence; ``gaps`` draws the next so many."""
    last = 0.0
    for size in block_sizes():
        block = np.cumsum(gaps(size))
        block += last
        last = float(block[-1])
        yield block


@dataclass(frozen=True)
class Mmpp:
    """Markov-modulated Poisson process: the rate jumps between states.

    In state i requests come at ``rates_per_s[i]``; the state is left at ``switch_per_s[i]`` for the
    next one, the last for the first.  It starts in equilibrium.
    """

    rates_per_s: tuple[float, ...]
    switch_per_s: tuple[float, ...]

    def __post_init__(self) -> None:
        rates, switch = self.rates_per_s, self.switch_per_s
        require(
            len(rates) == len(switch) >= 2,
            "rates_per_s and switch_per_s have the same length of at least 2",
            rates_per_s=rates,
            switch_per_s=switch,
        )
        require(
            all(rate == 0 or is_positive(rate) for rate in rates) and any(rates),
            "rates_per_s are not negative and not all 0",
            rates_per_s=rates,
        )
        require(all(map(is_positive, switch)), "switch_per_s > 0", switch_per_s=switch)

    @cached_property
    def share_of_time(self) -> FloatArray:
        """Equilibrium: share of time in each state, float64 (states,)."""
        stay = 1.0 / np.array(self.switch_per_s)
        share: FloatArray = stay / stay.sum()
        return share

    @property
    def rate_per_s(self) -> float:
        """Mean rate."""
        return float(self.share_of_time @ np.array(self.rates_per_s))

    @property
    def gap_cv(self) -> float:
        """From the phase-type gaps: ``E[X**2] = 2 phi D0**-2 1`` (Fischer, Meier-Hellstern).

        The Markov-modulated Poisson process cookbook, Performance Evaluation 18, 1993.
        """
        states = len(self.rates_per_s)
        rates = np.diag(self.rates_per_s)
        leave = np.diag(self.switch_per_s)
        inverse = np.linalg.inv(np.roll(leave, 1, axis=1) - leave - rates)
        at_arrivals = self.share_of_time @ rates / self.rate_per_s
        square = 2.0 * float(at_arrivals @ inverse @ inverse @ np.ones(states))
        return float(np.sqrt(square * self.rate_per_s**2 - 1.0))

    def at_rate(self, rate_per_s: float) -> Self:
        """All rates times the same factor; the states last as long as before."""
        require(is_positive(rate_per_s), "rate_per_s > 0", rate_per_s=rate_per_s)
        factor = rate_per_s / self.rate_per_s
        return replace(self, rates_per_s=tuple(rate * factor for rate in self.rates_per_s))

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Unit points through the inverse of the integrated rate of a drawn path."""
        path = self._path(rng)
        until_ns, points = next(path)
        for unit in running_sum(rng.standard_exponential):
            pieces = [(until_ns, points)]
            while pieces[-1][1][-1] < unit[-1]:
                pieces.append(next(path))
            until_ns = np.concatenate([piece[0] for piece in pieces])
            points = np.concatenate([piece[1] for piece in pieces])
            yield np.interp(unit, points, until_ns)
            done = max(int(np.searchsorted(points, unit[-1], side="left")) - 1, 0)
            until_ns, points = until_ns[done:], points[done:]

    def _path(self, rng: np.random.Generator) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Blocks of (ends of visits in ns, integrated rate there); each begins where one ended."""
        states = len(self.rates_per_s)
        per_ns = np.array(self.rates_per_s) / SECOND_NS
        stay_ns = SECOND_NS / np.array(self.switch_per_s)
        state = int(rng.choice(states, p=self.share_of_time))
        now_ns, points = 0.0, 0.0
        while True:
            visited = (state + np.arange(SOJOURNS)) % states
            visits_ns = rng.standard_exponential(SOJOURNS) * stay_ns[visited]
            ends_ns = now_ns + np.concatenate([[0.0], np.cumsum(visits_ns)])
            sums = points + np.concatenate([[0.0], np.cumsum(visits_ns * per_ns[visited])])
            yield ends_ns, sums
            state = (state + SOJOURNS) % states
            now_ns, points = float(ends_ns[-1]), float(sums[-1])


@dataclass(frozen=True)
class RateCurve:
    """Poisson arrivals along a rate that is linear between given points: spikes, ramps, days.

    ``points`` are (ns, rate per second), from 0 and increasing.  After the last point the curve
    begins again.
    """

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        instants, rates = [p[0] for p in self.points], [p[1] for p in self.points]
        require(
            len(instants) >= 2
            and instants[0] == 0
            and all(a < b for a, b in itertools.pairwise(instants)),
            "points begin at 0 and increase, and there are at least 2",
            points=self.points,
        )
        require(
            all(rate == 0 or is_positive(rate) for rate in rates) and any(rates),
            "rates of points are not negative and not all 0",
            points=self.points,
        )

    @cached_property
    def integrated(self) -> FloatArray:
        """Expected arrivals from 0 up to each point, float64 (points,)."""
        at_ns, rates = np.array(self.points, dtype=np.float64).T
        area = np.diff(at_ns) * (rates[1:] + rates[:-1]) / (2 * SECOND_NS)
        return np.concatenate([[0.0], np.cumsum(area)])

    @property
    def rate_per_s(self) -> float:
        """Mean rate over one run through the curve."""
        return float(self.integrated[-1]) * SECOND_NS / self.points[-1][0]

    @property
    def gap_cv(self) -> None:
        """Not known in closed form."""
        return

    def at_rate(self, rate_per_s: float) -> Self:
        """All rates times the same factor; the instants of the points stay."""
        require(is_positive(rate_per_s), "rate_per_s > 0", rate_per_s=rate_per_s)
        factor = rate_per_s / self.rate_per_s
        return replace(self, points=tuple((at, rate * factor) for at, rate in self.points))

    def instants_ns(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Unit points through the inverse of the integrated rate.

        Inside a segment of d with rates a to b the area u is reached after
        ``2 u / (a + sqrt(a**2 + 2 u (b - a) / d))``, which is stable for flat segments.
        """
        at_ns, rates = np.array(self.points, dtype=np.float64).T
        per_ns = rates / SECOND_NS
        slope = np.diff(per_ns) / np.diff(at_ns)
        last = 0.0
        for unit in running_sum(rng.standard_exponential):
            rounds, inside = np.divmod(unit, self.integrated[-1])
            part = np.searchsorted(self.integrated, inside, side="right") - 1
            part = np.minimum(part, len(slope) - 1)
            area = inside - self.integrated[part]
            begin = per_ns[part]
            root = np.sqrt(np.maximum(begin * begin + 2.0 * area * slope[part], 0.0))
            height = begin + root
            into_ns = np.divide(2.0 * area, height, out=np.zeros(len(unit)), where=height > 0)
            instants = rounds * at_ns[-1] + at_ns[part] + into_ns
            instants[0] = max(instants[0], last)
            np.maximum.accumulate(instants, out=instants)  # rounding where segments join
            last = float(instants[-1])
            yield instants
