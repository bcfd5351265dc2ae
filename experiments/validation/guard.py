"""Whether a window counts: read off the machine beside it, never off its latencies.

1. The load generator kept to its plan: its lag at the 99th percentile is within ``LAG_SHARE`` of a
   single request's service time, or ``LAG_LEAST_MS`` where that is less.
2. The scheduler was never stopped: no heartbeat gap above ``GAP_MOST_MS``, and no more than
   ``STALLED_MOST`` of the window in gaps.
3. The server was nearly as fast as when it was calibrated, and stayed so: batches of one right
   before and after the window took within ``DRIFT_MOST`` of their calibrated time, and those after
   within as much of those before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim.wall import HEARTBEAT_NS, Readings

from .windows import Condition

LAG_SHARE, LAG_LEAST_MS = 0.1, 0.5
GAP_MOST_MS, STALLED_MOST = 50.0, 0.005
STALL_NS = 1_000_000
"""A wake-up that is later than this is a gap; timers alone are 0.1 ms late."""
DRIFT_MOST = 0.1
"""Predictions are made at the level that was read; a device further off is another one."""
MS = 1e6


def condition_of(
    readings: Readings,
    before: Sequence[float],
    after: Sequence[float],
    single_ns: float,
    load_average: float | None,
) -> Condition:
    """What was read beside a window, and the judgement.

    Args:
        readings: of the scheduler.
        before: batches of one before the window, each over its calibrated time.
        after: those after it.
        single_ns: the calibrated time of a single request of usual length.
        load_average: of the machine.
    """
    late = np.array(readings.late_ns or [0], dtype=np.float64)
    lag = np.array(readings.lag_ns[readings.crowd :] or [0], dtype=np.float64)
    stalls = late[late > STALL_NS]
    found = Condition(
        lag_ms_p99=float(np.quantile(lag, 0.99)) / MS,
        late_ms_p99=float(np.quantile(late, 0.99)) / MS,
        gap_ms_max=float(late.max() + (HEARTBEAT_NS if stalls.size else 0)) / MS,
        stalled_share=float(stalls.sum()) / max(1, readings.span_ns),
        sentinel=float(np.median([*before, *after])),
        load_average=load_average,
        before=float(np.median(before)),
        after=float(np.median(after)),
    )
    return _judged(found, single_ns)


def _judged(found: Condition, single_ns: float) -> Condition:
    lag_most_ms = max(LAG_LEAST_MS, LAG_SHARE * single_ns / MS)
    reason = ""
    if found.lag_ms_p99 > lag_most_ms:
        reason = (
            f"the load generator was {found.lag_ms_p99:.2g} ms late at p99, above "
            f"{lag_most_ms:.2g} ms"
        )
    elif found.gap_ms_max > GAP_MOST_MS:
        reason = f"the scheduler stood still for {found.gap_ms_max:.0f} ms"
    elif found.stalled_share > STALLED_MOST:
        reason = f"the scheduler stood still for {found.stalled_share:.1%} of the window"
    elif abs(found.sentinel - 1.0) > DRIFT_MOST:
        reason = f"the server took {found.sentinel:.2f} times its calibrated time beside it"
    elif abs(found.change or 0.0) > DRIFT_MOST:
        times = math.exp(found.change or 0.0)
        reason = f"the server took {times:.2f} times as long after it as before"
    return replace(found, rejected=reason)
