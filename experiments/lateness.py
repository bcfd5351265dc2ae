"""How many requests miss the latency target of their tier at some rate, with an interval.

1. A request misses when it is later than the target, rejected, expired or left unfinished: a full
   queue that turns requests away does not make a policy faster.
2. A tier meets its SLO of p99 <= 20 ms when at most 1 % of its requests miss 20 ms.  Its percentile
   counts requests that were lost as infinitely late, so that both say the same.
3. The interval of the share that misses is that of sectioning.  A share of a run is exactly the
   mean of those of its sections, so unlike a percentile it has no bias from short sections.  Its
   logarithm is taken to be symmetric (delta method), because misses come in bursts: measured on
   greedy batches with 112,000 requests, so the interval covers 97 % at loads 0.5 to 0.8, and 85 %
   at load 0.95, where a plain one covers 75 %, and the plain one of the percentile 76 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from policies.contract import NEVER, IntArray, Tier
from sim.backlog import check_there, others_of
from sim.intervals import (
    Estimate,
    half_width,
    is_long_enough,
    percentile,
    percentile_needs,
    ratio,
)
from sim.sections import cut, section_ids, sections_each
from sim.trace import SERVED, Trace
from sim.workload import Workload

FEWEST = 0.05
"""Shares below this part of what is allowed count as equal in a search: they are far from it."""

SPARE = 1.02
"""A tier's share of the requests is drawn: a run that is asked for has so many more than needed."""

ROUND = 1_000
"""A run is asked for in thousands of requests."""


class Target(NamedTuple):
    """The SLO of a tier."""

    tier: int
    name: str
    slo_ns: int
    percentile: float

    @property
    def allowed(self) -> float:
        """Share of the tier's requests that may miss."""
        return 1.0 - self.percentile / 100.0

    @property
    def text(self) -> str:
        """``p99 <= 20 ms``."""
        return f"p{self.percentile:g} <= {self.slo_ns / 1e6:g} ms"


@dataclass(frozen=True)
class Lateness:
    """What a run says of one tier's target."""

    target: Target
    missed: Estimate
    """Share of the tier's requests that miss."""
    tail_ns: float
    """The tier's percentile of latency; infinite where too many were lost."""

    @property
    def above(self) -> float:
        """Negative or 0 where the target is met, and near 1 far from it."""
        return 1.0 - self.target.slo_ns / self.tail_ns

    def excess(self, share: float | None) -> float:
        """Logarithm of a share that misses over what is allowed; negative or 0 where it may."""
        allowed = self.target.allowed
        share = 1.0 if share is None else share
        return math.log(max(share, FEWEST * allowed) / allowed)


@dataclass(frozen=True)
class Check:
    """What runs at one rate say of every tier with a target."""

    rate_per_s: float
    tiers: tuple[Lateness, ...]

    @property
    def point(self) -> float:
        """At most 0 where every tier meets its target in these runs."""
        return max(one.above for one in self.tiers)

    @property
    def surely(self) -> float:
        """At most 0 where every tier meets it even at the upper end of its interval."""
        return max(one.excess(one.missed.high) for one in self.tiers)

    @property
    def perhaps(self) -> float:
        """At most 0 where every tier may meet it, at the lower end of its interval."""
        return max(one.excess(one.missed.low) for one in self.tiers)

    @property
    def worst(self) -> Lateness:
        """The tier that is nearest to its target, or the furthest above it."""
        return max(self.tiers, key=lambda one: one.above)


def targets_of(tiers: Sequence[Tier], workload: Workload) -> tuple[Target, ...]:
    """The targets of the tiers that have one, and requests."""
    there = np.bincount(workload.tier, minlength=len(tiers)) if len(workload.tier) else [1]
    return tuple(
        Target(place, tier.name, tier.slo_ns, tier.percentile)
        for place, (tier, count) in enumerate(zip(tiers, there, strict=False))
        if tier.slo_ns < NEVER and count
    )


def check(
    rate_per_s: float, traces: Sequence[Trace], targets: Sequence[Target], *, drifts: bool = False
) -> Check:
    """Hold the replications of a run against the targets; ``drifts`` as in :func:`cut`.

    Raises:
        WorkloadError: a backlog that should always be there ran dry.
    """
    for trace in traces:
        check_there(trace)
    spent = [latencies(trace) for trace in traces]
    found = (lateness(target, traces, spent, drifts=drifts) for target in targets)
    return Check(rate_per_s, tuple(found))


def latencies(trace: Trace) -> IntArray:
    """Nanoseconds from arrival to finish after the warm-up; NEVER for those not served."""
    kept = slice(int(cut(trace).ids[0]), None)
    spent = trace.finish_ns[kept] - trace.arrival_ns[kept]
    lost = trace.status[kept] != SERVED
    if lost.any():
        spent[lost] = NEVER
    return spent


def lateness(
    target: Target, traces: Sequence[Trace], spent: Sequence[IntArray], *, drifts: bool = False
) -> Lateness:
    """One tier, all replications."""
    missed, asked, values = [], [], []
    for trace, latency in zip(traces, spent, strict=True):
        ids = cut(trace, len(traces), drifts=drifts).ids
        own = None if len(trace.tiers) == 1 else trace.tier[ids[0] :] == target.tier
        values.append(latency if own is None else latency[own])
        for low, high in pairwise((ids - ids[0]).tolist()):
            part = latency[low:high] if own is None else latency[low:high][own[low:high]]
            missed.append(np.count_nonzero(part > target.slo_ns))
            asked.append(len(part))
    share = ratio(np.array(missed), np.array(asked), np.array(asked), (0.0, 1.0))
    every = values[0] if len(values) == 1 else np.concatenate(values)
    tail = percentile(every, target.percentile / 100.0) if len(every) else math.inf
    return Lateness(target, on_log_scale(share), math.inf if tail >= NEVER else tail)


def on_log_scale(share: Estimate) -> Estimate:
    """The same share with an interval that is symmetric in its logarithm, and never negative."""
    if not share.sections or not share.value:
        return share
    half = half_width(np.array(share.sections) - share.value) / share.value
    high = share.value * math.exp(min(half, -math.log(share.value)))
    return replace(share, low=share.value * math.exp(-half), high=high)


def run_needs(
    workloads: Sequence[Workload], targets: Sequence[Target], *, drifts: bool = False
) -> int | None:
    """Requests that a run needs for the percentile of every target; None where it has them."""
    per_run = sections_each(len(workloads), drifts=drifts)
    needs = [found for one in targets if (found := _needs(workloads, one, per_run)) is not None]
    return max(needs, default=None)


def _needs(workloads: Sequence[Workload], target: Target, per_run: int) -> int | None:
    """Requests that all replications need together for one target; None where they have them."""
    counts, total = [], 0
    for workload in workloads:
        own = workload.tier == target.tier if len(workload.tier) else np.ones(len(workload), bool)
        edges = section_ids(workload.tier, workload.tiers, len(workload), per_run)
        counts += [np.count_nonzero(own[a:b]) for a, b in pairwise(edges.tolist())]
        others = others_of(workload.tier, workload.tiers)
        total += len(workload) if others is None else len(others)
    needs = percentile_needs(target.percentile / 100.0, len(counts))
    if is_long_enough(np.array(counts), needs):
        return None
    fewest = SPARE * needs * total / max(sum(counts), 1)
    fewest = fewest if fewest > total else 2 * total  # enough, but unevenly spread
    return math.ceil(fewest / ROUND) * ROUND
