"""A window: one policy at one load, live, for a while; and under what conditions it was measured.

1. All windows of a load replay the same workload: the same arrivals and lengths.
2. Whether a window counts is decided by its conditions alone, never by its latencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.contract import IntArray
from sim.trace import Trace


@dataclass(frozen=True)
class Condition:
    """Readings beside a window."""

    lag_ms_p99: float
    """Load generator: actual minus intended instant of sending."""
    late_ms_p99: float
    """Scheduler: instant of waking up minus the one that it asked for."""
    gap_ms_max: float
    """Longest gap between two heartbeats of the scheduler."""
    stalled_share: float
    """Share of the window that lies in gaps."""
    sentinel: float
    """Calls of one shape beside the window, over the calibrated time of that shape."""
    load_average: float | None
    rejected: str = ""
    """Why the window does not count, in one clause; empty where it counts."""
    before: float | None = None
    """The calls before the window alone; None where they were not told apart."""
    after: float | None = None
    """Those after it."""

    @property
    def level(self) -> float:
        """How fast the device was around the window, over how fast it was calibrated."""
        return 1.0 if self.before is None else self.sentinel

    @property
    def change(self) -> float | None:
        """Log of the level after over the level before."""
        if self.before is None or self.after is None:
            return None
        return math.log(self.after / self.before)

    @property
    def accepted(self) -> bool:
        """Whether the window counts."""
        return not self.rejected


@dataclass(frozen=True, eq=False)
class Window:
    """What happened in one window."""

    policy: str
    load: float | None
    """Nominal load of the workload; None in a closed loop."""
    round: int
    """From 0."""
    attempt: int
    """0, and 1, 2, ... where a rejected window was run again."""
    trace: Trace
    """Arrivals are the intended instants, from the start of the window; batch times are measured.
    """
    condition: Condition
    late_ns: IntArray | None = None
    """int64 (N,): how long after its arrival each request was noticed; None in a closed loop."""
