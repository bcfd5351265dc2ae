"""What is compared: one summary for live and simulated traces, by the same code.

1. Latency is from the intended arrival to the end of the batch, of the requests that were served.
   Nothing is dropped as warm-up: both sides start empty, on the same requests.
2. ``busy`` is the share of the servers' time from the first arrival to the last end of a batch.
3. ``lost`` counts the requests that were not served: rejected, expired or unfinished.
4. Where there are several tiers, each has statistics of its own.  Requests of a backlog that is
   always there have no latency, and none of them is lost; their throughput counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray
from sim.backlog import others_of
from sim.trace import SERVED, Trace

LATENCIES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""Percentiles of latency by name."""

STATISTICS = ("mean", *LATENCIES, "mean_batch", "busy", "throughput_per_s", "lost")
"""Names of what is compared; latencies are in ms."""

TIERED = ("mean", *LATENCIES, "throughput_per_s", "lost")
"""Names of what each of several tiers has of its own."""

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
    tiers: Mapping[str, Mapping[str, float]]
    """By tier those of :data:`TIERED`; empty where there is one tier."""

    def of(self, tier: str | None) -> Mapping[str, float]:
        """The numbers of a tier, or of all requests."""
        return self.values if tier is None else self.tiers[tier]


def summary_of(trace: Trace) -> Summary:
    """The numbers of a trace, live or simulated."""
    kept = others_of(trace.tier, trace.tiers)
    own = np.ones(len(trace), dtype=bool) if kept is None else np.isin(np.arange(len(trace)), kept)
    sizes = trace.batch_size
    span_ns = 0
    if len(sizes):
        span_ns = int(trace.batch_finish_ns.max() - trace.arrival_ns.min())
    busy_ns = int((trace.batch_finish_ns - trace.batch_start_ns).sum())
    latency_ms = _latency_ms(trace, own)
    served = int((trace.status == SERVED).sum())
    values = {
        **_latencies(latency_ms),
        "mean_batch": float(sizes.mean()) if len(sizes) else 0.0,
        "busy": busy_ns / (span_ns * trace.servers) if span_ns else 0.0,
        "throughput_per_s": served / span_ns * 1e9 if span_ns else 0.0,
        "lost": float(own.sum() - len(latency_ms)),
    }
    tiers = {
        tier.name: _of_tier(trace, place, span_ns)
        for place, tier in enumerate(trace.tiers if len(trace.tiers) > 1 else ())
    }
    return Summary(values, latency_ms, np.bincount(sizes) / max(len(sizes), 1), tiers)


def _of_tier(trace: Trace, place: int, span_ns: int) -> dict[str, float]:
    """The statistics of one tier; a backlog has a throughput alone."""
    own = trace.tier == place
    served = int((own & (trace.status == SERVED)).sum())
    backlog = trace.tiers[place].backlog
    return {
        **_latencies(_latency_ms(trace, own & (not backlog))),
        "throughput_per_s": served / span_ns * 1e9 if span_ns else 0.0,
        "lost": 0.0 if backlog else float(own.sum() - served),
    }


def _latency_ms(trace: Trace, own: NDArray[np.bool_]) -> FloatArray:
    """Latencies of those of some requests that were served, float64 (served,), increasing."""
    served = own & (trace.status == SERVED)
    found: FloatArray = np.sort(trace.finish_ns[served] - trace.arrival_ns[served]) / 1e6
    return found


def _latencies(latency_ms: FloatArray) -> dict[str, float]:
    """Mean and percentiles; NaN where nobody was served."""
    if not len(latency_ms):
        return dict.fromkeys(("mean", *LATENCIES), math.nan)
    tails = np.quantile(latency_ms, list(LATENCIES.values()))
    return {"mean": float(latency_ms.mean()), **dict(zip(LATENCIES, tails.tolist(), strict=True))}


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
