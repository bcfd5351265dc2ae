"""What figures of a run need, from a trace alone.

Numbers at instants are exact: they count the events up to and including the instant.  Means over
bins are exact too: they are integrals over the bin, not samples.  Where there are CPU stages the
queue is that of the GPU, and the system is all of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

from .sections import last_event_ns, leave_ns, overlap, stop_waiting_ns
from .stage_times import at_gpu
from .trace import EXPIRED, LOST, REJECTED, SERVED, Trace


class Steps(NamedTuple):
    """Numbers at instants."""

    at_ns: IntArray
    """int64 (points,)"""
    value: IntArray
    """int64 (points,)"""


class Bins(NamedTuple):
    """Means, or peaks, over stretches of time."""

    edges_ns: IntArray
    """int64 (bins + 1,)"""
    value: FloatArray
    """float64 (bins,); 0 over an empty bin"""


class Curve(NamedTuple):
    """An empirical distribution function."""

    value: NDArray[Any]
    """(points,) not decreasing, of the values' type"""
    share: FloatArray
    """float64 (points,): share of the values that do not exceed each"""


def latencies_ns(trace: Trace) -> IntArray:
    """int64: from arrival to finish, of the served requests in order of arrival."""
    served = trace.status == SERVED
    return np.asarray(trace.finish_ns[served] - trace.arrival_ns[served])


def waits_ns(trace: Trace) -> IntArray:
    """int64: from arrival to the start of the batch, of the served requests in order of arrival."""
    served = trace.status == SERVED
    return np.asarray(trace.start_ns[served] - trace.arrival_ns[served])


