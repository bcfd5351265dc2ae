"""Closed loops: a fixed number of clients, each with at most one request under way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.contract import NEVER, IntArray

from .errors import WorkloadError, require


@dataclass(frozen=True)
class Closed:
    """Clients that think, send one request, wait for its end, and think again.

    Think times are exponential with mean ``think_ns``, or all equal to it.
    """

    clients: int
    think_ns: int
    constant: bool = False

    def __post_init__(self) -> None:
        require(self.clients >= 1, "clients >= 1", clients=self.clients)
        require(self.think_ns >= 0, "think_ns >= 0", think_ns=self.think_ns)

    def think_table(self, rng: np.random.Generator, requests: int) -> IntArray:
        """Think times by (client, cycle), int64 (clients, cycles).

        As many cycles as requests, but at most ``max(64, 2**22 // clients)``: then they repeat.
        A longer table begins with the shorter one.  Exponential times are at least 1 ns.
        """
        cycles = min(requests, max(64, 2**22 // self.clients))
        if self.constant or self.think_ns == 0:
            return np.full((self.clients, cycles), self.think_ns, dtype=np.int64)
        drawn = rng.standard_exponential((cycles, self.clients))
        table = np.maximum(np.rint(drawn * self.think_ns), 1.0).astype(np.int64)
        return np.ascontiguousarray(table.T)


def check_closed(arrivals: object, capacity: int) -> None:
    """Refuse a closed loop without think time before a bounded queue.

    A refused client would send its next request at the same instant, again and again.

    Args:
        arrivals: any process; only :class:`Closed` is looked at.
        capacity: how many may wait (or be in the system); NEVER without a limit.

    Raises:
        WorkloadError: think time 0 and a limit that the clients can reach.
    """
    if isinstance(arrivals, Closed) and arrivals.think_ns == 0 and capacity != NEVER:
        raise WorkloadError(
            f"a closed loop with think time 0 cannot have a bounded queue (capacity {capacity}):"
            " a refused client would ask again without end; give a think time above 0 or no"
            " capacity"
        )
