"""What must hold between a trace, the workload that it ran and the service that ran it.

12. Arrivals, lengths and tiers are the workload's.
13. An expired request gave up exactly at its limit, served ones were in a batch before theirs, and
    nobody with a limit is left unfinished (but in a batch that a run with an end left sealed).
    Where the policy sheds, requests may go before their limits.
14. A request is rejected exactly where the queue that it finds is full, or where it is too long
    (not looked at where the policy sheds, or where slots hold sequences).
15. Servers are the service's; without noise a batch takes the profile's time (where every tier has
    the same model).

The numbers continue those of :mod:`sim.invariants`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, FloatArray

from .invariants import demand
from .service import Service
from .trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from .workload import Workload


def check_workload(trace: Trace, workload: Workload) -> None:
    """Assert invariants 12 and 13."""
    arrived = len(trace)
    # in a closed loop a rule that waits for more clients than there are ends the run early
    if arrived > len(workload) or (workload.closed is None and arrived < len(workload)):
        raise AssertionError(
            f"invariant 12: as many requests as the workload must hold, but got ({arrived} "
            f"instead of {len(workload)})"
        )
    for name in ("length", "tier", "arrival_ns"):
        own, given = getattr(trace, name), getattr(workload, name)[:arrived]
        if len(given):
            demand(12, own == given, f"{name} is the workload's", {name: own, "given": given})
    patience = workload.timeout_ns[:arrived]
    if not len(patience):
        known = (trace.status != EXPIRED) | trace.sheds
        demand(13, known, "nobody gives up without a limit", {"status": trace.status})
        return
    limit = np.where(patience < NEVER - trace.arrival_ns, trace.arrival_ns + patience, NEVER)
    formed = np.where(trace.status == SERVED, trace.formed_ns, -1)
    shown = {"formed_ns": formed, "finish_ns": trace.finish_ns, "limit_ns": limit}
    again = trace.changes is not None and bool(trace.changes.failed.any())
    punctual = (trace.status != EXPIRED) | (trace.finish_ns == limit)
    punctual |= trace.sheds & ((trace.finish_ns < limit) | again)
    demand(13, punctual, "an expired request gives up at its limit", shown)
    in_time = (trace.status != SERVED) | (formed < limit) | again
    demand(13, in_time, "a served request starts, or is sealed, before its limit", shown)
    left = (trace.status != UNFINISHED) | (limit == NEVER) | again | (workload.until_ns < NEVER)
    demand(13, left, "nobody with a limit is left unfinished", shown)


def check_admission(trace: Trace, service: Service) -> None:
    """Assert invariant 14, in the order of an instant: expiries, completions, arrivals, starts."""
    routed = service.grouping.queues > 1 or trace.changes is not None
    slots = trace.sequences is not None and trace.sequences.slots > 0
    if routed or len(service.tier_capacity) or trace.sheds or slots:
        return  # what an arrival found is not in the trace
    rejected = trace.status == REJECTED
    too_long = trace.length > service.longest_admitted
    if service.capacity == NEVER:
        rule = "only those above the longest length are rejected"
        demand(14, rejected == too_long, rule, {"length": trace.length, "status": trace.status})
        return
    arrival = trace.arrival_ns
    found = np.cumsum(~rejected) - ~rejected
    given_up = np.sort(trace.finish_ns[trace.status == EXPIRED])
    found -= np.searchsorted(given_up, arrival, side="right")
    if service.capacity_counts_in_system:
        order = np.argsort(trace.batch_finish_ns, kind="stable")
        done = np.searchsorted(trace.batch_finish_ns[order], arrival, side="right")
        left = np.cumsum(np.append(0, trace.batch_size[order]))
    else:
        done = np.searchsorted(trace.batch_start_ns, arrival, side="left")
        left = np.cumsum(np.append(0, trace.batch_size))
    found -= left[done]
    full = found >= service.capacity
    rule = f"rejected exactly where {service.capacity} are found, or the length is too long"
    demand(14, rejected == (full | too_long), rule, {"found": found, "status": trace.status})


def check_times(trace: Trace, service: Service) -> None:
    """Assert invariant 15."""
    if trace.servers != service.servers:
        raise AssertionError(
            f"invariant 15: as many servers as the service must hold, but got ({trace.servers} "
            f"instead of {service.servers})"
        )
    group = service.grouping
    if len(group.profile_of) or group.slowdown.max() > 1 or trace.changes is not None:
        return
    if service.service_ns.shape[0] != 1 or service.noise.draws.shape[2] or service.idling.extra_ns:
        return
    took = trace.batch_finish_ns - trace.batch_start_ns
    profile = table_ns(service, trace.batch_places, trace.batch_longest)
    expected = np.maximum(np.rint(profile).astype(np.int64), 1)
    shown = {"took_ns": took, "profile_ns": expected, "size": trace.batch_places}
    demand(15, took == expected, "a batch takes the profile's time", shown, "batch")


def table_ns(
    service: Service, size: NDArray[Any], longest: NDArray[Any], model: int = 0
) -> FloatArray:
    """The profile's time of many batches at once: ``expected_ns``, vectorised, to the last bit.

    Args:
        service: the table.
        size: int (batches,), 1 to the largest batch.
        longest: int (batches,).
        model: which table.

    Returns:
        float64 (batches,).
    """
    table, edges = service.service_ns[model], service.length_edges
    if len(edges) == 1:
        return np.asarray(table[size - 1, 0], dtype=np.float64)
    at = np.clip(longest, edges[0], edges[-1]).astype(np.int64)
    right = np.clip(np.searchsorted(edges, at, side="left"), 1, len(edges) - 1)
    share = (at - edges[right - 1]) / (edges[right] - edges[right - 1])
    low = table[size - 1, right - 1]
    return np.asarray(low + share * (table[size - 1, right] - low))
