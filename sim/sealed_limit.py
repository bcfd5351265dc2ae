"""What a rule can serve that closes batches whether or not a server is free.

A backlog says nothing of it: there all batches are full.  How large batches are is a matter of the
rate at which requests come, so the limit is that of the workload's own arrivals: with the batches
that the rule makes of them, so many requests a second would keep every server busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from policies.contract import NEVER, Policy, seals

from .service import Service
from .trace import Trace
from .workload import NO_TIMES, Workload

WARM = 0.1
"""Share of the batches that are left out at first."""


def follows_rate(policy: Policy) -> bool:
    """Whether the batches of a policy depend on when requests come, however many wait."""
    return seals(policy) == NEVER


def sealed_saturation_per_s(
    policy: Policy,
    workload: Workload,
    service: Service,
    run: Callable[[Policy, Workload, Service], Trace],
    requests: int,
) -> float:
    """Requests per second that would keep all servers busy with batches as they are now made.

    Infinite where batches grow with the queue.

    Args:
        policy: not yet bound.
        workload: open; the first ``requests`` of it are run.
        service: refuses nobody for lack of room.
        run: a driver.
        requests: at most so many.
    """
    if not follows_rate(policy):
        return np.inf
    trace = run(policy, _beginning(workload, requests), service)
    first = int(WARM * len(trace.batch_size))
    spent_ns = (trace.batch_finish_ns - trace.batch_start_ns)[first:].sum()
    if spent_ns == 0:
        return np.inf
    return float(service.servers * trace.batch_size[first:].sum() * 1e9 / spent_ns)


def _beginning(workload: Workload, requests: int) -> Workload:
    """The first requests, who have all the patience of the world."""
    return replace(
        workload,
        length=workload.length[:requests],
        arrival_ns=workload.arrival_ns[:requests],
        tier=workload.tier[:requests],
        timeout_ns=NO_TIMES,
        until_ns=NEVER,
    )
