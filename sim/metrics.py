"""What a run says, each number with its interval: from traces alone, simulated or live.

1. Counts (requests, served, rejected, expired, unfinished) are of the whole run.
2. Everything else leaves out the warm-up, the first 10 % of the requests.
3. Latency is from arrival to the end of the batch, wait from arrival to its start; both are of the
   requests that were served.  Where there are CPU stages (:mod:`sim.stage_measures`) latency ends
   with post-processing, and pre-processing belongs to the wait.  Where batches were sealed before
   a server was free the wait has two parts, ``forming_ms`` until then and ``sealed_ms``.
4. ``slo_attainment`` is the share of the requests that met the target of their tier; one that was
   rejected, expired or left unfinished missed it.  Overall it is that of all tiers with an SLO.
   ``served_share`` is the share that was served at all.
5. Rates, utilisation and numbers in the system are of the window from the first request that is
   kept to the last arrival, in which requests count when they finish.
6. A tier's share of a mixed batch is that of its members, so that the tiers add up to the whole.
7. An unstable run has neither latency nor wait nor number in system: they grow with its length.
8. Nor has a backlog that is always there, whose requests wait from the beginning; those of all
   tiers together are of the others.  It has its share of what the others leave
   (:mod:`sim.spare_capacity`) instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, FloatArray, IntArray

from .backlog import check_there, places_of
from .intervals import (
    LATEST_CUT,
    TAIL_PER_SECTION,
    Difference,
    Estimate,
    mser5,
    paired,
    percentiles,
    ratio,
    refused,
)
from .measures import RATES, SHARES, Group, Measures
from .replica_use import measure_replicas
from .sections import Sections, as_traces, cut, leave_ns, overlap
from .sequence_measures import measure_sequences
from .service import Service
from .stability import Stability
from .stage_measures import measure_stages
from .tally import answered, attained, tally
from .trace import SERVED, STATUS_NAMES, Trace

MS = 1e-6
"""Milliseconds in a nanosecond."""

OVERALL = "overall"
"""The name of the group of all requests."""

Count = Callable[[Trace, Sections, Sequence[int]], tuple[IntArray, IntArray]]

ALWAYS_THERE = "a backlog that is always there waits from the beginning, so it has no latency"
"""Why a backlog's tier has neither latency nor wait nor number in system."""


def measure(
    traces: Trace | Sequence[Trace],
    service: Service,
    *,
    load: float | None = None,
    stability: Stability | None = None,
    shares: Mapping[str, float] = SHARES,
    tail: int = TAIL_PER_SECTION,
) -> Measures:
    """Every number of a run.

    Args:
        traces: one trace, or the replications of one scenario under one policy.
        service: the profile, for useful work and padding, and whether it drifts.
        load: passed on.
        stability: passed on; where it says unstable, latencies are refused.
        shares: the percentiles by name, as ``{"p99": 0.99}``.
        tail: requests beyond a percentile that a section must have; with fewer than by default the
            intervals cover too little, and the values are for a first look only.

    Raises:
        WorkloadError: a backlog that should always be there ran dry.
    """
    traces = as_traces(traces)
    for trace in traces:
        check_there(trace)
    runs = tuple(
        _Run(trace, cut(trace, len(traces), drifts=service.drifts), service) for trace in traces
    )
    refusal = "" if stability is None or stability.stable else stability.message
    tiers = runs[0].trace.tiers
    groups = tuple(
        _group(tier.name, runs, [k], refusal, shares, tail) for k, tier in enumerate(tiers)
    )
    if len(tiers) == 1:
        overall = replace(groups[0], name=OVERALL)
    else:
        overall = _group(OVERALL, runs, list(range(len(tiers))), refusal, shares, tail)
    warnings = () if refusal else tuple(_warnings(runs))
    stages = measure_stages(traces, [run.sections for run in runs], refusal, tail)
    replicas = measure_replicas(traces, [run.sections for run in runs], service)
    sequences = measure_sequences(traces, [run.sections for run in runs], refusal, tail)
    return Measures(overall, groups, load, stability, warnings, stages, replicas, sequences)


