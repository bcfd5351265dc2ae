"""What was seen of requests and batches, through pre-processing, the servers and post-processing.

One type for a user's log, a saved trace and a simulated run, so that evidence is found by the same
functions in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray, Tier
from sim.trace import EXPIRED, REJECTED, SERVED, Trace

AT_START = 0.01
"""A tier whose last request arrives within this share of the run is a backlog."""

Mask = NDArray[np.bool_]
"""Which requests, or which batches."""


@dataclass(frozen=True, eq=False)
class Seen:
    """N requests in order of arrival, and M batches in order of start; instants in ns.

    Where a request never came, the instant is that at which it was last seen.
    """

    arrival_ns: IntArray
    """int64 (N,)"""
    pre_start_ns: IntArray
    """int64 (N,): a worker takes it up; the arrival where there is no pre-processing."""
    queued_ns: IntArray
    """int64 (N,): it waits for a server from here on."""
    start_ns: IntArray
    """int64 (N,): its batch starts."""
    finish_ns: IntArray
    """int64 (N,): its batch ends."""
    post_start_ns: IntArray
    """int64 (N,): a worker takes it up; the end of its batch where there is no post-processing."""
    done_ns: IntArray
    """int64 (N,): the answer is there."""
    length: IntArray
    """int64 (N,)"""
    tier: IntArray
    """int64 (N,)"""
    batch: IntArray
    """int64 (N,): index of its batch, or -1."""
    lost: Mask
    """bool (N,): rejected, expired, or never served."""

    batch_start_ns: IntArray
    """int64 (M,)"""
    batch_finish_ns: IntArray
    """int64 (M,)"""
    batch_size: IntArray
    """int64 (M,)"""
    batch_longest: IntArray
    """int64 (M,)"""
    batch_server: IntArray
    """int64 (M,)"""

    servers: int
    tiers: tuple[Tier, ...] = (Tier("all"),)
    length_unit: str = "tokens"
    pre_workers: int = 0
    """0: there is no such stage."""
    post_workers: int = 0

    def __len__(self) -> int:
        return len(self.arrival_ns)

    @cached_property
    def latency_ns(self) -> IntArray:
        """int64 (N,): from arrival to the answer."""
        return np.asarray(self.done_ns - self.arrival_ns)

    @cached_property
    def took_ns(self) -> IntArray:
        """int64 (M,): how long each batch ran."""
        return np.asarray(self.batch_finish_ns - self.batch_start_ns)

    @cached_property
    def idle_since_ns(self) -> IntArray:
        """int64 (M,): when the server of each batch had become idle; at first the first arrival."""
        since = np.full(len(self.batch_size), int(self.queued_ns.min(initial=2**62)))
        for server in range(self.servers):
            mine = np.flatnonzero(self.batch_server == server)
            since[mine[1:]] = self.batch_finish_ns[mine][:-1]
        return since

    @cached_property
    def oldest_ns(self) -> IntArray:
        """int64 (M,): since when the oldest member of each batch had waited."""
        oldest = np.full(len(self.batch_size), 2**62)
        ran = self.batch >= 0
        np.minimum.at(oldest, self.batch[ran], self.queued_ns[ran])
        return oldest

    @cached_property
    def left_behind(self) -> IntArray:
        """int64 (M,): how many still waited for a server when each batch had started."""
        waited = ~self.lost
        came = np.searchsorted(np.sort(self.queued_ns[waited]), self.batch_start_ns, side="right")
        order = np.argsort(self.batch_start_ns, kind="stable")
        taken = np.zeros(len(order), dtype=np.int64)
        taken[order] = np.cumsum(self.batch_size[order])
        return np.asarray(np.maximum(came - taken, 0))

    @cached_property
    def span_ns(self) -> int:
        """From the first to the last arrival, at least 1."""
        return max(1, int(self.arrival_ns[-1] - self.arrival_ns[0]))

    @cached_property
    def coming(self) -> Mask:
        """Requests that come one after the other: not those of a backlog, there from the start."""
        found = np.ones(len(self), dtype=bool)
        for tier in range(len(self.tiers)) if len(self.tiers) > 1 else ():
            mine = self.tier == tier
            last = int(self.arrival_ns[mine].max(initial=0)) - int(self.arrival_ns[0])
            found[mine] = last > AT_START * self.span_ns
        return found

    def cut(self, most: int) -> Seen:
        """The first so many requests and any backlog, and the batches that only they are in."""
        coming = np.flatnonzero(self.coming)
        if len(coming) <= most:
            return self
        most = int(coming[most])
        inside = np.zeros(len(self.batch_size), dtype=np.int64)
        ran = self.batch[:most] >= 0
        np.add.at(inside, self.batch[:most][ran], 1)
        kept = inside == self.batch_size
        place = np.where(kept, np.cumsum(kept) - 1, -1)
        batch = np.where(self.batch[:most] >= 0, place[self.batch[:most]], -1)
        whole = (self.batch[:most] < 0) | (batch >= 0)
        columns: dict[str, Any] = {name: getattr(self, name)[:most][whole] for name in REQUESTS}
        columns["batch"] = batch[whole]
        columns |= {name: getattr(self, name)[kept] for name in BATCHES}
        rest = {name: value for name, value in vars(self).items() if name in LABELS}
        return Seen(**columns, **rest)


REQUESTS = (
    "arrival_ns", "pre_start_ns", "queued_ns", "start_ns", "finish_ns", "post_start_ns", "done_ns",
    "length", "tier", "batch", "lost",
)  # fmt: skip
BATCHES = ("batch_start_ns", "batch_finish_ns", "batch_size", "batch_longest", "batch_server")
LABELS = ("servers", "tiers", "length_unit", "pre_workers", "post_workers")


def seen_of(trace: Trace) -> Seen:
    """A trace as it is diagnosed; one of a run with stages knows their instants."""
    stages = getattr(trace, "stages", None)
    served = trace.status == SERVED
    arrival = trace.arrival_ns
    queued = arrival if stages is None else known(stages.queued_ns, arrival)
    gave_up = np.where(trace.status == EXPIRED, trace.finish_ns, trace.arrival_ns)
    end = int(max(trace.batch_finish_ns.max(initial=0), arrival.max(initial=0)))
    last_seen = np.where((trace.status == EXPIRED) | (trace.status == REJECTED), gave_up, end)
    batch = trace.batch.astype(np.int64)
    start = np.where(served, trace.start_ns, last_seen)
    ends = trace.batch_finish_ns[batch] if len(trace.batch_finish_ns) else start
    finish = np.where(served, ends, last_seen)
    return Seen(
        arrival_ns=arrival,
        pre_start_ns=arrival if stages is None else known(stages.pre_start_ns, arrival),
        queued_ns=np.minimum(queued, start),
        start_ns=start,
        finish_ns=finish,
        post_start_ns=finish if stages is None else known(stages.post_start_ns, finish),
        done_ns=np.where(served, np.maximum(trace.finish_ns, finish), last_seen),
        length=trace.length.astype(np.int64),
        tier=trace.tier.astype(np.int64),
        batch=np.where(served, batch, -1),
        lost=~served,
        batch_start_ns=trace.batch_start_ns,
        batch_finish_ns=trace.batch_finish_ns,
        batch_size=trace.batch_size.astype(np.int64),
        batch_longest=trace.batch_longest.astype(np.int64),
        batch_server=trace.batch_server.astype(np.int64),
        servers=trace.servers,
        tiers=trace.tiers,
        length_unit=trace.length_unit,
        pre_workers=0 if stages is None else stages.pre_workers,
        post_workers=0 if stages is None else stages.post_workers,
    )


def known(instants: IntArray, otherwise: IntArray) -> IntArray:
    """Instants, with others where there is none (-1)."""
    return np.where(instants >= 0, instants, otherwise)
