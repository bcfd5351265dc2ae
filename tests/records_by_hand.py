"""Records of a server that never was: the simulator's own trace, as a server would have kept it."""

from __future__ import annotations

import numpy as np

from experiments.config import load_scenario
from experiments.serving.recording import ROW
from experiments.serving.recording_text import HEADER, quoted, text
from sim import kernel

SCENARIO = """
name = "s"
description = "what was served"
[workload]
requests = 30_000
arrivals = { process = "poisson", rate_per_s = 100.0 }
lengths = { distribution = "uniform", min = 10, max = 300 }
[[workload.tiers]]
name = "all"
slo = { percentile = 95, ms = 60.0 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.5, per_length_ms = 0.005, max_batch_size = 16 }
[policies.first]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 5.0
"""
ORIGIN_NS = 1_796_103_504_505_668_603


def record_of(scenario, path, *overrides, slower=1.0, names=None):
    """What a server would have recorded that served another scenario than was said."""
    lived = load_scenario(scenario.path, overrides)
    workload, service = lived.draw()
    trace = kernel.run(lived.policies["first"], workload, service)
    rows = np.zeros(len(trace), dtype=ROW)
    batch = trace.batch
    rows["arrival_ns"] = trace.arrival_ns + ORIGIN_NS
    rows["length"], rows["tier"] = trace.length, trace.tier
    rows["waited_ns"] = trace.start_ns - trace.arrival_ns
    took_ns = (trace.batch_finish_ns - trace.batch_start_ns) * slower
    rows["service_ns"] = np.rint(took_ns[batch]).astype(np.int64)
    rows["batch_size"], rows["server"] = trace.batch_size[batch], trace.server
    rows["padded_to"] = np.maximum(trace.batch_longest[batch], service.length_edges[0])
    tiers = names or [tier.name for tier in scenario.tiers]
    path.write_bytes(HEADER + text(rows, quoted(tiers)))
    return trace