def ecdf(values: NDArray[Any], points: int = 400) -> Curve:
    """The distribution of values at few points: half evenly spaced, half crowding into the tail.

    The smallest and the largest value are always among them.
    """
    n = len(values)
    if n == 0:
        return Curve(values, np.zeros(0))
    half = max(points // 2, 2)
    even = np.linspace(0, n - 1, half)
    tail = n - np.geomspace(n, 1, half)
    ranks = np.unique(np.rint(np.concatenate((even, tail))).astype(np.int64))
    ordered = np.sort(values)
    value = ordered[ranks]
    return Curve(value, np.searchsorted(ordered, value, side="right") / n)


def batch_size_histogram(trace: Trace) -> IntArray:
    """int64 (largest size + 1,): how many batches of each size there were."""
    return np.bincount(trace.batch_size).astype(np.int64)


def padding_by_batch_size(trace: Trace, shortest: int = 0) -> FloatArray:
    """float64 (largest size + 1,): share of the padded lengths that is padding, by batch size.

    Args:
        trace: the run.
        shortest: the profile's shortest length, up to which a batch is padded.

    Returns:
        NaN for sizes that no batch had.
    """
    served = trace.status == SERVED
    sizes = int(trace.batch_size.max(initial=0)) + 1
    size_of = trace.batch_size[trace.batch[served]]
    length = np.bincount(size_of, trace.length[served], sizes)
    longest = np.maximum(trace.batch_longest, shortest)
    padded = np.bincount(trace.batch_size, trace.batch_size * longest.astype(np.float64), sizes)
    waste = np.full(sizes, np.nan)
    np.divide(padded - length, padded, out=waste, where=padded > 0)
    return waste


def queue_depth(trace: Trace, points: int | IntArray = 400) -> Steps:
    """How many requests wait at each instant.

    Args:
        trace: the run.
        points: instants, or how many of them to spread over the run.
    """
    at_ns = grid_ns(trace, points)
    trace = at_gpu(trace)
    left = np.append(0, np.cumsum(trace.batch_size, dtype=np.int64))
    left = left[np.searchsorted(trace.batch_start_ns, at_ns, side="right")]
    return Steps(at_ns, _entered(trace, at_ns) - left - _expired(trace, at_ns))


def number_in_system(trace: Trace, points: int | IntArray = 400) -> Steps:
    """How many requests wait or are being served at each instant; arguments as `queue_depth`."""
    at_ns = grid_ns(trace, points)
    left = np.sort(trace.finish_ns[trace.status == SERVED])
    left = np.searchsorted(left, at_ns, side="right")
    return Steps(at_ns, _entered(trace, at_ns) - left - _expired(trace, at_ns))


def mean_queue_depth(trace: Trace, bins: int | IntArray = 200) -> Bins:
    """Mean number of requests that wait, over each bin of time.

    Args:
        trace: the run.
        bins: edges of the bins, or how many bins to cut the run into.
    """
    edges = edges_ns(trace, bins)
    end_ns = max(int(edges[-1]), last_event_ns(trace))
    trace = at_gpu(trace)
    stop = stop_waiting_ns(trace, end_ns)
    return _mean(overlap(trace.arrival_ns, stop, edges), edges)


def peak_queue_depth(trace: Trace, bins: int | IntArray = 200) -> Bins:
    """Largest number of requests that wait at once, in each bin; arguments as `mean_queue_depth`.

    Just after an arrival, before anything starts at that instant: what a bounded queue must hold.
    """
    edges = edges_ns(trace, bins)
    trace = at_gpu(trace)
    depth = queue_depth(trace, edges).value[:-1]
    arrival = trace.arrival_ns[trace.status != REJECTED]
    started = np.append(0, np.cumsum(trace.batch_size, dtype=np.int64))
    after = np.arange(1, len(arrival) + 1) - _expired(trace, arrival)
    after -= started[np.searchsorted(trace.batch_start_ns, arrival, side="left")]
    cuts = np.searchsorted(arrival, edges)
    peaks = [after[low:high].max(initial=0) for low, high in pairwise(cuts)]
    return Bins(edges, np.maximum(depth, peaks).astype(np.float64))


def mean_number_in_system(trace: Trace, bins: int | IntArray = 200) -> Bins:
    """Mean number of requests in the system over each bin; arguments as `mean_queue_depth`."""
    edges = edges_ns(trace, bins)
    leave = leave_ns(trace, max(int(edges[-1]), last_event_ns(trace)))
    return _mean(overlap(trace.arrival_ns, leave, edges), edges)


def utilisation(trace: Trace, bins: int | IntArray = 200) -> Bins:
    """Share of the servers that is busy, over each bin; arguments as `mean_queue_depth`."""
    edges = edges_ns(trace, bins)
    busy = overlap(trace.batch_start_ns, trace.batch_finish_ns, edges)
    return _mean(busy / trace.servers, edges)


def grid_ns(trace: Trace, points: int | IntArray) -> IntArray:
    """Instants from 0 to the last event, both among them; given instants come back as they are."""
    if isinstance(points, np.ndarray):
        return points
    return np.linspace(0, last_event_ns(trace), points).astype(np.int64)


def edges_ns(trace: Trace, bins: int | IntArray) -> IntArray:
    """Edges of bins from 0 to the last event; given edges come back as they are."""
    return bins if isinstance(bins, np.ndarray) else grid_ns(trace, bins + 1)


def _entered(trace: Trace, at_ns: IntArray) -> IntArray:
    """Requests that were let in up to each instant."""
    let_in = np.append(0, np.cumsum(trace.status != REJECTED))
    return np.asarray(let_in[np.searchsorted(trace.arrival_ns, at_ns, side="right")])


def _expired(trace: Trace, at_ns: IntArray) -> IntArray:
    """Requests that gave up up to each instant."""
    given_up = np.sort(trace.finish_ns[(trace.status == EXPIRED) | (trace.status == LOST)])
    return np.searchsorted(given_up, at_ns, side="right")


def _mean(integral: FloatArray, edges: IntArray) -> Bins:
    """Integrals over bins, per duration."""
    lasts = np.diff(edges)
    return Bins(edges, np.divide(integral, lasts, out=np.zeros(len(lasts)), where=lasts > 0))
