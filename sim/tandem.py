"""Queues in tandem, each worked through by itself: CPU stages around a driver of the GPU's queue.

Nothing flows back from a later queue to an earlier one.  So pre-processing turns arrivals into
arrivals at the GPU's queue, a driver runs those, and post-processing goes on where batches end.  A
FIFO queue in front of c equal workers is the recursion ``start = max(arrival, earliest free
worker)`` (Kiefer and Wolfowitz, Transactions of the American Mathematical Society 78, 1955).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from policies.contract import NEVER, IntArray

from .cache import compiled_entry
from .heaps import drop_first, push
from .service import Service
from .stages import Stage, StageTimes, open_stages
from .trace import EXPIRED, REQUEST_COLUMNS, SERVED, Trace
from .workload import Workload


def in_tandem(
    run: Callable[[Workload, Service], Trace], workload: Workload, service: Service
) -> Trace:
    """Run a workload through its stages and, between them, through a driver.

    Args:
        run: serves the GPU's queue; it is given a service without stages.
        workload: who arrives when.
        service: has stages.

    Raises:
        WorkloadError: the workload is a closed loop.
    """
    stages, total = open_stages(service.stages, workload.closed is not None), len(workload)
    start_ns, queued_ns = through(stages.pre, workload.arrival_ns, np.arange(total), workload)
    order = in_order(np.flatnonzero(queued_ns < limits_ns(workload)), queued_ns)
    inner = run(at_queue(workload, order, queued_ns), replace(service, stages=None))
    done_ns = np.full(total, -1)
    done_ns[order] = np.where(inner.status == SERVED, inner.finish_ns, -1)
    served = in_order(np.flatnonzero(done_ns >= 0), done_ns)
    post_start_ns, finish_ns = np.full(total, -1), np.full(total, -1)
    found = through(stages.post, done_ns[served], served, workload)
    post_start_ns[served], finish_ns[served] = found
    times = StageTimes.of(stages, start_ns, queued_ns, post_start_ns)
    return joined(workload, inner, order, times, finish_ns)


def through(
    stage: Stage | None, arrival_ns: IntArray, ids: IntArray, workload: Workload
) -> tuple[IntArray, IntArray]:
    """When requests start in a stage and when they end, int64 (M,) each.

    Args:
        stage: None lets everybody through at once.
        arrival_ns: int64 (M,), not decreasing.
        ids: int64 (M,), of the requests in this order.
        workload: all requests, for their lengths.
    """
    if stage is None or len(ids) == 0:
        return arrival_ns, arrival_ns
    took_ns = stage.service_ns(workload.length)[ids]
    workers = np.arange(min(stage.workers, len(ids)))
    start_ns = np.empty(len(ids), dtype=np.int64)
    fifo_starts(arrival_ns, took_ns, start_ns, np.zeros(len(workers), dtype=np.int64), workers)
    return start_ns, start_ns + took_ns


@compiled_entry
def fifo_starts(
    arrival_ns: IntArray, took_ns: IntArray, start_ns: IntArray, free_ns: IntArray, heap: IntArray
) -> None:
    """Fill in when requests start; the heap holds the workers by the instant they become free."""
    workers = heap.shape[0]
    for place in range(arrival_ns.shape[0]):
        worker = heap[0]
        start_ns[place] = max(arrival_ns[place], free_ns[worker])
        left = drop_first(heap, workers, free_ns)
        free_ns[worker] = start_ns[place] + took_ns[place]
        push(heap, left, free_ns, worker)


def limits_ns(workload: Workload) -> IntArray:
    """int64 (N,): the instant at which each request gives up; NEVER without one."""
    patience, arrival = workload.timeout_ns, workload.arrival_ns
    if not len(patience):
        return np.full(len(workload), NEVER)
    never = patience >= NEVER - arrival
    return np.where(never, NEVER, arrival + np.where(never, 0, patience))


def in_order(ids: IntArray, instant_ns: IntArray) -> IntArray:
    """Ids by (instant, id); they come in order of id."""
    return ids[np.argsort(instant_ns[ids], kind="stable")]


def at_queue(workload: Workload, order: IntArray, queued_ns: IntArray) -> Workload:
    """The workload as the GPU's queue sees it: who comes to it when, and what patience is left."""
    patience = workload.timeout_ns
    if len(patience):
        spent = (queued_ns - workload.arrival_ns)[order]
        patience = np.where(patience[order] == NEVER, NEVER, patience[order] - spent)
    return replace(
        workload,
        length=workload.length[order],
        arrival_ns=queued_ns[order],
        tier=workload.tier[order] if len(workload.tier) else workload.tier,
        timeout_ns=patience,
    )


def joined(
    workload: Workload, inner: Trace, order: IntArray, times: StageTimes, finish_ns: IntArray
) -> Trace:
    """The trace of all stages, in the order of the original arrivals.

    Args:
        workload: who arrived.
        inner: what happened at the GPU's queue.
        order: int64 (M,), the ids of its requests; the others expired before they reached it.
        times: when everybody was in the stages.
        finish_ns: int64 (N,), when those that were served left the last stage.
    """
    total = len(workload)
    columns: dict[str, Any] = {}
    for name, dtype in REQUEST_COLUMNS.items():
        columns[name] = np.full(total, -1, dtype=dtype)
        columns[name][order] = getattr(inner, name)
    early = np.ones(total, dtype=np.bool_)
    early[order] = False
    columns["status"][early] = EXPIRED
    columns["finish_ns"][early] = times.queued_ns[early]
    served = columns["status"] == SERVED
    columns["finish_ns"][served] = finish_ns[served]
    columns["arrival_ns"], columns["length"] = workload.arrival_ns, workload.length
    columns["tier"] = workload.tier if len(workload.tier) else np.zeros(total, dtype=np.int8)
    return replace(inner, **columns, stages=times)