def paired_difference(
    first: Measures, second: Measures, statistic: str, tier: str | None = None
) -> Difference:
    """How two policies differ in one statistic on the same arrivals, lengths and noise.

    Args:
        first: the measures of one policy.
        second: those of another on the same workload.
        statistic: a name of ``Group.estimates``, such as ``latency_ms.p99``.
        tier: the name of a tier; by default all requests.
    """
    return paired(first.group(tier).estimate(statistic), second.group(tier).estimate(statistic))


class _Run:
    """One replication with its sections and sums."""

    def __init__(self, trace: Trace, sections: Sections, service: Service) -> None:
        self.trace = trace
        self.sections = sections
        self.sums = tally(trace, service, sections)

    def own(self, tiers: Sequence[int], first: int = 0) -> NDArray[np.bool_] | None:
        """Which requests from an id on are of these tiers; None if all are."""
        if len(tiers) == len(self.trace.tiers):
            return None
        return np.asarray(np.isin(self.trace.tier[first:], tiers))

    def waiting(self, tiers: Sequence[int]) -> list[int]:
        """Those of some tiers whose requests have a latency."""
        return [k for k in tiers if not self.trace.tiers[k].backlog]

    def spans(self, tiers: Sequence[int], since: str, until: str) -> tuple[IntArray, IntArray]:
        """Nanoseconds between two instants of the served requests that count, in order.

        Returns:
            int64 (n,) and int64 (sections,), how many of them are in each section.
        """
        trace, first = self.trace, int(self.sections.ids[0])
        served = trace.status[first:] == SERVED
        own = self.own(self.waiting(tiers), first)
        if own is not None:
            served &= own
        cuts = self.sections.ids - first
        counts = np.array([np.count_nonzero(served[a:b]) for a, b in pairwise(cuts)])
        kept = slice(None) if counts.sum() == len(served) else served
        instants = getattr(trace, until)[first:][kept]
        return instants - getattr(trace, since)[first:][kept], counts

    def number_ns(self, tiers: Sequence[int]) -> FloatArray:
        """float64 (sections,): integral of the number in the system over each section."""
        edges = self.sections.edges_ns
        arrival, leave = self.trace.arrival_ns, leave_ns(self.trace, int(edges[-1]))
        own = self.own(self.waiting(tiers))
        if own is not None:
            arrival, leave = arrival[own], leave[own]
        return overlap(arrival, leave, edges)


def _group(
    name: str,
    runs: Sequence[_Run],
    tiers: list[int],
    refusal: str,
    shares: Mapping[str, float],
    tail: int,
) -> Group:
    """The numbers of some tiers together."""

    def total(column: str) -> FloatArray:
        return np.concatenate([getattr(run.sums, column)[tiers].sum(axis=0) for run in runs])

    status = np.zeros(len(STATUS_NAMES), dtype=np.int64)
    for run in runs:
        own = run.own(tiers)
        kept = run.trace.status if own is None else run.trace.status[own]
        status += np.bincount(kept, minlength=len(STATUS_NAMES))
    fates: dict[str, Any] = dict(zip(STATUS_NAMES, status.tolist(), strict=True))
    lasts_ns = np.concatenate([np.diff(run.sections.edges_ns) for run in runs])
    servers_ns = lasts_ns * runs[0].trace.servers
    served, padded = total("served"), total("padded")
    counts = served.astype(np.int64)
    waiting = runs[0].waiting(tiers)
    promised = [k for k in waiting if runs[0].trace.tiers[k].slo_ns < NEVER]
    if not waiting:
        refusal = ALWAYS_THERE
    number = refused(int(counts.sum()), reason=refusal)
    if not refusal:
        number = ratio(np.concatenate([run.number_ns(tiers) for run in runs]), lasts_ns, counts)
    spread = partial(_spread, runs, tiers, refusal, shares, tail)
    parts: dict[str, Any] = {}
    if any(run.trace.seals for run in runs):
        parts["forming_ms"] = spread("arrival_ns", "formed_ns")
        parts["sealed_ms"] = spread("formed_ns", "start_ns")
    return Group(
        name,
        requests=int(status.sum()),
        **fates,
        latency_ms=spread("arrival_ns", "finish_ns"),
        wait_ms=spread("arrival_ns", "start_ns"),
        **parts,
        throughput_per_s=ratio(served, lasts_ns / 1e9, counts),
        goodput_per_s=ratio(total("good"), lasts_ns / 1e9, counts),
        slo_attainment=_share(runs, promised, attained),
        served_share=_share(runs, waiting, answered),
        utilisation=ratio(total("busy_ns"), servers_ns, counts, (0.0, 1.0)),
        useful_fraction=ratio(total("useful_ns"), servers_ns, counts),
        mean_batch_size=ratio(served, total("batches"), counts),
        padding_waste=ratio(padded - total("length"), padded, counts, (0.0, 1.0)),
        mean_number_in_system=number,
        **_of_spare(runs, tiers, served, lasts_ns),
    )


