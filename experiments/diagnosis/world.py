"""All that decides how long requests take: change a part, and simulate it again.

1. The kernel runs the servers; workers before and after them are FIFO queues of their own.
2. A first pass gives each batch the slowdown of the same number on its server; where it does not
   lead to the batches that were recorded, the next passes give the slowdowns of the instants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heapify, heapreplace

import numpy as np

from policies.contract import NEVER, IntArray, Policy, Tier
from sim.service import Service
from sim.workload import ClosedLoop, Workload

from .pace import Pace, noise_at, noise_in_order
from .seen import Seen, seen_of

PASSES = 2
"""Passes after the first: the slow stretches of a trace are a few batches wide, and another pass
moves hardly any of them."""


@dataclass(frozen=True, eq=False)
class Workers:
    """Identical workers on one FIFO queue."""

    count: int
    time_ns: IntArray
    """int64 (N,): what each request takes, in order of arrival."""


@dataclass(frozen=True, eq=False)
class World:
    """Requests, workers, a rule and servers."""

    arrival_ns: IntArray
    """int64 (N,), not decreasing."""
    length: IntArray
    tier: IntArray
    tiers: tuple[Tier, ...]
    policy: Policy
    service: Service
    """Without noise."""
    pace: Pace
    pre: Workers | None = None
    post: Workers | None = None
    timeout_ns: IntArray | None = None
    """int64 (N,): patience from arrival to start."""
    ready_ns: int = 0
    """Before this instant no server takes anything."""
    until_ns: int = NEVER
    """From this instant on no batch starts."""
    closed: ClosedLoop | None = None
    route: IntArray | None = None
    """int64 (N,): the replica that each request joined, where that is to be repeated."""
    length_unit: str = "tokens"

    def only(self, kept: IntArray) -> World:
        """Some of the requests alone, by their ids."""
        return replace(
            self,
            arrival_ns=self.arrival_ns[kept],
            length=self.length[kept],
            tier=self.tier[kept],
            pre=_some(self.pre, kept),
            post=_some(self.post, kept),
            timeout_ns=None if self.timeout_ns is None else self.timeout_ns[kept],
            route=None if self.route is None else self.route[kept],
        )

    def at(self, arrival_ns: IntArray) -> World:
        """The same requests at other instants, in their order."""
        order = np.argsort(arrival_ns, kind="stable")
        return replace(self.only(order), arrival_ns=arrival_ns[order])


def _some(workers: Workers | None, kept: IntArray) -> Workers | None:
    return None if workers is None else replace(workers, time_ns=workers.time_ns[kept])


def play(world: World) -> Seen:
    """Simulate a world; requests stay in the order of their arrival."""
    arrival = world.arrival_ns
    pre_start, queued = arrival, arrival
    if world.pre is not None:
        pre_start, queued = through(world.pre, arrival)
    at_server = np.maximum(queued, world.ready_ns)
    order = np.argsort(at_server, kind="stable")
    workload = Workload(
        length=world.length[order].astype(np.int32),
        arrival_ns=at_server[order],
        tier=world.tier[order].astype(np.int8),
        timeout_ns=_patience(world, at_server)[order]
        if world.timeout_ns is not None
        else np.zeros(0, dtype=np.int64),
        closed=world.closed,
        tiers=world.tiers,
        length_unit=world.length_unit,
        until_ns=world.until_ns,
    )
    if world.closed is not None:
        workload = replace(workload, arrival_ns=np.zeros(0, dtype=np.int64))
        return _served(world, workload, order)
    found = _served(world, workload, order)
    back = np.argsort(order, kind="stable")
    columns = {name: getattr(found, name)[back] for name in ("start_ns", "finish_ns", "batch")}
    lost = found.lost[back]
    post_start, done = columns["finish_ns"], columns["finish_ns"]
    if world.post is not None:
        post_start, done = _after(world.post, columns["finish_ns"], lost)
    return replace(
        found,
        **columns,
        lost=lost,
        arrival_ns=arrival,
        pre_start_ns=pre_start,
        queued_ns=np.minimum(queued, columns["start_ns"]),
        post_start_ns=post_start,
        done_ns=done,
        length=world.length,
        tier=world.tier,
        pre_workers=0 if world.pre is None else world.pre.count,
        post_workers=0 if world.post is None else world.post.count,
    )


def _patience(world: World, at_server: IntArray) -> IntArray:
    """What is left of it at the servers' queue."""
    assert world.timeout_ns is not None, "asked only where there is a limit"
    left = world.timeout_ns - (at_server - world.arrival_ns)
    return np.where(world.timeout_ns == NEVER, NEVER, np.maximum(left, 1))


