"""A drawn workload: who arrives when, how long each request is, and how patient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray, Tier

NO_TIMES: IntArray = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ClosedLoop:
    """Clients that send, wait for the answer, think, and send again.

    A client's first request arrives after its first think time.  A refused or expired client thinks
    first, too.
    Ids are given by (arrival time, client).
    """

    think_ns: IntArray
    """int64 (clients, cycles): the think time before a client's k-th request; repeats after the
    last column.
    """


@dataclass(frozen=True)
class Workload:
    """One realisation of a workload; request ids are indices, in order of arrival."""

    length: NDArray[np.int32]
    """int32 (N,)."""
    arrival_ns: IntArray = field(default_factory=lambda: NO_TIMES)
    """int64 (N,), not decreasing; empty in a closed loop, whose drivers find the arrivals."""
    tier: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    """int8 (N,); empty: every request is of tier 0."""
    timeout_ns: IntArray = field(default_factory=lambda: NO_TIMES)
    """int64 (N,) patience from arrival to start, positive, NEVER without limit; empty: nobody gives
    up.
    """
    closed: ClosedLoop | None = None
    tiers: tuple[Tier, ...] = (Tier("all"),)
    length_unit: str = "tokens"

    def __len__(self) -> int:
        return int(self.length.shape[0])
