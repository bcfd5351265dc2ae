"""What replicas behind a router can serve: the largest rate at which none of their queues grows.

A backlog cannot tell: it gives every replica its share at once, and a router that looks at queues
would have sent the slow ones less.  So requests arrive at an even pace, and a pace is too fast
where more of them are left in some queue at the end than in the middle of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from policies.contract import Policy

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
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _grows(run(policy, _paced(crowd, middle * most_per_s), service), service):
            high = middle
        else:
            low = middle
    return low * most_per_s


def _paced(crowd: Workload, rate_per_s: float) -> Workload:
    instants = np.arange(len(crowd)) * (1e9 / rate_per_s)
    return replace(crowd, arrival_ns=np.rint(instants).astype(np.int64))


def _grows(trace: Trace, service: Service) -> bool:
    """Whether requests pile up in a queue in the second half of the arrivals."""
    half, last = trace.arrival_ns[len(trace) // 2], trace.arrival_ns[-1]
    group, served = service.grouping, trace.server >= 0
    # who was never served waits in a lane whose server nobody knows: such a run grows anyhow
    if not served.all():
        return True
    queue = group.queue_of[trace.server]
    there = [np.bincount(queue[_waits(trace, at)], minlength=group.queues) for at in (half, last)]
    return bool((there[1] - there[0]).max() > GROWTH * len(trace) / 2)


def _waits(trace: Trace, at_ns: np.int64) -> np.ndarray:
    started = (trace.start_ns >= 0) & (trace.start_ns <= at_ns)
    waits: np.ndarray = (trace.arrival_ns <= at_ns) & ~started
    return waits