def _of_spare(
    runs: Sequence[_Run], tiers: list[int], served: FloatArray, lasts_ns: IntArray
) -> dict[str, Any]:
    """What a backlog got of the capacity that the others leave; nothing for other groups."""
    if len(tiers) > 1 or not runs[0].trace.tiers[tiers[0]].backlog:
        return {}
    always = places_of(runs[0].trace.tiers)
    every = np.concatenate([run.sums.least_ns.sum(axis=0) for run in runs])
    there = np.concatenate([run.sums.least_ns[always].sum(axis=0) for run in runs])
    own = np.concatenate([run.sums.least_ns[tiers[0]] for run in runs])
    spare = lasts_ns * runs[0].trace.servers - (every - there)
    counts = served.astype(np.int64)
    mean_s = own.sum() / max(served.sum(), 1.0) / 1e9
    return {
        "bound_per_s": ratio(spare, lasts_ns * mean_s, counts),
        "share_of_bound": ratio(own, spare, counts),
    }


def _spread(
    runs: Sequence[_Run],
    tiers: list[int],
    refusal: str,
    shares: Mapping[str, float],
    tail: int,
    since: str,
    until: str,
) -> dict[str, Estimate]:
    """Mean and percentiles of latency, of the wait or of a part of it, in ms."""
    found = [run.spans(tiers, since, until) for run in runs]
    counts = np.concatenate([count for _, count in found])
    n = int(counts.sum())
    if refusal:
        return dict.fromkeys(("mean", *shares), refused(n, reason=refusal))
    values = found[0][0] if len(runs) == 1 else np.concatenate([value for value, _ in found])
    del found
    cuts = np.append(0, np.cumsum(counts))
    sums = np.array([values[a:b].sum() for a, b in pairwise(cuts)])
    mean = ratio(sums, counts, counts)
    if mean.low is None:
        mean = refused(n, mean.needs)
    tails = percentiles(values, cuts, list(shares.values()), tail)
    estimates = {"mean": mean} | dict(zip(shares, tails, strict=True))
    return {key: one.scaled(MS) for key, one in estimates.items()}


def _share(runs: Sequence[_Run], tiers: Sequence[int], count: Count) -> Estimate | None:
    """How many requests of how many, by sections; None where there are no such tiers."""
    if not tiers:
        return None
    found = [count(run.trace, run.sections, tiers) for run in runs]
    some, asked = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
    return ratio(some, asked, asked, (0.0, 1.0))


def _warnings(runs: Sequence[_Run]) -> Iterator[str]:
    """What a reader of the numbers should know."""
    for run in runs:
        trace = run.trace
        served = trace.status == SERVED
        kept = slice(None) if served.all() else served
        share = mser5(trace.finish_ns[kept] - trace.arrival_ns[kept])
        if share > LATEST_CUT:
            yield (
                f"the run is too short: MSER-5 would drop {share:.0%} of it as warm-up, "
                f"more than {LATEST_CUT:.0%}"
            )
            return


__all__ = ["RATES", "SHARES", "Group", "Measures", "measure", "paired_difference"]
