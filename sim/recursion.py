"""The path-wise recursion of size-or-timeout rules: a third way to the same trace, in twenty lines.

With h the first request that waits, the next batch starts at

    start = max(earliest free server, min(arrival[h + min - 1], arrival[h] + wait))

and takes the requests that have arrived by then, at most the largest batch.  One recursion covers
greedy service (min 1), static batches (min = max, no timer), size or timeout, and many servers on
one queue.  It shares no code with the drivers, so that tests can hold them against it.
"""

from __future__ import annotations

import numpy as np

from policies.contract import NEVER, expected_ns, later

from .service import Service, drawn_ns
from .trace import SERVED, UNFINISHED, Trace
from .workload import Workload


def recursion(
    workload: Workload, service: Service, largest: int, wait_ns: int, smallest: int = 0
) -> Trace:
    """Run a size-or-timeout rule without noise, limits on the queue, time-outs or closed loops.

    Args:
        workload: an open one.
        service: one model.
        largest: the largest batch.
        wait_ns: how long the oldest request waits at most; NEVER without a timer.
        smallest: a batch of this size starts at once; 0 stands for ``largest``.
    """
    arrival, total = workload.arrival_ns.tolist(), len(workload)
    table, edges = service.service_ns[0], service.length_edges
    free = [0] * service.servers
    batches: list[tuple[int, int, int, int, int, int]] = []
    head = 0
    while head < total:
        enough = head + (smallest or largest) - 1
        due = min(arrival[enough] if enough < total else NEVER, later(arrival[head], wait_ns))
        if due == NEVER:
            break
        server = free.index(min(free))
        start = max(free[server], due)
        size = 0
        while head + size < total and size < largest and arrival[head + size] <= start:
            size += 1
        longest = int(workload.length[head : head + size].max())
        free[server] = start + drawn_ns(expected_ns(table, edges, size, longest), 1.0)
        batches.append((start, free[server], size, longest, 0, server))
        head += size
    return _trace(workload, service, batches, head)


def _trace(
    workload: Workload,
    service: Service,
    batches: list[tuple[int, int, int, int, int, int]],
    served: int,
) -> Trace:
    """Columns of batches of consecutive requests; those from ``served`` on are unfinished."""
    total = len(workload)
    start, finish, size, longest, lane, server = np.array(batches, np.int64).reshape(-1, 6).T
    batch = np.repeat(np.arange(len(batches)), size)
    rest = np.full(total - served, -1)
    tier = workload.tier if len(workload.tier) else np.zeros(total, dtype=np.int8)
    return Trace(
        arrival_ns=workload.arrival_ns,
        length=workload.length,
        tier=tier,
        lane=np.zeros(total, dtype=np.int16),
        start_ns=np.append(start[batch], rest),
        finish_ns=np.append(finish[batch], rest),
        batch=np.append(batch, rest).astype(np.int32),
        server=np.append(server[batch], rest).astype(np.int16),
        status=np.where(np.arange(total) < served, SERVED, UNFINISHED).astype(np.int8),
        batch_start_ns=start.copy(),
        batch_finish_ns=finish.copy(),
        batch_size=size.astype(np.int32),
        batch_longest=longest.astype(np.int32),
        batch_lane=lane.astype(np.int16),
        batch_server=server.astype(np.int16),
        batch_formed_ns=start.copy(),
        servers=service.servers,
        tiers=workload.tiers,
        length_unit=workload.length_unit,
    )
