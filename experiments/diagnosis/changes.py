"""What could be changed in a run: each function gives the worlds that a change could lead to.

All of them serve the same requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from policies.contract import NEVER, Policy
from policies.greedy import Greedy
from policies.headroom import Headroom
from policies.length_bucketed import LengthBucketed
from policies.priority import Priority
from policies.priority_fill import PriorityFill
from policies.routers import LeastLoaded

from .causes_arrivals import LEAST_DISPERSION, smoothed
from .causes_batches import HELD, eager
from .causes_device import cold_start, noisy_neighbour, shared_gpu, slow_device, slow_server
from .look import Look
from .retuning import wait_of, with_cap, with_wait
from .servers import (
    always_there,
    on_one_queue,
    started_at_once,
    with_router,
    with_servers,
)
from .sign import ms
from .stretches import burst_of
from .world import Workers, World


class Change(NamedTuple):
    """One thing to do, and the world after it."""

    words: str
    world: World


def larger_batch(look: Look) -> Iterator[Change]:
    """A higher limit, as far as the service's table goes (a log's table is extrapolated)."""
    most = look.reachable().largest_batch
    for size in dict.fromkeys((2 * look.cap, 4 * look.cap, most)):
        if look.cap < size <= most:
            world = replace(look.world, service=look.reachable())
            policy = with_cap(look.world.policy, size)
            yield Change(f"batch size limit {look.cap} -> {size}", replace(world, policy=policy))


def smaller_batch(look: Look) -> Iterator[Change]:
    """A lower limit."""
    for size in dict.fromkeys((look.cap // 2, look.cap // 4)):
        if size >= 1:
            policy = with_cap(look.world.policy, size)
            yield Change(
                f"batch size limit {look.cap} -> {size}", replace(look.world, policy=policy)
            )


def shorter_wait(look: Look) -> Iterator[Change]:
    """Half the wait, or none."""
    wait = wait_of(look.world.policy)
    if wait == 0 and look.held_share < HELD:
        return
    yield Change("no wait: fire when a server is idle", _ruled(look.world, eager(look)))
    if 0 < wait < 2**62:
        policy = with_wait(look.world.policy, wait // 2, look.cap)
        yield Change(f"wait {ms(wait)} -> {ms(wait // 2)}", _ruled(look.world, policy))


def longer_wait(look: Look) -> Iterator[Change]:
    """Wait for company while a server is idle."""
    usual, policy = float(np.median(look.seen.took_ns)), look.world.policy
    wait = wait_of(policy)
    if not (hasattr(policy, "max_wait_ns") or isinstance(policy, Greedy)):
        return
    for more in (int(wait + 0.25 * usual), int(wait + usual)):
        if wait < 2 * usual:
            rule = with_wait(policy, more, look.cap)
            yield Change(f"wait {ms(wait)} -> {ms(more)}", _ruled(look.world, rule))


BUCKETS = ((0.5,), (0.9,), (0.97,), (0.5, 0.9), (0.25, 0.5, 0.75))
"""Shares of the requests at which lengths are parted."""


def buckets(look: Look) -> Iterator[Change]:
    """Short and long requests in queues of their own."""
    if isinstance(look.world.policy, LengthBucketed):
        return
    length, wait = look.seen.length, min(wait_of(look.world.policy), 2**60)
    for shares in BUCKETS:
        edges = np.unique(np.quantile(length, shares, method="lower").astype(np.int64))
        edges = edges[edges < length.max()]
        if len(edges):
            rule = LengthBucketed(edges, np.array([look.cap]), np.array([wait]))
            at = ", ".join(f"{edge:,}" for edge in edges.tolist())
            yield Change(
                f"length buckets, parted at {at} {look.seen.length_unit}", _ruled(look.world, rule)
            )


BLOCKS = (0.1, 0.3, 0.5)
"""Shares of the target for which offline batches may block the urgent tier."""


def priority(look: Look) -> Iterator[Change]:
    """The urgent tier first: strictly, with batches filled up, or offline batches kept short."""
    if len(look.seen.tiers) < 2:
        return
    wait, caps = min(wait_of(look.world.policy), 2**60), np.array([look.cap])
    limit = look.target_ns or 4.0 * float(np.median(look.seen.took_ns))
    rules: dict[str, Policy] = {}
    if not isinstance(look.world.policy, Priority | PriorityFill | Headroom):
        rules[""] = Priority(caps, np.array([wait]))
        rules[", batches filled up"] = PriorityFill(look.cap, wait)
    for share in BLOCKS:
        block = max(1, int(share * limit))
        rules[f", offline batches of at most {ms(block)}"] = Headroom(block, max_batch_size=caps)
    for words, rule in rules.items():
        yield Change(f"urgent requests first{words}", _ruled(look.world, rule))


def another_server(look: Look) -> Iterator[Change]:
    """One more of the same kind."""
    servers = look.world.service.servers
    yield Change(f"servers {servers} -> {servers + 1}", with_servers(look.world, servers + 1))


def one_queue(look: Look) -> Iterator[Change]:
    """Servers take from one queue, or a router looks where the queue is short."""
    group = look.world.service.cluster
    if group is None or not group.own_queues:
        return
    yield Change(f"one queue for all {group.queues} replicas", on_one_queue(look.world))
    if look.world.route is not None or not isinstance(group.router, LeastLoaded):
        yield Change("a router that picks the least loaded", with_router(look.world, LeastLoaded()))


def own_gpus(look: Look) -> Iterator[Change]:
    """No server shares its GPU."""
    sign = shared_gpu(look)
    if sign is not None:
        yield Change("a GPU for each server", sign.world)


def faster_pre(look: Look) -> Iterator[Change]:
    """Pre-processing in half the time."""
    if look.world.pre is not None:
        yield Change(
            "pre-processing twice as fast", replace(look.world, pre=_halved(look.world.pre))
        )


def faster_post(look: Look) -> Iterator[Change]:
    """Post-processing in half the time."""
    if look.world.post is not None:
        yield Change(
            "post-processing twice as fast", replace(look.world, post=_halved(look.world.post))
        )


def more_pre(look: Look) -> Iterator[Change]:
    """One more worker."""
    if look.world.pre is not None:
        words, workers = _one_more(look.world.pre)
        yield Change(f"pre-processing {words}", replace(look.world, pre=workers))


def more_post(look: Look) -> Iterator[Change]:
    """One more worker."""
    if look.world.post is not None:
        words, workers = _one_more(look.world.post)
        yield Change(f"post-processing {words}", replace(look.world, post=workers))


def _halved(workers: Workers) -> Workers:
    return replace(workers, time_ns=np.maximum(workers.time_ns // 2, 1))


def _one_more(workers: Workers) -> tuple[str, Workers]:
    more = workers.count + 1
    return f"workers {workers.count} -> {more}", replace(workers, count=more)


def shed(look: Look) -> Iterator[Change]:
    """Give up on requests that have waited for too long, so that the others are served in time."""
    if look.world.closed is not None or look.world.timeout_ns is not None:
        return
    usual = float(np.median(look.seen.took_ns))
    limit = look.target_ns or 4.0 * usual
    patience = max(int(limit - usual), int(0.25 * limit), 1)
    mine = look.judged.tier < 0 or look.world.tier == look.judged.tier
    timeout = np.where(mine, patience, np.full(len(look.world.arrival_ns), NEVER))
    yield Change(
        f"drop requests that waited {ms(patience)}", replace(look.world, timeout_ns=timeout)
    )


def smooth(look: Look) -> Iterator[Change]:
    """The clients spread their requests."""
    mine = look.judged.mask(look.seen)
    if (
        look.world.closed is None
        and burst_of(look.seen.arrival_ns[mine]).dispersion > LEAST_DISPERSION
    ):
        yield Change("clients spread their bursts", smoothed(look.world, mine))


def quiet(look: Look) -> Iterator[Change]:
    """Servers run at their usual pace all the time."""
    for find in (noisy_neighbour, slow_device):
        sign = find(look)
        if sign is not None:
            words = "the GPU alone" if find is noisy_neighbour else "batches as the profile says"
            yield Change(f"{words}: nothing slows it down", sign.world)


def warm(look: Look) -> Iterator[Change]:
    """Servers are warm before requests come."""
    sign = cold_start(look)
    if sign is not None:
        yield Change("warm the servers up before requests come", sign.world)


def keep_replicas(look: Look) -> Iterator[Change]:
    """Replicas that are there, or that start at once."""
    group = look.world.service.cluster
    if group is None or not group.changes:
        return
    if group.cold_start_ns:
        words = f"replicas start at once, not in {ms(group.cold_start_ns)}"
        yield Change(words, started_at_once(look.world))
    yield Change(f"all {group.replicas} replicas always there", always_there(look.world))


def repair(look: Look) -> Iterator[Change]:
    """The slow server runs as the others."""
    sign = slow_server(look)
    if sign is not None:
        yield Change("the slow server as fast as the others", sign.world)


def more_memory(look: Look) -> Iterator[Change]:
    """Larger batches than fit today."""
    if not look.known_largest or look.cap < look.known_largest:
        return
    for size in (2 * look.cap, 4 * look.cap):
        if size <= look.beyond.largest_batch:
            policy = with_cap(look.world.policy, size)
            world = replace(look.world, service=look.beyond, policy=policy)
            yield Change(f"memory for batches of {size} (times extrapolated)", world)


def _ruled(world: World, policy: Policy) -> World:
    return replace(world, policy=policy)