def replicas_over_time(world: World) -> IntArray | None:
    """int64 (changes, 3) as in :class:`sim.changes.Changes`; None where a stage hides them."""
    from sim.kernel import run

    if world.pre is not None or world.service.cluster is None:
        return None
    workload = Workload(
        length=world.length.astype(np.int32),
        arrival_ns=np.maximum(world.arrival_ns, world.ready_ns),
        tier=world.tier.astype(np.int8),
        tiers=world.tiers,
        length_unit=world.length_unit,
        until_ns=world.until_ns,
    )
    changes = run(world.policy, workload, world.service).changes
    return None if changes is None else changes.replicas


def _served(world: World, workload: Workload, order: IntArray) -> Seen:
    """What the servers make of a workload; see rule 2."""
    from sim.kernel import run

    service = world.service
    if world.route is not None and service.cluster is not None:
        u = (world.route[order] + 0.5) / service.cluster.replicas
        service = replace(service, cluster=replace(service.cluster, route_u=u))
    models, servers = service.service_ns.shape[0], service.servers
    noise = noise_in_order(world.pace, servers, models)
    found = seen_of(run(world.policy, workload, replace(service, noise=noise)))
    for _ in range(PASSES):
        if _as_recorded(world.pace, found):
            break
        noise = noise_at(world.pace, found, models)
        found = seen_of(run(world.policy, workload, replace(service, noise=noise)))
    return found


def _as_recorded(pace: Pace, found: Seen) -> bool:
    """Whether the batches start at just the recorded instants, or nothing is slow at any."""
    if all((each == 1.0).all() for each in pace.slowdown):
        return True
    return len(pace.start_ns) == found.servers and all(
        np.array_equal(found.batch_start_ns[found.batch_server == server], start_ns)
        for server, start_ns in enumerate(pace.start_ns)
    )


def _after(post: Workers, finish_ns: IntArray, lost: np.ndarray) -> tuple[IntArray, IntArray]:
    """Post-processing of those who were served."""
    start, done = finish_ns.copy(), finish_ns.copy()
    ran = np.flatnonzero(~lost)
    some = Workers(post.count, post.time_ns[ran])
    start[ran], done[ran] = through(some, finish_ns[ran])
    return start, done


def through(workers: Workers, ready_ns: IntArray) -> tuple[IntArray, IntArray]:
    """Start and end of each request at a FIFO queue of workers; ties go by id."""
    order = np.argsort(ready_ns, kind="stable")
    ready, time = ready_ns[order], workers.time_ns[order]
    start, end = np.empty_like(ready_ns), np.empty_like(ready_ns)
    start[order] = _starts(ready, time, workers.count)
    end[order] = start[order] + time
    return start, end


def _starts(ready: IntArray, time: IntArray, count: int) -> IntArray:
    """When each of requests in order starts."""
    if count >= len(ready):
        return ready
    if count == 1:
        before = np.cumsum(time) - time
        return np.asarray(np.maximum.accumulate(ready - before) + before)
    free = [0] * count
    heapify(free)
    starts = []
    for at, takes in zip(ready.tolist(), time.tolist(), strict=True):
        begin = max(at, free[0])
        heapreplace(free, begin + takes)
        starts.append(begin)
    return np.array(starts, dtype=np.int64)
