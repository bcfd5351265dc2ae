"""A drawn workload: who arrives when, how long each request is, and how patient.

1. Everything is drawn before the run, so that every driver and every policy sees the same requests.
2. Arrivals, lengths, tiers and patience come from streams of their own: another seed for one of
   them, another rate or another patience leaves the others as they are.
3. A longer draw begins with the shorter one.
4. A backlog that is always there (:mod:`sim.backlog`) is drawn beside the others: ``requests`` and
   the duration are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, IntArray, Tier

from .arrivals import draw_arrivals
from .backlog import Backlog, end_of_run, joined
from .closed import Closed, check_closed
from .errors import WorkloadError
from .lengths import LONGEST, Column, Lengths
from .replay import Replay
from .sequence_arrivals import InSequences
from .sequences import Sequences
from .specs import TierSpec, Timeout, WorkloadSpec
from .streams import Seeds, stream

NO_TIMES: IntArray = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ClosedLoop:
    """Clients that send, wait for the answer, think, and send again.

    A client's first request arrives after its first think time.  A refused or expired client thinks
    first, too.
    Ids are given by (arrival time, client).
    """

    think_ns: IntArray
    """int64 (clients, cycles): the think time before a client's k-th request; repeats after the
    last column.
    """


@dataclass(frozen=True)
class Workload:
    """One realisation of a workload; request ids are indices, in order of arrival."""

    length: NDArray[np.int32]
    """int32 (N,)."""
    arrival_ns: IntArray = field(default_factory=lambda: NO_TIMES)
    """int64 (N,), not decreasing; empty in a closed loop, whose drivers find the arrivals."""
    tier: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    """int8 (N,); empty: every request is of tier 0."""
    timeout_ns: IntArray = field(default_factory=lambda: NO_TIMES)
    """int64 (N,) patience from arrival to start, positive, NEVER without limit; empty: nobody gives
    up.
    """
    closed: ClosedLoop | None = None
    tiers: tuple[Tier, ...] = (Tier("all"),)
    length_unit: str = "tokens"
    sequences: Sequences | None = None
    """Which requests belong together, only in open workloads; None: none do."""
    until_ns: int = NEVER
    """From this instant on no batch starts: who still waits is left unfinished."""

    def __len__(self) -> int:
        return int(self.length.shape[0])


def draw_workload(spec: WorkloadSpec, seeds: Seeds | None = None, replication: int = 0) -> Workload:
    """Draw one realisation.

    Args:
        spec: what is asked for.
        seeds: one seed for each source of randomness.
        replication: another number gives an independent realisation.

    Raises:
        WorkloadError: no request arrives, a trace is too short, or a request is too long.
    """
    seeds = seeds or Seeds()
    if spec.closed is not None:
        assert spec.requests is not None, "checked on construction"
        rng = stream(seeds.arrivals, "arrivals", replication, 0)
        closed = ClosedLoop(spec.closed.think_table(rng, spec.requests))
        arrival_ns, requests = NO_TIMES, spec.requests
        tier, sequences = _shared_tiers(spec, seeds, replication, requests), None
    else:
        closed = None
        arrival_ns, tier, sequences = _arrivals(spec, seeds, replication)
        requests = len(arrival_ns)
    length = _lengths(spec, seeds, replication, requests, tier)
    workload = Workload(
        length=_within(spec, length),
        arrival_ns=arrival_ns,
        tier=tier,
        timeout_ns=_timeouts(spec, seeds, replication, requests, tier),
        closed=closed,
        tiers=tuple(each.tier for each in spec.tiers),
        length_unit=spec.unit or spec.length_unit,
        sequences=sequences,
    )
    return _with_backlogs(spec, seeds, replication, workload) if spec.backlogs else workload


def _with_backlogs(
    spec: WorkloadSpec, seeds: Seeds, replication: int, others: Workload
) -> Workload:
    """Backlogs beside the others, their lengths from a stream of their own."""
    last_ns = int(others.arrival_ns[-1]) if spec.duration_ns is None else spec.duration_ns
    until_ns = end_of_run(last_ns)
    crowds = {}
    for place, backlog in spec.backlogs.items():
        rng = stream(seeds.lengths, "lengths", replication, place + 1)
        lengths = spec.lengths_of(spec.tiers[place]).pmf()
        crowds[place] = _within(spec, lengths.draw(rng, backlog.count(until_ns)))
    return joined(others, crowds, until_ns)


def _arrivals(
    spec: WorkloadSpec, seeds: Seeds, replication: int
) -> tuple[IntArray, NDArray[np.int8], Sequences | None]:
    """Instants, tiers (empty: all of tier 0), and sequences."""
    if isinstance(spec.arrivals, InSequences):
        rng = stream(seeds.arrivals, "sequences", replication)
        arrival_ns, sequences = spec.arrivals.draw(rng, spec.requests, spec.duration_ns)
        _check_count(spec, len(arrival_ns))
        return arrival_ns, np.zeros(0, dtype=np.int8), sequences
    if spec.arrivals is not None:
        assert not isinstance(spec.arrivals, Closed), "handled by the caller"
        rng = stream(seeds.arrivals, "arrivals", replication, 0)
        arrival_ns = draw_arrivals(spec.arrivals, rng, spec.requests, spec.duration_ns)
        _check_count(spec, len(arrival_ns))
        recorded = spec.arrivals.tier if isinstance(spec.arrivals, Replay) else None
        if recorded is not None:
            return arrival_ns, recorded[: len(arrival_ns)], None
        return arrival_ns, _shared_tiers(spec, seeds, replication, len(arrival_ns)), None
    arrival_ns, tier = _merged(spec, seeds, replication)
    _check_count(spec, len(arrival_ns))
    return arrival_ns, tier if len(spec.tiers) > 1 else np.zeros(0, dtype=np.int8), None


def _merged(
    spec: WorkloadSpec, seeds: Seeds, replication: int
) -> tuple[IntArray, NDArray[np.int8]]:
    """Tiers with arrivals of their own, in order of (instant, tier).

    A number of requests is reached by drawing over longer and longer durations; a longer draw
    begins with the shorter one, so the answer does not depend on where this starts.
    """
    horizon_ns = spec.duration_ns
    if spec.requests is not None and horizon_ns is None:
        horizon_ns = int(min(1.1e9 * (spec.requests + 10) / sum(spec.rates_per_s()), 2.0**61))
    while True:
        parts = []
        for place, tier in enumerate(spec.tiers):
            assert tier.arrivals is not None, "checked on construction"
            if isinstance(tier.arrivals, Backlog):
                parts.append(NO_TIMES)
                continue
            rng = stream(seeds.arrivals, "arrivals", replication, place + 1)
            parts.append(draw_arrivals(tier.arrivals, rng, spec.requests, horizon_ns))
        count = sum(map(len, parts))
        done = spec.requests is None or count >= spec.requests or spec.duration_ns is not None
        if done or horizon_ns is None or horizon_ns > 2**61:
            break
        horizon_ns *= 2
    arrival_ns = np.concatenate(parts)
    tiers = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts])
    order = np.argsort(arrival_ns, kind="stable")[: spec.requests]
    return arrival_ns[order], tiers[order]


def _check_count(spec: WorkloadSpec, count: int) -> None:
    if count == 0:
        raise WorkloadError("no request arrives before the end of the run; give a longer duration")
    if spec.requests is not None and spec.duration_ns is None and count < spec.requests:
        raise WorkloadError(
            f"requests = {spec.requests}, but the trace ends after {count}; give at most {count}"
        )


def _shared_tiers(
    spec: WorkloadSpec, seeds: Seeds, replication: int, requests: int
) -> NDArray[np.int8]:
    if len(spec.tiers) == 1:
        return np.zeros(0, dtype=np.int8)
    edges = np.cumsum([tier.share for tier in spec.tiers])
    uniform = stream(seeds.arrivals, "tiers", replication).random(requests)
    drawn = np.searchsorted(edges, uniform, side="right")
    last = max(place for place, tier in enumerate(spec.tiers) if tier.share > 0)
    return np.minimum(drawn, last).astype(np.int8)


def _lengths(
    spec: WorkloadSpec, seeds: Seeds, replication: int, requests: int, tier: NDArray[np.int8]
) -> NDArray[np.int32]:
    """Tiers that share the lengths of the workload draw from one stream, in order of arrival."""
    length = np.zeros(requests, dtype=np.int32)
    if spec.lengths is not None and any(each.lengths is None for each in spec.tiers):
        rng = stream(seeds.lengths, "lengths", replication, 0)
        length = _some_lengths(spec.lengths, rng, requests)
    for place, each in enumerate(spec.tiers):
        if each.lengths is None or each.tier.backlog:
            continue
        mine = _of_tier(tier, place, requests)
        if isinstance(each.lengths, Column) and spec.arrivals is not None:
            length[mine] = each.lengths.recorded[:requests][mine]
        else:
            rng = stream(seeds.lengths, "lengths", replication, place + 1)
            length[mine] = _some_lengths(each.lengths, rng, int(mine.sum()))
    return length


def _some_lengths(lengths: Lengths, rng: np.random.Generator, requests: int) -> NDArray[np.int32]:
    if isinstance(lengths, Column):
        return lengths.recorded[:requests].copy()
    return lengths.pmf().draw(rng, requests)


def _of_tier(tier: NDArray[np.int8], place: int, requests: int) -> NDArray[np.bool_]:
    """Which requests are of a tier, bool (requests,)."""
    return tier == place if len(tier) else np.ones(requests, dtype=np.bool_)


def _within(spec: WorkloadSpec, length: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lengths after ``over_length``."""
    if spec.over_length == "truncate":
        return np.minimum(length, np.int32(min(spec.longest, LONGEST)))
    if spec.over_length == "reject":
        return length
    above = int((length > spec.longest).sum())
    if above:
        raise WorkloadError(
            f"{above} of {len(length)} requests are longer than {spec.longest}, the longest length"
            f" of the service (the longest request has {int(length.max())}); give shorter lengths,"
            ' or over_length = "truncate" or "reject"'
        )
    return length


def _timeouts(
    spec: WorkloadSpec, seeds: Seeds, replication: int, requests: int, tier: NDArray[np.int8]
) -> IntArray:
    """Patience; empty where nobody gives up.  Streams as for the lengths."""
    if spec.timeout is None and all(each.timeout is None for each in spec.tiers):
        return NO_TIMES
    patience_ns = np.full(requests, NEVER, dtype=np.int64)
    if spec.timeout is not None:
        patience_ns = spec.timeout.draw(
            stream(seeds.timeouts, "timeouts", replication, 0), requests
        )
    for place, each in enumerate(spec.tiers):
        if each.timeout is not None:
            rng = stream(seeds.timeouts, "timeouts", replication, place + 1)
            mine = _of_tier(tier, place, requests)
            patience_ns[mine] = each.timeout.draw(rng, int(mine.sum()))
    return patience_ns


__all__ = [
    "ClosedLoop",
    "Tier",
    "TierSpec",
    "Timeout",
    "Workload",
    "WorkloadError",
    "WorkloadSpec",
    "check_closed",
    "draw_workload",
]
