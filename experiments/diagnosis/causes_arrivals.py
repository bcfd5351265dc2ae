"""Causes that lie in who arrives, and when: overload, bursts, and other tiers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .look import Look
from .seen import Mask
from .servers import always_there, on_one_queue, with_servers
from .sign import Sign, hundred, ms
from .stretches import burst_of, crowded
from .world import World, replicas_over_time

FULL_LOAD = 0.92
"""Share of the largest possible rate from which a queue is long whatever the rule: M/D/1 waits 6
service times there, and 2 at 0.8."""
MEMORY = 1.4
"""The batch size is the cause where larger ones than are known would do so much more."""
EASY_LOAD = 0.7
"""Load at which servers are enough."""


def overload(look: Look) -> Sign | None:
    """More arrives than any batching rule could serve."""
    if look.world.closed is not None:
        return None
    best = look.best_per_s(look.world.service)
    if look.best_per_s(look.beyond) > MEMORY * best:
        best = look.best_per_s(look.beyond)
    load = look.rate_per_s / best
    if load < FULL_LOAD:
        return None
    own = look.world.service.servers
    servers = max(own + 1, math.ceil(own * load / EASY_LOAD))
    first, last = _queue_at(look, 0.25), _queue_at(look, 1.0)
    grows = f", and the queue grew from {first:,} to {last:,}" if last > 2 * first + 10 else ""
    words = (
        f"{look.rate_per_s:,.4g} requests/s arrive and the servers can do {best:,.4g}/s with the "
        f"best batch size (load {load:.2f}){grows}"
    )
    if look.cap == 1 and not look.known_largest:
        words += "; no batch of several was seen, so that what those would do is not known"
    return Sign(words, with_servers(look.world, servers))


def _queue_at(look: Look, share: float) -> int:
    """How many were in the system at an instant, as a share of the time in which requests came."""
    s = look.seen
    at_ns = s.arrival_ns[0] + int(share * s.span_ns)
    return int(np.count_nonzero((s.arrival_ns <= at_ns) & (s.done_ns > at_ns) & s.coming))


def absent(look: Look) -> Sign | None:
    """Replicas fail, or an autoscaler starts them late; all are there in the other world."""
    group = look.world.service.cluster
    if group is None or not group.changes or look.world.closed is not None:
        return None
    log = replicas_over_time(look.world)
    if log is None:
        return None
    s = look.seen
    place = np.searchsorted(log[:, 0], s.arrival_ns, side="right") - 1
    there = log[np.maximum(place, 0), 1]
    slow, usual = float(there[look.slow].mean()), float(there.mean())
    words = (
        f"{slow:.3g} of {group.replicas} replicas were ready when the slow requests came, "
        f"{usual:.3g} on average"
    )
    if group.cold_start_ns:
        words += f"; one that is started takes {ms(group.cold_start_ns)}"
    return Sign(words, always_there(look.world))


LEAST_DISPERSION = 2.0
"""Counts that vary less than twice as much as Poisson's are no bursts worth the name."""


def burst(look: Look) -> Sign | None:
    """The judged requests come in bursts, and the slow ones came in them."""
    if look.world.closed is not None:
        return None
    mine = look.judged.mask(look.seen)
    arrival = look.seen.arrival_ns[mine]
    found = burst_of(arrival)
    if found.dispersion < max(LEAST_DISPERSION, found.limit):
        return None
    window = max(found.bin_ns, int(look.judged.value_ns(look.seen)))
    inside = np.zeros(len(look.seen), dtype=bool)
    inside[mine] = crowded(arrival, min(window, look.seen.span_ns // 4))
    slow, usual = float(inside[look.slow].mean()), float(inside[mine].mean())
    if slow < 2 * usual and slow < 0.5:
        return None
    words = (
        f"counts in {ms(found.bin_ns)} vary {found.dispersion:.3g} times as much as those of "
        f"independent users; {hundred(slow)} of the slow requests came in a crowd, "
        f"{hundred(usual)} of all"
    )
    return Sign(words, smoothed(look.world, mine))


def smoothed(world: World, mine: Mask) -> World:
    """The same requests at the same mean rate, as independent users send them."""
    rng = np.random.Generator(np.random.PCG64(7))
    arrival = world.arrival_ns.copy()
    own = arrival[mine]
    arrival[mine] = np.sort(rng.integers(own[0], own[-1] + 1, len(own)))
    return world.at(arrival)


ELSEWHERE = 0.2
"""Share of the slow requests' latency in which they wait while another server is idle."""
CROWDED = 1.5
"""A queue is crowded that has so many times as many of the slow requests as an equal share."""


def routing(look: Look) -> Sign | None:
    """Requests queue at one server while another one has less to do."""
    group, batch = look.world.service.grouping, look.seen.batch
    if not group.own_queues:
        return None
    slow_ones = look.slow[batch[look.slow] >= 0]
    if not len(slow_ones):
        return None
    every = np.bincount(look.queue_of_batch[batch[look.own]], minlength=group.queues)
    slow = np.bincount(look.queue_of_batch[batch[slow_ones]], minlength=group.queues)
    worst = int(np.argmax(slow / np.maximum(every, 1)))
    share, fair = slow[worst] / slow.sum(), every[worst] / every.sum()
    if look.idle_elsewhere < ELSEWHERE and share < CROWDED / group.queues:
        return None
    words = (
        f"each server has a queue of its own: {hundred(float(share))} of the slow requests were in "
        f"queue {worst}, which got {hundred(float(fair))} of all requests (1 in {group.queues} "
        f"would be fair), and for {hundred(look.idle_elsewhere)} of their latency another server "
        "was idle"
    )
    return Sign(words, on_one_queue(look.world))


BLOCKED = 0.5
"""Share of the slow urgent requests that have to have met a batch of another tier."""


def tier_blocking(look: Look) -> Sign | None:
    """The judged requests wait behind batches of less urgent tiers."""
    s, tier = look.seen, look.judged.tier
    if tier < 0 or not (s.tier > tier).any() or look.slow_shares[2:4].sum() < 0.3:
        return None
    ran = s.batch >= 0
    other = np.zeros(len(s.batch_size), dtype=bool)
    other[s.batch[ran & (s.tier > tier)]] = True
    blocked = float(look.met(look.slow, other).mean())
    if blocked < BLOCKED:
        return None
    every = float(look.met(look.own, other).mean()) if len(look.own) else blocked
    kept = np.flatnonzero(s.tier <= tier)
    others = 1.0 - len(kept) / len(s)
    longest = float(np.median(s.took_ns[other])) / 1e6
    words = (
        f"{hundred(blocked)} of the slow {s.tiers[tier].name} requests shared a batch with, or "
        f"waited for a batch of, less urgent ones ({hundred(every)} of all did; less urgent are "
        f"{hundred(others)} of the requests, and their batches take {longest:.3g} ms)"
    )
    return Sign(words, _alone(look.world, kept))


def _alone(world: World, kept: np.ndarray) -> World:
    return replace(world.only(kept), closed=None)
