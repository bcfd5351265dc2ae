"""The figures of a window, measured or predicted, by the same code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policies.contract import IntArray

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

SIDES = ("server", "client")
"""Latency from sending to the end of the model; and from the planned instant to the answer."""

Figures = Mapping[str, float]
"""``server_p50_ms`` and so on, ``mean_batch``, ``throughput_per_s``, ``lost``."""


def figures_of(
    latency_ns: IntArray, in_server_ns: IntArray, size: IntArray, planned_ns: IntArray, asked: int
) -> dict[str, float]:
    """Figures of the requests that were served.

    Args:
        latency_ns: int64 (served,), from the planned instant to the answer.
        in_server_ns: int64 (served,), from sending to the end of the model.
        size: int64 (batches,).
        planned_ns: int64 (served,).
        asked: how many requests there were.
    """
    found: dict[str, float] = {}
    for side, each in zip(SIDES, (in_server_ns, latency_ns), strict=True):
        found[f"{side}_mean_ms"] = float(each.mean()) / 1e6 if len(each) else float("nan")
        for name, share in PERCENTILES.items():
            value = float(np.quantile(each, share)) / 1e6 if len(each) else float("nan")
            found[f"{side}_{name}_ms"] = value
    span_ns = int((planned_ns + latency_ns).max() - planned_ns.min()) if len(latency_ns) else 0
    found["mean_batch"] = float(size.mean()) if len(size) else 0.0
    found["throughput_per_s"] = len(latency_ns) / span_ns * 1e9 if span_ns else 0.0
    found["lost"] = float(asked - len(latency_ns))
    return found
