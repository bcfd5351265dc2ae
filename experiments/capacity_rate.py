"""The largest arrival rate at which a policy meets every SLO, from one drawn workload.

1. The same requests arrive faster and slower: every rate and every policy has the same luck.
2. The search comes from above, from what the policy serves at most, so that it finds the largest
   rate even where slower arrivals miss the SLO: a batch of fixed size waits long when few come.  A
   band of rates narrower than a step of ``SCAN`` may be missed.
3. ``value`` is the largest rate that was run and met the SLOs; ``low`` and ``high`` come from the
   ends of the interval of the share that misses (inversion).  Only ``low`` may be claimed.
4. No rate above saturation counts, however short the run that it would survive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from policies import Greedy
from policies.contract import Policy, Tier
from sim.intervals import Estimate, percentile
from sim.sections import cut
from sim.stability import Driver, saturation_per_s
from sim.workload import Workload

from .config import ScenarioError
from .contest import Draw
from .crossing import crossing
from .lateness import Check, Target, check, latencies, run_needs, targets_of
from .load_curve import at_pace

TOLERANCE = 0.005
"""Relative distance of a rate that meets the SLOs from one that misses them."""

SCAN = (0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05, 0.01)
"""Shares of the saturation rate at which the search looks from above for one that meets."""

LEAST = 1e-3
"""The share of the saturation rate that stands for hardly any traffic."""

VALLEY_RUNS = 8
"""Runs that look between two steps for a rate that meets, where no step does."""

Bound = Literal["slo", "stability", "nothing", "too few requests"]


@dataclass(frozen=True)
class Limit:
    """The largest rate that meets the SLOs, in requests per second."""

    value: float | None
    """The largest rate that was run and met every SLO; None where none did."""
    low: float | None
    """What may be claimed: every SLO is met even at the upper end of its interval; 0: nowhere."""
    high: float | None
    """Above it the SLOs are missed even at the lower end of the interval."""
    from_per_s: float | None
    """The SLOs are met from this rate on; 0 where they are met down to nothing, None if unknown."""
    saturation_per_s: float
    """What the policy serves at most; above it is unstable."""
    bound: Bound
    """What ends it: an SLO, or stability; ``nothing`` where no rate meets the SLOs."""
    tier: str | None = None
    """The tier that is nearest to its SLO there."""
    tail_ms: float | None = None
    """That tier's percentile of latency there, or the lowest that was seen where none meets; None
    at the limit of stability, where it grows with the length of the run."""
    tail_at_per_s: float | None = None
    """The rate of ``tail_ms``."""
    slo_ms: float | None = None
    percentile: float | None = None
    alone_ms: float | None = None
    """The tier's percentile of service alone on an idle server; only where no rate meets."""
    needs: int | None = None
    """Requests that a run needs for the percentile, where it is too short."""
    runs: int = 0
    """Runs that it took, the one on a backlog included."""
    tolerance: float = TOLERANCE
    sections: tuple[float, ...] = field(default=(), repr=False)
    """The rate in each section, for paired differences; linear in the share that misses."""

    @property
    def estimate(self) -> Estimate:
        """The rate with its interval."""
        return Estimate(self.value, self.low, self.high, 0, self.needs, sections=self.sections)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the sections."""
        plain = asdict(self)
        del plain["sections"]
        return plain


def largest_rate(
    policy: Policy,
    draw: Draw | Sequence[Draw],
    run: Driver,
    tiers: Sequence[Tier],
    *,
    base_rate_per_s: float,
    saturation: float | None = None,
    tolerance: float = TOLERANCE,
    lowest: bool = True,
) -> Limit:
    """The largest rate at which every tier with an SLO meets it.

    Args:
        policy: not yet bound.
        draw: workload and service, or those of several replications.
        run: a driver; nothing else is shared, so that many may search in threads.
        tiers: with their SLOs, in the order of the workload's.
        base_rate_per_s: the rate of the arrivals as drawn.
        saturation: requests per second that may arrive at most, where it is known; otherwise it is
            found on a backlog.
        tolerance: largest relative distance of a rate that meets from one that misses.
        lowest: also find from which rate on the SLOs are met; costs a run, or a few.

    Raises:
        ScenarioError: a closed loop, or no tier has an SLO.
    """
    draws = as_draws(draw)
    targets = checked_targets(draws, tiers)
    rates = Rates(policy, draws, run, targets, base_rate_per_s)
    if saturation is None:
        saturation = most_that_may_arrive(policy, draws[0], run)
        rates.runs += 1
    needs = run_needs([workload for workload, _ in draws], targets)
    if needs is not None:
        return Limit(
            None, None, None, None, saturation, "too few requests",
            needs=needs, runs=rates.runs, tolerance=tolerance,
        )  # fmt: skip
    found = Search(rates, saturation, tolerance)
    value = found.value() if 0.0 < saturation < np.inf else None
    if value is None:
        return none_meets(rates, saturation, tolerance)
    low, high = found.low(value), found.high(value)
    start = found.lowest(value) if lowest else None
    worst = rates(value).worst
    steady = value < saturation
    return Limit(
        value, low, high, start, saturation,
        "slo" if steady else "stability",
        **about_tier(rates(value)) if steady else {},
        runs=rates.runs,
        tolerance=tolerance,
        sections=in_sections(value, low, high, worst.target, rates.checks),
    )  # fmt: skip


def as_draws(draw: Draw | Sequence[Draw]) -> Sequence[Draw]:
    """One realisation or several, as a sequence."""
    if isinstance(draw, tuple) and isinstance(draw[0], Workload):
        return [draw]
    return draw  # type: ignore[return-value]


def checked_targets(
    draws: Sequence[Draw], tiers: Sequence[Tier], place: str = ""
) -> tuple[Target, ...]:
    """The SLOs to meet.

    Args:
        draws: workload and service of each replication.
        tiers: in the order of the workload's.
        place: where the tiers are from, for the sentence that refuses them.

    Raises:
        ScenarioError: a closed loop, or no tier has an SLO.
    """
    if draws[0][0].closed is not None:
        raise ScenarioError(
            f"{place}workload.arrivals is a closed loop, which has no arrival rate that could be "
            'largest; give open arrivals, such as { process = "poisson", load = 0.6 }'
        )
    targets = targets_of(tiers, draws[0][0])
    if not targets:
        raise ScenarioError(
            f"{place}workload.tiers has no SLO, and capacity is the largest rate that meets the "
            "SLOs; give a tier one, such as slo = { percentile = 99, ms = 50.0 }"
        )
    return targets


def most_that_may_arrive(policy: Policy, draw: Draw, run: Driver) -> float:
    """Requests per second, too long ones included, above which a policy is unstable."""
    workload, service = draw
    admitted = float((workload.length <= service.longest_admitted).mean())
    served = saturation_per_s(policy, workload, service, run)
    return served / admitted if admitted else np.inf


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
        self.checks: dict[float, Check] = {}
        self.runs = 0

    def __call__(self, rate_per_s: float) -> Check:
        """What the runs at a rate say."""
        if rate_per_s not in self.checks:
            pace = rate_per_s / self.base_rate_per_s
            traces = [self.run(self.policy, at_pace(w, pace), s) for w, s in self.draws]
            self.checks[rate_per_s] = check(rate_per_s, traces, self.targets)
            self.runs += 1
        return self.checks[rate_per_s]


class Search:
    """The rates at which one policy begins and ceases to meet the SLOs."""

    def __init__(self, rates: Rates, saturation: float, tolerance: float) -> None:
        self.rates, self.saturation, self.tolerance = rates, saturation, tolerance

    def value(self) -> float | None:
        """The largest rate that meets the SLOs; None where no step and no valley does."""
        top = self.saturation
        for share in (*SCAN, LEAST):
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
        """The rate from which on they are met, up to ``value``; 0 where they always are."""
        below = [r for r in self.rates.checks if r < value and self.rates(r).point > 0.0]
        least = LEAST * self.saturation
        if not below and (value <= least or self.rates(least).point <= 0.0):
            return 0.0
        missed = max(below, default=least)
        start = min(r for r in self.rates.checks if missed < r <= value)
        return crossing(self._excess(_point), start, missed, self.tolerance).meets

    def _end(self, measure: Measure, value: float) -> float:
        """The largest rate up to ``value`` that meets in a stricter sense; 0 where none does."""
        if measure(self.rates(value)) <= 0.0:
            return value
        steps = [share * self.saturation for share in (*SCAN, LEAST)]
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


Measure = Callable[[Check], float]
"""At most 0 where a run meets the SLOs, in one of three senses."""


def _point(one: Check) -> float:
    return one.point


def _surely(one: Check) -> float:
    return one.surely


def _perhaps(one: Check) -> float:
    return one.perhaps


def about_tier(found: Check) -> dict[str, Any]:
    """The tier that is nearest to its SLO, as fields of a limit."""
    worst = found.worst
    return {
        "tier": worst.target.name,
        "tail_ms": worst.tail_ns / 1e6,
        "tail_at_per_s": found.rate_per_s,
        "slo_ms": worst.target.slo_ns / 1e6,
        "percentile": worst.target.percentile,
    }


def none_meets(rates: Rates, saturation: float, tolerance: float) -> Limit:
    """A limit that says how near the best rate came, and what one request alone takes."""
    about: dict[str, Any] = {}
    if rates.checks:
        best = min(rates.checks.values(), key=lambda one: one.point)
        alone = alone_ns(rates, best.worst.target, LEAST * saturation)
        about = {**about_tier(best), "alone_ms": alone / 1e6}
    return Limit(
        None, None, None, None, saturation, "nothing",
        **about, runs=rates.runs, tolerance=tolerance,
    )  # fmt: skip


def alone_ns(rates: Rates, target: Target, rate_per_s: float) -> float:
    """A tier's percentile of the time of one request alone; infinite where too many are refused."""
    pace = rate_per_s / rates.base_rate_per_s
    workload, service = rates.draws[0]
    trace = rates.run(Greedy(max_batch_size=1), at_pace(workload, pace), service)
    rates.runs += 1
    first = int(cut(trace).ids[0])
    waited = (trace.start_ns - trace.arrival_ns)[first:]
    spent = latencies(trace, 1)
    lost = spent == np.iinfo(np.int64).max
    alone = np.where(lost, spent, spent - waited)[trace.tier[first:] == target.tier]
    found = percentile(alone, target.percentile / 100.0)
    return np.inf if found == np.iinfo(np.int64).max else found


def in_sections(
    value: float, low: float, high: float, target: Target, checks: Mapping[float, Check]
) -> tuple[float, ...]:
    """The rate that each section alone would allow, linear in the share that misses.

    The slope of its logarithm is taken across the interval.  Empty where nothing is known of it: a
    limit by stability, or no rate that surely meets the SLO.
    """
    ends = [missed_by(checks[rate], target) for rate in (low, high) if rate in checks]
    here = missed_by(checks[value], target)
    if len(ends) < 2 or not here.value or not ends[0].value or not ends[1].value or high <= low:
        return ()
    slope = math.log(ends[1].value / ends[0].value) / (high - low)
    if slope <= 0.0:
        return ()
    return tuple(value - (part / here.value - 1.0) / slope for part in here.sections)


def missed_by(found: Check, target: Target) -> Estimate:
    """The share of a tier's requests that miss at some rate."""
    return next(one.missed for one in found.tiers if one.target == target)
