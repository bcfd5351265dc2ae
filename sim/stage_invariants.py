"""What must hold in every trace with CPU stages, whichever driver made it.

16. As the GPU's queue saw it, the run is a trace of its own: invariants 1 to 15 hold for that, and
    with them Little's law.  Over all stages it is then no more than a sum of the parts.
17. Instants are in order: ``arrival <= pre start < queued <= start < end of the batch <= post start
    < finish``, equal where a stage is missing; -1 where a request never came.
18. A stage is FIFO: nobody starts before one who came earlier (at the same instant: a lower id).
19. A stage's workers never serve more than there are of them, and none idles while somebody waits.
20. Who expired before reaching a lane did so at the moment of reaching the GPU's queue, too late;
    everybody else came to it in time.
21. The numbers of workers and the times that they take are the service's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.contract import IntArray

from .invariants import demand
from .service import Service
from .stage_times import at_gpu, expired_early, gpu_order
from .stages import POST, PRE, STAGE_COLUMNS, Stage, StageTimes
from .tandem import at_queue, limits_ns
from .trace import SERVED, Trace
from .workload import Workload


def check(
    trace: Trace, service: Service | None, workload: Workload | None, largest_batch: int | None
) -> None:
    """Assert all invariants of a trace with stages; see :meth:`sim.trace.Trace.check`."""
    times = trace.stages
    assert times is not None, "only traces with stages come here"
    _check_columns(trace, times)
    _check_order(trace, times)
    served = np.flatnonzero(trace.status == SERVED)
    done_ns = trace.batch_finish_ns[trace.batch[served]]
    everybody = np.arange(len(trace))
    if times.pre_workers:
        _check_stage(PRE, everybody, trace.arrival_ns, times.pre_start_ns, times.queued_ns,
                     times.pre_workers)  # fmt: skip
    if times.post_workers:
        order = np.argsort(done_ns, kind="stable")
        ids = served[order]
        _check_stage(POST, ids, done_ns[order], times.post_start_ns[ids], trace.finish_ns[ids],
                     times.post_workers)  # fmt: skip
    _check_early(trace, times, workload)
    inner = at_gpu(trace)
    inner.check(
        None if service is None else replace(service, stages=None),
        None if workload is None else at_queue(workload, gpu_order(trace, times), times.queued_ns),
        largest_batch=largest_batch,
    )
    if service is not None:
        _check_service(trace, times, service)


def _check_columns(trace: Trace, times: StageTimes) -> None:
    """Invariant 17, what it needs: dtypes and shapes."""
    for name, dtype in STAGE_COLUMNS.items():
        column = getattr(times, name)
        if column.dtype != dtype or column.shape != (len(trace),):
            raise AssertionError(
                f"invariant 17, column {name}: {np.dtype(dtype)} ({len(trace)},) must hold, "
                f"but got {column.dtype} {column.shape}"
            )


def _check_order(trace: Trace, times: StageTimes) -> None:
    """Invariant 17."""
    start, queued, post = times.pre_start_ns, times.queued_ns, times.post_start_ns
    shown = {"arrival_ns": trace.arrival_ns, "pre_start_ns": start, "queued_ns": queued}
    if times.pre_workers:
        ordered = (trace.arrival_ns <= start) & (start < queued)
        demand(17, ordered, "arrival <= pre start < queued", shown)
    else:
        at_once = (trace.arrival_ns == start) & (start == queued)
        demand(17, at_once, "arrival = queued without pre-processing", shown)
    served = trace.status == SERVED
    demand(17, served | (post == -1), "post start is -1 where nothing was served", {"post": post})
    ids = np.flatnonzero(served)
    done, post, finish = trace.batch_finish_ns[trace.batch[ids]], post[ids], trace.finish_ns[ids]
    shown = {"batch_finish_ns": done, "post_start_ns": post, "finish_ns": finish}
    if times.post_workers:
        ordered = (done <= post) & (post < finish)
        demand(17, ordered, "end of the batch <= post start < finish", shown, ids=ids)
    else:
        at_once = (done == post) & (post == finish)
        demand(17, at_once, "end of the batch = finish without post-processing", shown, ids=ids)


def _check_stage(
    name: str, ids: IntArray, came: IntArray, start: IntArray, end: IntArray, workers: int
) -> None:
    """Invariants 18 and 19 of one stage, whose requests stand in the order in which they came."""
    shown = {"start_ns": start[1:], "before_ns": start[:-1]}
    demand(18, start[1:] >= start[:-1], f"{name} is FIFO", shown, ids=ids[1:])
    ends, order = np.sort(end), np.arange(len(start))
    inside = order + 1 - np.searchsorted(ends, start, side="right")
    rule = f"{name} serves at most {workers} at a time"
    demand(19, inside <= workers, rule, {"start_ns": start, "inside": inside}, ids=ids)
    waited = start > came
    until = np.searchsorted(start, start, side="left") - np.searchsorted(ends, start, side="left")
    busy = ~waited | ((until == workers) & np.isin(start, ends))
    rule = f"in {name} nobody waits while one of {workers} workers is free"
    demand(19, busy, rule, {"came_ns": came, "start_ns": start, "busy": until}, ids=ids)


def _check_early(trace: Trace, times: StageTimes, workload: Workload | None) -> None:
    """Invariant 20."""
    early = expired_early(trace)
    shown = {"queued_ns": times.queued_ns, "finish_ns": trace.finish_ns}
    at_once = ~early | (trace.finish_ns == times.queued_ns)
    demand(20, at_once, "who comes too late expires at once", shown)
    if workload is not None and len(workload) == len(trace):
        limit = limits_ns(workload)
        too_late = times.queued_ns >= limit
        rule = "exactly those expire before a lane who reach the queue too late"
        demand(20, early == too_late, rule, {**shown, "limit_ns": limit})


def _check_service(trace: Trace, times: StageTimes, service: Service) -> None:
    """Invariant 21."""
    assert service.stages is not None, "a trace has stages where its service has them"
    given = StageTimes.of(service.stages, *times[:3])
    if given.pre_workers != times.pre_workers or given.post_workers != times.post_workers:
        raise AssertionError(
            f"invariant 21: as many workers as the service must hold, but got ({times[3:]} "
            f"instead of {given[3:]})"
        )
    served = np.flatnonzero(trace.status == SERVED)
    took = times.queued_ns - times.pre_start_ns
    _check_took(PRE, service.stages.pre, trace, np.arange(len(trace)), took)
    took = (trace.finish_ns - times.post_start_ns)[served]
    _check_took(POST, service.stages.post, trace, served, took)


def _check_took(
    name: str, stage: Stage | None, trace: Trace, ids: IntArray, took: IntArray
) -> None:
    if stage is not None:
        drawn = stage.service_ns(trace.length)[ids]
        demand(21, took == drawn, f"{name} takes the time drawn for it",
               {"took_ns": took, "drawn_ns": drawn}, ids=ids)  # fmt: skip
