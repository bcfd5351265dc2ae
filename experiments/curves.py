"""What the figures need of a trace, thinned to a few hundred points, so that the trace can go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.contract import FloatArray, IntArray
from sim.backlog import others_in
from sim.sections import cut
from sim.series import batch_size_histogram, ecdf, mean_queue_depth, peak_queue_depth
from sim.trace import SERVED, Trace

POINTS = 400
"""Points of a latency curve, half of them in the tail."""

BINS = 200
"""Bins of a queue's history: a panel is about 250 pixels wide."""


@dataclass(frozen=True)
class Curves:
    """P points of latency, B batch sizes, T bins of time."""

    latency_ms: FloatArray
    """float64 (P,), not decreasing; empty where the policy is unstable or nothing was served."""
    slower: FloatArray
    """float64 (P,): share of served requests above that latency."""
    batch_size: IntArray
    """int64 (B,): 1 to the largest."""
    batch_share: FloatArray
    """float64 (B,): share of batches of that size."""
    queue_time_s: FloatArray
    """float64 (T,): middles of equal bins of the run."""
    queue_mean: FloatArray
    """float64 (T,): waiting requests, averaged over the bin."""
    queue_peak: FloatArray
    """float64 (T,): most requests that waited at once in the bin."""


NOTHING: FloatArray = np.zeros(0)
NO_CURVES = Curves(NOTHING, NOTHING, np.zeros(0, np.int64), NOTHING, NOTHING, NOTHING, NOTHING)
"""Of an outcome that no figure shows by itself."""


def curves_of(trace: Trace, *, stable: bool = True) -> Curves:
    """Thin a trace; of an unstable policy latencies are left out, since they grow with the run.

    A backlog that is always there has no latency, and its queue is as long as one likes: both are
    of the other requests.
    """
    counts = batch_size_histogram(trace)[1:]
    latency_ms, slower = tail(trace) if stable else (np.zeros(0), np.zeros(0))
    others = others_in(trace)
    mean, peak = mean_queue_depth(others, BINS), peak_queue_depth(others, BINS)
    return Curves(
        latency_ms=latency_ms,
        slower=slower,
        batch_size=np.arange(1, len(counts) + 1),
        batch_share=counts / max(int(counts.sum()), 1),
        queue_time_s=(mean.edges_ns[:-1] + mean.edges_ns[1:]) / 2e9,
        queue_mean=mean.value,
        queue_peak=peak.value,
    )


def tail(trace: Trace) -> tuple[FloatArray, FloatArray]:
    """Latencies in ms, and the share of served requests above each, after the warm-up."""
    first = int(cut(trace).ids[0])
    served = trace.status[first:] == SERVED
    latency = (trace.finish_ns[first:] - trace.arrival_ns[first:])[served]
    curve = ecdf(latency, POINTS)
    shown = curve.share < 1.0  # a log axis has no place for the slowest request
    return curve.value[shown] / 1e6, 1.0 - curve.share[shown]
