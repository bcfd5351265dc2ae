"""What a run says of its CPU stages: how busy their workers are, and where latency is spent.

1. The warm-up is left out and sections are cut as in :mod:`sim.metrics`.
2. A stage's waits and services are of everybody who went through it, whatever became of them later.
3. Where latency is spent is told of the requests that were served: on average, and on average over
   the slowest, those at or above p99.  The six parts add up to the latency, exactly.
4. An unstable run has neither waits nor parts: they grow with its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray

from .intervals import TAIL_PER_SECTION, Estimate, percentiles, ratio, refused
from .sections import Sections, overlap
from .stage_times import PARTS, parts_ns, times_of
from .trace import SERVED, Trace

MS = 1e-6
"""Milliseconds in a nanosecond."""

SLOWEST = 0.99
"""The slowest requests are those from this percentile on."""


class Passage(NamedTuple):
    """Who went through a stage in one run, n of them by the order in which they came."""

    ids: IntArray
    came_ns: IntArray
    start_ns: IntArray
    end_ns: IntArray


@dataclass(frozen=True)
class StageLoad:
    """One stage."""

    name: str
    """``preprocessing`` or ``postprocessing``, as in a scenario."""
    workers: int
    utilisation: Estimate
    """Share of its workers' time in which they are busy."""
    wait_ms: dict[str, Estimate]
    """``mean`` and ``p99`` of the wait for a worker."""
    service_ms: dict[str, Estimate]
    """``mean`` and ``p99`` of the time that a worker takes."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "workers": self.workers,
            "utilisation": self.utilisation.value,
            "intervals": {"utilisation": self.utilisation.to_json()},
            "wait_ms": {key: one.to_json() for key, one in self.wait_ms.items()},
            "service_ms": {key: one.to_json() for key, one in self.service_ms.items()},
        }


class Spent(NamedTuple):
    """Where latency is spent."""

    mean_ms: dict[str, Estimate]
    """Each of ``PARTS``, of all requests that were served."""
    slowest_ms: dict[str, Estimate]
    """Each of ``PARTS``, of the slowest of them."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        parts = (("mean", self.mean_ms), ("slowest_1_percent", self.slowest_ms))
        return {of: {part: one.to_json() for part, one in found.items()} for of, found in parts}


