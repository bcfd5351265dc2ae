"""The largest arrival rate at which a policy meets every SLO, from one drawn workload.

1. The same requests arrive faster and slower: every rate and every policy has the same luck.
2. ``value`` is the largest rate that was run and met the SLOs; ``low`` and ``high`` come from the
   ends of the interval of the share that misses (inversion).  Only ``low`` may be claimed.
3. No rate above saturation counts, however short the run that it would survive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from policies import Greedy
from policies.contract import Policy, Tier
from sim.backlog import without
from sim.intervals import Estimate, percentile
from sim.sections import cut
from sim.stability import Driver, saturation_per_s
from sim.stage_limits import stage_limit
from sim.stage_times import waits_ns
from sim.workload import Workload

from .config import ScenarioError
from .contest import Draw
from .lateness import Check, Target, latencies, run_needs, targets_of
from .load_curve import at_pace
from .rate_search import Rates, Search

TOLERANCE = 0.005
"""Relative distance of a rate that meets the SLOs from one that misses them."""

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
    stage: str = ""
    """The CPU stage that lets no more through, where stability is the limit and it is not the GPU.
    """
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
    drifts = draws[0][1].drifts
    needs = run_needs([workload for workload, _ in draws], targets, drifts=drifts)
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
        stage="" if steady else stage_below(draws[0], saturation),
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
    admitted = float((without(workload).length <= service.longest_admitted).mean())
    served = saturation_per_s(policy, workload, service, run)
    return served / admitted if admitted else np.inf


def stage_below(draw: Draw, saturation: float) -> str:
    """The CPU stage that lets no more than this rate through; empty where none is so slow."""
    limit = stage_limit(*draw)
    admitted = float((draw[0].length <= draw[1].longest_admitted).mean())
    return limit.name if limit.per_s <= saturation * admitted * (1.0 + 1e-9) else ""


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
        alone = alone_ns(rates, best.worst.target, rates.least * saturation)
        about = {**about_tier(best), "alone_ms": alone / 1e6}
    return Limit(
        None, None, None, None, saturation, "nothing",
        **about, runs=rates.runs, tolerance=tolerance,
    )  # fmt: skip


def alone_ns(rates: Rates, target: Target, rate_per_s: float) -> float:
    """A tier's percentile of the time of one request alone; infinite where too many are refused."""
    pace = rate_per_s / rates.base_rate_per_s
    workload, service = rates.draws[0]
    workload = without(workload)
    trace = rates.run(Greedy(max_batch_size=1), at_pace(workload, pace), service)
    rates.runs += 1
    first = int(cut(trace).ids[0])
    waited = waits_ns(trace)[first:]
    spent = latencies(trace)
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
