"""Stages of CPU workers before and after the GPU: what they take, and when each request was there.

1. A stage is a FIFO queue in front of identical workers; a worker serves one request at a time.
2. A request's time in a stage is ``(base + per length x length) x factor``, rounded half to even,
   at least 1 ns.  Factors are drawn in advance by request id, so that every driver and every policy
   sees the same luck; after the last one they start again.
3. Everybody goes through pre-processing, then into the GPU's queue, where the capacity counts and
   the longest length is looked at.  Only those that the GPU served go on to post-processing.
4. Patience counts from the arrival.  Who runs out of it in pre-processing is found expired at the
   moment of reaching the GPU's queue: those workers' time is spent, and no lane ever had it.
5. Ties: requests that reach a queue at the same instant are in it in the order of their ids.

A policy sees the GPU's queue alone: a request's ``arrival_ns`` in its view is the instant at which
it got there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

from .errors import require

PRE, POST = "pre-processing", "post-processing"
"""What the two stages are called."""


@dataclass(frozen=True)
class Stage:
    """Identical CPU workers on one FIFO queue."""

    workers: int
    base_ns: float
    per_length_ns: float = 0.0
    factors: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, dtype=np.float32))
    """float32 (draws,), of mean 1, at least one."""

    def usual_ns(self, length: NDArray[Any]) -> FloatArray:
        """float64 (N,): the time of requests of these lengths, without noise."""
        return np.asarray(self.base_ns + self.per_length_ns * length.astype(np.float64))

    def service_ns(self, length: NDArray[Any]) -> IntArray:
        """int64 (N,): the time of each request, in the order of their ids."""
        factors = np.resize(self.factors, len(length)).astype(np.float64)
        return np.maximum(np.rint(self.usual_ns(length) * factors), 1.0).astype(np.int64)


@dataclass(frozen=True)
class Stages:
    """What stands before the GPU's queue, and what stands behind the GPU; at least one of them."""

    pre: Stage | None = None
    post: Stage | None = None


def open_stages(stages: Stages | None, closed: bool) -> Stages:
    """The stages of an open workload.

    Raises:
        WorkloadError: in a closed loop.
    """
    assert stages is not None, "only services with stages have them"
    require(not closed, "open arrivals, no closed loop, where there are CPU stages", closed=closed)
    return stages


class StageTimes(NamedTuple):
    """When each of N requests was where; -1 where it never came."""

    pre_start_ns: IntArray
    """int64 (N,): a worker takes it up; its arrival where there is no pre-processing"""
    queued_ns: IntArray
    """int64 (N,): it reaches the GPU's queue"""
    post_start_ns: IntArray
    """int64 (N,): a worker takes it up; the end of its batch where there is no post-processing"""
    pre_workers: int
    """0: there is no such stage"""
    post_workers: int

    @classmethod
    def of(
        cls, stages: Stages, start_ns: IntArray, queued_ns: IntArray, post_start_ns: IntArray
    ) -> StageTimes:
        """The columns, and how many workers there were."""
        workers = (0 if one is None else one.workers for one in (stages.pre, stages.post))
        return cls(start_ns, queued_ns, post_start_ns, *workers)

    def equals(self, other: StageTimes) -> bool:
        """Whether every column and every number is the same."""
        workers = (self.pre_workers, self.post_workers)
        return workers == (other.pre_workers, other.post_workers) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in STAGE_COLUMNS
        )


STAGE_COLUMNS: dict[str, type[np.signedinteger[Any]]] = {
    "pre_start_ns": np.int64,
    "queued_ns": np.int64,
    "post_start_ns": np.int64,
}
"""Columns per request of :class:`StageTimes`, with their dtypes."""
