"""Replicas that come and go: the states they are in, and what a trace says of it.

How a replica changes, in every driver; at one instant in this order, replica by replica:

1. One that was starting, or that had failed and is repaired, is ready.
2. One that fails drops what it has: the batches that run on its servers and, where it has a queue
   of its own, everybody who waits there.  They are lost, or they join again: the router chooses
   anew, in the order of (arrival, id), and each takes the place in its lane that its id gives it.
   A request that was in a batch once does not give up any more.
3. Then, at every tick, the autoscaler is asked.  More replicas: those that were leaving stay, in
   order, then the first ones that are off start, which takes the cold start.  Fewer: the last ones
   that are starting are off, then the last ones that are ready leave: they take no more requests,
   finish what they have, and are off at the first tick that finds them idle.

While no replica is ready, routers choose among those that will be; their queues wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, IntArray
from policies.scaling import ScaleView

OFF, STARTING, READY, LEAVING, DOWN = range(5)
"""States of a replica."""


class FixedSize(NamedTuple):
    """The autoscaler where there is none."""

    interval_ns: int = NEVER
    min_replicas: int = 0
    max_replicas: int = 0

    @property
    def memory_slots(self) -> int:
        """None."""
        return 0

    def target(self, view: ScaleView) -> int:
        """As many as there are."""
        return view.ready


class Unchanging(NamedTuple):
    """What stands for the autoscaler in compiled code where replicas neither fail nor scale."""


@dataclass(frozen=True, eq=False)
class Changes:
    """What a trace says of replicas that changed; M batches, C instants of change."""

    failed: NDArray[np.bool_]
    """bool (M,): batches that ended because their replica failed; nobody was served by them."""
    replicas: IntArray
    """int64 (C, 3): instant in ns, replicas that are ready from then on, and that are starting;
    the first row is of instant 0."""

    def equals(self, other: Changes) -> bool:
        """Whether everything is the same."""
        return np.array_equal(self.failed, other.failed) and np.array_equal(
            self.replicas, other.replicas
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the ids of the batches that failed."""
        return {
            "failed": np.flatnonzero(self.failed).tolist(),
            "replicas": self.replicas.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], batches: int) -> Changes:
        """Read back what :meth:`to_dict` gave, for a trace of so many batches."""
        failed = np.zeros(batches, dtype=np.bool_)
        failed[np.array(data["failed"], dtype=np.int64)] = True
        return cls(failed, np.array(data["replicas"], dtype=np.int64).reshape(-1, 3))


__all__ = [
    "DOWN",
    "LEAVING",
    "OFF",
    "READY",
    "STARTING",
    "Changes",
    "FixedSize",
    "Unchanging",
]
