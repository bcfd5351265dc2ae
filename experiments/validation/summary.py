"""What is compared: one summary for live and simulated traces, by the same code.

1. Latency is from the intended arrival to the end of the batch, of the requests that were served.
   Nothing is dropped as warm-up: both sides start empty, on the same requests.
2. ``busy`` is the share of the servers' time from the first arrival to the last end of a batch.
3. ``lost`` counts the requests that were not served: rejected, expired or unfinished.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.contract import FloatArray
from sim.trace import SERVED, Trace

LATENCIES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""Percentiles of latency by name."""

STATISTICS = ("mean", *LATENCIES, "mean_batch", "busy", "throughput_per_s", "lost")
"""Names of what is compared; latencies are in ms."""

REPLAYED = ("mean", "p50", "p90", "p99")
"""What a replay is judged by."""

SHARES: FloatArray = np.concatenate(
    [np.linspace(0.0, 0.9, 91), 1.0 - np.geomspace(0.1, 0.001, 41)[1:]]
)
"""float64 (131,): shares of requests at which a distribution is kept, denser in the tail."""


@dataclass(frozen=True, eq=False)
class Summary:
    """One run in numbers."""

    values: Mapping[str, float]
    """By name, those of :data:`STATISTICS`; latencies are NaN where nobody was served."""
    latency_ms: FloatArray
    """float64 (served,), increasing."""
    batch_share: FloatArray
    """float64 (largest batch + 1,): share of the batches by size."""


def summary_of(trace: Trace) -> Summary:
    """The numbers of a trace, live or simulated."""
    served = trace.status == SERVED
    latency_ms = np.sort(trace.finish_ns[served] - trace.arrival_ns[served]) / 1e6
    sizes = trace.batch_size
    span_ns = 0
    if len(sizes):
        span_ns = int(trace.batch_finish_ns.max() - trace.arrival_ns.min())
    busy_ns = int((trace.batch_finish_ns - trace.batch_start_ns).sum())
    shares = list(LATENCIES.values())
    tails = np.quantile(latency_ms, shares) if len(latency_ms) else np.full(len(shares), np.nan)
    values = {
        "mean": float(latency_ms.mean()) if len(latency_ms) else math.nan,
        **dict(zip(LATENCIES, tails.tolist(), strict=True)),
        "mean_batch": float(sizes.mean()) if len(sizes) else 0.0,
        "busy": busy_ns / (span_ns * trace.servers) if span_ns else 0.0,
        "throughput_per_s": len(latency_ms) / span_ns * 1e9 if span_ns else 0.0,
        "lost": float(len(trace) - len(latency_ms)),
    }
    return Summary(values, latency_ms, np.bincount(sizes) / max(len(sizes), 1))


@dataclass(frozen=True)
class Distance:
    """How far two distributions of latency are from each other."""

    w1_over_mean: float
    """Mean distance of latencies at the same rank, over the first distribution's mean."""
    cdf_gap: float
    """Largest difference between the shares that are not slower than some latency."""


def distance(live_ms: FloatArray, other_ms: FloatArray) -> Distance:
    """Distances of sorted latencies; NaN where one side has none.

    Args:
        live_ms: float64 (n,), increasing.
        other_ms: float64 (m,), increasing; read at the live ranks where m is not n.
    """
    if not len(live_ms) or not len(other_ms):
        return Distance(math.nan, math.nan)
    ranks = (np.arange(len(live_ms)) + 0.5) / len(live_ms)
    other = other_ms
    if len(other_ms) != len(live_ms):
        other = np.quantile(other_ms, ranks, method="hazen")
    both = np.concatenate([live_ms, other_ms])
    gap = [np.searchsorted(one, both, side="right") / len(one) for one in (live_ms, other_ms)]
    return Distance(
        float(np.abs(live_ms - other).mean() / live_ms.mean()),
        float(np.abs(gap[0] - gap[1]).max()),
    )


def error(measured: float, predicted: float) -> float | None:
    """Predicted over measured, minus one; None where that says nothing."""
    if not math.isfinite(measured) or not math.isfinite(predicted):
        return None
    if measured == predicted:
        return 0.0
    return None if measured == 0.0 else predicted / measured - 1.0
