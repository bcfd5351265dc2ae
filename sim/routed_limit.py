"""What replicas behind a router can serve: the largest rate at which none of their queues grows.

A backlog cannot tell: it gives every replica its share at once, and a router that looks at queues
would have sent the slow ones less.  So requests arrive at an even pace, and a pace is too fast
where more of them are left in some queue at the end than in the middle of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from policies.contract import Policy, lane_count

from .service import Service
from .trace import Trace
from .workload import Workload

STEPS = 9
"""Halvings of the range from 0 to what the servers can do at best: 0.2 % of it are left."""

GROWTH = 0.01
"""A queue grows where this share of all arrivals of the second half piles up in it."""

EACH = 1_000
"""Requests for each server: their queues have to fill up to the batches that are worth most."""


def routed_saturation_per_s(
    policy: Policy,
    crowd: Workload,
    service: Service,
    run: Callable[[Policy, Workload, Service], Trace],
    most_per_s: float,
) -> float:
    """Requests per second above which a queue grows.

    Args:
        policy: not yet bound.
        crowd: requests in an order that is to be kept, without time-outs.
        service: with a cluster of several queues, without limits or changes.
        run: a driver.
        most_per_s: what no rule can exceed.
    """
    repeats = -(-EACH * service.servers // len(crowd))
    crowd = replace(
        crowd,
        length=np.tile(crowd.length, repeats),
        tier=np.tile(crowd.tier, repeats),
    )
    lanes = lane_count(service.policies(policy, crowd.tiers)[0][0])
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        trace = run(policy, _paced(crowd, middle * most_per_s), service)
        if _grows(trace, service.grouping.queues, lanes):
            high = middle
        else:
            low = middle
    return low * most_per_s


def _paced(crowd: Workload, rate_per_s: float) -> Workload:
    instants = np.arange(len(crowd)) * (1e9 / rate_per_s)
    return replace(crowd, arrival_ns=np.rint(instants).astype(np.int64))


def _grows(trace: Trace, queues: int, lanes: int) -> bool:
    """Whether requests pile up in a queue in the second half of the arrivals.

    Args:
        trace: the run.
        queues: how many there are.
        lanes: how many each has.
    """
    half, last = trace.arrival_ns[len(trace) // 2], trace.arrival_ns[-1]
    there = [
        np.bincount(trace.lane[_waits(trace, at)] // lanes, minlength=queues) for at in (half, last)
    ]
    return bool((there[1] - there[0]).max() > GROWTH * len(trace) / 2)


def _waits(trace: Trace, at_ns: np.int64) -> np.ndarray:
    started = (trace.start_ns >= 0) & (trace.start_ns <= at_ns)
    waits: np.ndarray = (trace.arrival_ns <= at_ns) & ~started
    return waits
