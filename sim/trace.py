"""The one result type of every driver: what happened to each request and in each batch, in int64
nanoseconds.

Everything else (waits, padding, queue depth, utilisation) is derived in :mod:`sim.metrics`, from
simulated and
live traces by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray, Tier

SERVED, REJECTED, EXPIRED, UNFINISHED = 0, 1, 2, 3
"""Values of ``Trace.status``.  UNFINISHED still waits when no event remains."""


@dataclass(frozen=True)
class Trace:
    """Requests are in order of arrival; batches in order of (start, firing).  N requests, M
    batches.
    """

    arrival_ns: IntArray
    """int64 (N,)"""
    length: NDArray[np.int32]
    """int32 (N,)"""
    tier: NDArray[np.int8]
    """int8 (N,)"""
    lane: NDArray[np.int16]
    """int16 (N,); -1 where the request was rejected"""
    start_ns: IntArray
    """int64 (N,): start of its batch; -1 where there is none"""
    finish_ns: IntArray
    """int64 (N,): end of its batch; of an expired request the instant it gave up; else -1"""
    batch: NDArray[np.int32]
    """int32 (N,): index of its batch, or -1"""
    server: NDArray[np.int16]
    """int16 (N,): server of its batch, or -1"""
    status: NDArray[np.int8]
    """int8 (N,)"""

    batch_start_ns: IntArray
    """int64 (M,)"""
    batch_finish_ns: IntArray
    """int64 (M,)"""
    batch_size: NDArray[np.int32]
    """int32 (M,)"""
    batch_longest: NDArray[np.int32]
    """int32 (M,): longest length in the batch"""
    batch_lane: NDArray[np.int16]
    """int16 (M,): its lane, or -1 where the batch is mixed"""
    batch_server: NDArray[np.int16]
    """int16 (M,)"""

    servers: int
    tiers: tuple[Tier, ...] = (Tier("all"),)
    length_unit: str = "tokens"

    def __len__(self) -> int:
        return int(self.arrival_ns.shape[0])