@dataclass(frozen=True)
class StageMeasures:
    """The stages of a run, and its latency in parts."""

    stages: tuple[StageLoad, ...]
    spent: Spent
    """Of all tiers together."""
    tiers: dict[str, Spent]
    """Of each tier by its name, where there are several."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        tiers = {name: spent.to_json() for name, spent in self.tiers.items()}
        return {
            **{stage.name: stage.to_json() for stage in self.stages},
            "latency_parts_ms": {**self.spent.to_json(), **({"tiers": tiers} if tiers else {})},
        }


def measure_stages(
    traces: Sequence[Trace],
    sections: Sequence[Sections],
    refusal: str = "",
    tail: int = TAIL_PER_SECTION,
) -> StageMeasures | None:
    """The stages of a run; None where it has none.

    Args:
        traces: the replications of one scenario under one policy.
        sections: of each.
        refusal: why there are no waits, where the run is not stable.
        tail: as :func:`sim.metrics.measure`.
    """
    times = traces[0].stages
    if times is None:
        return None
    stages = []
    for name, workers in (
        ("preprocessing", times.pre_workers),
        ("postprocessing", times.post_workers),
    ):
        if workers:
            passed = [passage(trace, name) for trace in traces]
            stages.append(_load(name, workers, passed, sections, refusal, tail))
    names = [tier.name for tier in traces[0].tiers]
    of_tiers = {
        name: _spent(traces, sections, refusal, tail, place)
        for place, name in enumerate(names)
        if len(names) > 1
    }
    return StageMeasures(tuple(stages), _spent(traces, sections, refusal, tail), of_tiers)


def passage(trace: Trace, name: str) -> Passage:
    """Who went through ``preprocessing`` or ``postprocessing``, and when."""
    times = times_of(trace)
    if name == "preprocessing":
        ids = np.arange(len(trace))
        return Passage(ids, trace.arrival_ns, times.pre_start_ns, times.queued_ns)
    served = np.flatnonzero(trace.status == SERVED)
    done_ns = trace.batch_finish_ns[trace.batch[served]]
    order = np.argsort(done_ns, kind="stable")
    ids = served[order]
    return Passage(ids, done_ns[order], times.post_start_ns[ids], trace.finish_ns[ids])


def _load(
    name: str,
    workers: int,
    passed: Sequence[Passage],
    sections: Sequence[Sections],
    refusal: str,
    tail: int,
) -> StageLoad:
    """One stage."""
    busy, lasts, waits, services, counts = [], [], [], [], []
    for one, cuts in zip(passed, sections, strict=True):
        busy.append(overlap(one.start_ns, one.end_ns, cuts.edges_ns))
        lasts.append(np.diff(cuts.edges_ns) * workers)
        order = np.argsort(one.ids, kind="stable")
        places = np.searchsorted(one.ids, cuts.ids, sorter=order)
        kept = order[places[0] : places[-1]]
        start_ns = one.start_ns[kept]
        waits.append(start_ns - one.came_ns[kept])
        services.append(one.end_ns[kept] - start_ns)
        counts.append(np.diff(places))
    count = np.concatenate(counts)
    used = ratio(np.concatenate(busy), np.concatenate(lasts), count, (0.0, 1.0))
    wait_ms = _mean_and_p99(joined(waits), count, refusal, tail)
    service_ms = _mean_and_p99(joined(services), count, "", tail)
    return StageLoad(name, workers, used, wait_ms, service_ms)


def _mean_and_p99(
    values: IntArray, counts: IntArray, refusal: str, tail: int
) -> dict[str, Estimate]:
    """Mean and p99 in ms of values in order of their sections; they are reordered in place."""
    n = int(counts.sum())
    if refusal:
        return dict.fromkeys(("mean", "p99"), refused(n, reason=refusal))
    mean = _mean(values, counts)
    (high,) = percentiles(values, np.append(0, np.cumsum(counts)), [SLOWEST], tail)
    return {"mean": mean, "p99": high.scaled(MS)}


def _mean(values: IntArray, counts: IntArray) -> Estimate:
    """A mean in ms; refused where the run is too short for an interval."""
    cuts = np.append(0, np.cumsum(counts))
    sums = np.array([values[a:b].sum() for a, b in pairwise(cuts)])
    found = ratio(sums, counts, counts)
    return (refused(found.n, found.needs) if found.low is None else found).scaled(MS)


def _spent(
    traces: Sequence[Trace],
    sections: Sequence[Sections],
    refusal: str,
    tail: int,
    tier: int | None = None,
) -> Spent:
    """The parts of the latency of all, and of the slowest; of one tier, or of all together."""
    parts: dict[str, list[IntArray]] = {name: [] for name in PARTS}
    counted = []
    for trace, cuts in zip(traces, sections, strict=True):
        first = int(cuts.ids[0])
        wanted = trace.status[first:] == SERVED
        own: NDArray[np.bool_] | slice = slice(None)
        if tier is not None:
            own = (trace.tier[first:] == tier)[wanted]
            wanted &= trace.tier[first:] == tier
        for name, values in parts_ns(trace, first).items():
            parts[name].append(values[own])
        counted.append([np.count_nonzero(wanted[a:b]) for a, b in pairwise(cuts.ids - first)])
    counts = np.concatenate(counted)
    if refusal:
        nothing = refused(int(counts.sum()), reason=refusal)
        return Spent(dict.fromkeys(PARTS, nothing), dict.fromkeys(PARTS, nothing))
    whole = {name: joined(values) for name, values in parts.items()}
    means = {name: _mean(values, counts) for name, values in whole.items()}
    return Spent(means, _slowest(whole, counts, tail))


def joined(values: Sequence[IntArray]) -> IntArray:
    """The values of all replications; those of one are not copied."""
    return values[0] if len(values) == 1 else np.concatenate(values)


def _slowest(whole: dict[str, IntArray], counts: IntArray, tail: int) -> dict[str, Estimate]:
    """The parts of the slowest, refused where p99 itself would be."""
    cuts = np.append(0, np.cumsum(counts))
    latency = np.zeros(int(cuts[-1]), dtype=np.int64)
    for values in whole.values():
        latency += values
    (found,) = percentiles(latency.copy(), cuts, [SLOWEST], tail)
    if found.value is None:
        return dict.fromkeys(PARTS, refused(found.n, found.needs))
    slow: NDArray[np.bool_] = latency >= found.value
    del latency
    few = np.array([np.count_nonzero(slow[a:b]) for a, b in pairwise(cuts)])
    sums = {
        name: np.array([values[a:b][slow[a:b]].sum() for a, b in pairwise(cuts)])
        for name, values in whole.items()
    }
    return {name: ratio(total, few, counts).scaled(MS) for name, total in sums.items()}
