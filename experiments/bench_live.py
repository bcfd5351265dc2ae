"""The live path's own overhead: its timers, and what it carries with a model that does nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.emulated import EmulatedOpening
from sim.service import Service
from sim.trace import Trace
from sim.workload import Workload

RATE_PER_S, SECONDS = 2_000, 10
WAIT_NS = 2_000_000


def live_overhead() -> list[tuple[str, str, str]]:
    """A null model behind 2,000 requests a second, and a policy that waits on a timer."""
    from policies import Greedy, SizeOrTimeout

    from .validation.rig import Rig

    service = Service(np.full((1, 64, 1), 1, dtype=np.int64), np.array([1]))
    rng = np.random.default_rng(1)
    gaps = rng.exponential(1e9 / RATE_PER_S, RATE_PER_S * SECONDS)
    workload = Workload(
        length=np.ones(len(gaps), dtype=np.int32), arrival_ns=gaps.cumsum().astype(np.int64)
    )
    with Rig(EmulatedOpening(service), service, spins=False) as rig:
        rig.warm_up([(1, 1)])
        trace, readings = rig.window(Greedy(), workload, service)
        waited, timers = rig.window(SizeOrTimeout(64, WAIT_NS), workload, service)
    served = len(trace) / (int(trace.finish_ns.max()) / 1e9)
    took = (trace.finish_ns - trace.arrival_ns) / 1e6
    late = np.quantile(timers.late_ns, 0.99) / 1e6
    over = np.quantile((waited.batch_start_ns - _oldest_ns(waited) - WAIT_NS) / 1e6, 0.99)
    return [
        ("live, null model", f">= {RATE_PER_S:,} requests/s", f"{served:,.0f} requests/s"),
        (
            "live, latency of nothing",
            "",
            f"p50 {np.median(took):.2f} ms, p99 {np.quantile(took, 0.99):.2f} ms",
        ),
        ("live, timers late at p99", "< 0.3 ms", f"{late:.2f} ms; batches {over:.2f} ms"),
        ("live, sent late at p99", "", f"{np.quantile(readings.lag_ns, 0.99) / 1e6:.2f} ms"),
    ]


def _oldest_ns(trace: Trace) -> NDArray[np.int64]:
    """int64 (batches,): arrival of the oldest request of each batch."""
    oldest = np.full(len(trace.batch_size), np.iinfo(np.int64).max)
    np.minimum.at(oldest, trace.batch, trace.arrival_ns)
    return oldest
