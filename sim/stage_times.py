"""Where the requests of a trace with CPU stages spent their time, and what the GPU's queue saw.

Every request that was served went through six parts, in this order; they add up to its latency,
to the nanosecond: ``PARTS``.  Without stages the first two and the last two are 0.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray

from .stages import StageTimes
from .trace import EXPIRED, REQUEST_COLUMNS, SERVED, Trace

PARTS = ("pre_wait", "pre_service", "queue_wait", "gpu_service", "post_wait", "post_service")
"""Waits are for a worker, for the batch to start, and for a worker again."""


def times_of(trace: Trace) -> StageTimes:
    """When requests were in stages; where there are none, nobody lost time in them."""
    if trace.stages is not None:
        return trace.stages
    served = trace.status == SERVED
    done_ns = np.where(served, trace.finish_ns, -1)
    return StageTimes(trace.arrival_ns, trace.arrival_ns, done_ns, 0, 0)


def parts_ns(trace: Trace, first: int = 0) -> dict[str, IntArray]:
    """Time that each request spent in each part.

    Args:
        trace: with stages or without.
        first: the id to begin with.

    Returns:
        int64 (n,) for each of ``PARTS``, of the served requests in order of arrival.
    """
    times = times_of(trace)
    kept = first + np.flatnonzero(trace.status[first:] == SERVED)
    instants = (
        trace.arrival_ns[kept],
        times.pre_start_ns[kept],
        times.queued_ns[kept],
        trace.start_ns[kept],
        trace.batch_finish_ns[trace.batch[kept]],
        times.post_start_ns[kept],
        trace.finish_ns[kept],
    )
    spans = zip(PARTS, pairwise(instants), strict=True)
    return {name: end - start for name, (start, end) in spans}


def waits_ns(trace: Trace) -> IntArray:
    """int64 (N,): the time that each request waited in any queue; -1 where it was not served."""
    waited = np.full(len(trace), -1)
    parts = parts_ns(trace)
    waited[trace.status == SERVED] = parts["pre_wait"] + parts["queue_wait"] + parts["post_wait"]
    return waited


def expired_early(trace: Trace) -> NDArray[np.bool_]:
    """Bool (N,): which requests had run out of patience when they reached the GPU's queue."""
    if trace.stages is None:
        return np.zeros(len(trace), dtype=np.bool_)
    return np.asarray((trace.status == EXPIRED) & (trace.lane == -1))


def gpu_order(trace: Trace, times: StageTimes) -> IntArray:
    """int64 (M,): ids of those who came to the GPU's queue in time, in its order."""
    ids = np.flatnonzero(~expired_early(trace))
    return ids[np.argsort(times.queued_ns[ids], kind="stable")]


def at_gpu(trace: Trace) -> Trace:
    """The same run as the GPU's queue saw it: a trace without stages, in the order of its queue."""
    if trace.stages is None:
        return trace
    order = gpu_order(trace, trace.stages)
    columns = {name: getattr(trace, name)[order] for name in REQUEST_COLUMNS}
    columns["arrival_ns"] = trace.stages.queued_ns[order]
    served = columns["status"] == SERVED
    columns["finish_ns"][served] = trace.batch_finish_ns[columns["batch"][served]]
    return replace(trace, **columns, stages=None)
