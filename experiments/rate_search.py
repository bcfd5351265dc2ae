"""The search for the largest rate that meets the SLOs, and for the rates around it.

It comes from above, from what the policy serves at most, so that it finds the largest rate even
where slower arrivals miss the SLOs: a batch of fixed size waits long when few come.  A band of
rates narrower than a step of ``SCAN`` may be missed, unless it lies beside the step with the least
latency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policies.contract import Policy
from sim.backlog import places_of
from sim.stability import Driver

from .contest import Draw
from .crossing import crossing
from .lateness import Check, Target, check
from .load_curve import at_pace

SCAN = (0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05, 0.01)
"""Shares of the saturation rate at which the search looks from above for one that meets."""

LEAST = 1e-3
"""The share of the saturation rate that stands for hardly any traffic."""

LEAST_BESIDE = 0.05
"""The same beside a backlog that is always there: a run that is slower by so much is longer by so
much, and the backlog with it."""

VALLEY_RUNS = 8
"""Runs that look between two steps for a rate that meets, where no step does."""

Measure = Callable[[Check], float]
"""At most 0 where a run meets the SLOs, in one of three senses."""


def _point(one: Check) -> float:
    return one.point


def _surely(one: Check) -> float:
    return one.surely


def _perhaps(one: Check) -> float:
    return one.perhaps


class Rates:
    """Runs of one policy at any rate; each rate is run once."""

    def __init__(
        self,
        policy: Policy,
        draws: Sequence[Draw],
        run: Driver,
        targets: Sequence[Target],
        base_rate_per_s: float,
    ) -> None:
        self.policy, self.draws, self.run, self.targets = policy, draws, run, targets
        self.base_rate_per_s = base_rate_per_s
        beside = bool(places_of(draws[0][0].tiers))
        self.least = LEAST_BESIDE if beside else LEAST
        self.checks: dict[float, Check] = {}
        self.runs = 0

    def __call__(self, rate_per_s: float) -> Check:
        """What the runs at a rate say."""
        if rate_per_s not in self.checks:
            pace = rate_per_s / self.base_rate_per_s
            traces = [self.run(self.policy, at_pace(w, pace), s) for w, s in self.draws]
            drifts = self.draws[0][1].drifts
            self.checks[rate_per_s] = check(rate_per_s, traces, self.targets, drifts=drifts)
            self.runs += 1
        return self.checks[rate_per_s]


class Search:
    """The rates at which one policy begins and ceases to meet the SLOs."""

    def __init__(self, rates: Rates, saturation: float, tolerance: float) -> None:
        self.rates, self.saturation, self.tolerance = rates, saturation, tolerance
        self.steps = [share for share in SCAN if share > rates.least] + [rates.least]

    def value(self) -> float | None:
        """The largest rate that meets the SLOs; None where no step and no valley does."""
        top = self.saturation
        for share in self.steps:
            rate = share * self.saturation
            if self.rates(rate).point <= 0.0:
                if share == SCAN[0] and self.rates(self.saturation).point <= 0.0:
                    return self.saturation
                return self._close(_point, rate, top)
            top = rate
        inside = self._valley()
        return None if inside is None else self._close(_point, inside, self._above(_point, inside))

    def low(self, value: float) -> float:
        """The largest rate up to ``value`` that surely meets them; 0 where none does."""
        return self._end(_surely, value)

    def high(self, value: float) -> float:
        """The least rate from ``value`` on that surely misses them, or saturation."""
        if self.rates(value).perhaps > 0.0:  # both lie on the value
            return value
        top = min(self._known(_perhaps, value, meets=False), default=self.saturation)
        if top == self.saturation and self.rates(top).perhaps <= 0.0:
            return top
        start = max(r for r in (*self._known(_perhaps, value, meets=True), value) if r < top)
        return crossing(self._excess(_perhaps), start, top, self.tolerance).misses

    def lowest(self, value: float) -> float:
        """The rate from which on they are met, up to ``value``; 0 where they are at the least."""
        below = [r for r in self.rates.checks if r < value and self.rates(r).point > 0.0]
        least = self.rates.least * self.saturation
        if not below and (value <= least or self.rates(least).point <= 0.0):
            return 0.0
        missed = max(below, default=least)
        start = min(r for r in self.rates.checks if missed < r <= value)
        return crossing(self._excess(_point), start, missed, self.tolerance).meets

    def _end(self, measure: Measure, value: float) -> float:
        """The largest rate up to ``value`` that meets in a stricter sense; 0 where none does."""
        if measure(self.rates(value)) <= 0.0:
            return value
        steps = [share * self.saturation for share in self.steps]
        known = [r for r in self.rates.checks if r < value]
        for rate in sorted({*known, *(r for r in steps if r < value)}, reverse=True):
            if measure(self.rates(rate)) <= 0.0:
                return self._close(measure, rate, self._above(measure, rate))
            if self.rates(rate).point > 0.0:  # below the band that meets at all
                break
        return 0.0

    def _close(self, measure: Measure, meets: float, misses: float) -> float:
        return crossing(self._excess(measure), meets, misses, self.tolerance).meets

    def _excess(self, measure: Measure) -> Callable[[float], float]:
        return lambda rate: measure(self.rates(rate))

    def _above(self, measure: Measure, rate: float) -> float:
        """The nearest rate above that was run and misses."""
        return min(r for r in self.rates.checks if r > rate and measure(self.rates(r)) > 0.0)

    def _known(self, measure: Measure, value: float, *, meets: bool) -> list[float]:
        """Rates from ``value`` on that were run, and meet or miss."""
        checks = list(self.rates.checks.items())
        return [r for r, one in checks if r >= value and (measure(one) <= 0.0) == meets]

    def _valley(self) -> float | None:
        """A rate that meets between steps that all miss, around the step with the least latency."""
        for _ in range(VALLEY_RUNS // 2):
            places = sorted(self.rates.checks)
            best = min(places, key=lambda r: self.rates(r).point)
            at = places.index(best)
            if at == 0:
                return None
            sides = [places[at - 1], places[at + 1] if at + 1 < len(places) else self.saturation]
            for side in sides:
                between = float(np.sqrt(best * side))
                if self.rates(between).point <= 0.0:
                    return between
        return None
