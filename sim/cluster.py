"""How the servers of a service stand together: replicas, their queues, and the GPUs below them.

1. A replica has one or more servers next to each other.  Either every replica has a queue of its
   own behind a router, or all share one queue.
2. Servers on one GPU slow each other down: a batch takes ``slowdown[k]`` times as long where k
   batches run on its GPU at its start, itself included.  What starts or ends while it runs does not
   change it: one who starts alone and is joined gains what the other loses.
3. Replicas may have different profiles.  Rules that stand before one replica know its profile;
   where different ones share a queue, rules know their harmonic mean, as the cluster's rate is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, FloatArray, IntArray
from policies.routing import RouteView, bind_router

from .changes import FixedSize


class OnlyQueue(NamedTuple):
    """The router where there is nothing to choose."""

    def route(self, view: RouteView, u: float) -> int:
        """The one queue."""
        return 0


def _none(*shape: int) -> Any:
    return field(default_factory=lambda: np.zeros(shape, dtype=np.int64))


@dataclass(frozen=True)
class Cluster:
    """See the module's rules; S servers, R replicas."""

    replica_of: IntArray
    """int64 (S,): 0 to R - 1, not decreasing."""
    own_queues: bool = False
    """Whether every replica has a queue of its own."""
    router: Any = OnlyQueue()
    """Bound; asked only where there is more than one queue."""
    route_u: FloatArray = field(default_factory=lambda: np.zeros(1))
    """float64 (any,), in [0, 1): that of request i is ``route_u[i % len(route_u)]``."""
    gpu_of: IntArray = _none(0)
    """int64 (S,): the GPU of each server; empty: each has one of its own."""
    slowdown: FloatArray = field(default_factory=lambda: np.ones(2))
    """float64 (most on one GPU + 1,): see rule 2; the first two are 1."""
    profile_of: IntArray = _none(0)
    """int64 (R,): the profile of each replica; empty: all have that of the service."""
    service_ns: IntArray = _none(0, 0, 0, 0)
    """int64 (profiles, models, largest batch, edges); empty: that of the service alone."""
    class_of_size: IntArray = _none(0, 0)
    """int64 (profiles, largest batch + 1): rows of the noise's quantile table."""

    outages_ns: IntArray = _none(0, 0, 2)
    """int64 (R, outages, 2): when each replica fails and is repaired, in order; NEVER behind the
    last.  Empty: nobody fails."""
    loses: bool = False
    """Whether what a failed replica had is lost; otherwise it joins again."""
    scaler: Any = FixedSize()
    """Bound."""
    cold_start_ns: int = 0
    """From the start of a replica to its first batch."""
    initial: int = NEVER
    """The first so many replicas are ready at the start, the others are off."""

    def __post_init__(self) -> None:
        assert (np.diff(self.replica_of, prepend=0) >= 0).all(), "replicas stand in order"

    @property
    def servers(self) -> int:
        """How many there are."""
        return len(self.replica_of)

    @property
    def replicas(self) -> int:
        """How many there are."""
        return int(self.replica_of[-1]) + 1

    @property
    def queues(self) -> int:
        """How many there are."""
        return self.replicas if self.own_queues else 1

    @cached_property
    def queue_of(self) -> IntArray:
        """int64 (S,): the queue of each server."""
        return self.replica_of if self.own_queues else np.zeros_like(self.replica_of)

    @cached_property
    def gpus(self) -> IntArray:
        """int64 (S,): the GPU of each server."""
        return self.gpu_of if len(self.gpu_of) else np.arange(self.servers)

    @cached_property
    def profiles(self) -> IntArray:
        """int64 (S,): the profile of each server."""
        if len(self.profile_of) == 0:
            return np.zeros(self.servers, dtype=np.int64)
        each: IntArray = self.profile_of[self.replica_of]
        return each

    @property
    def speed(self) -> float:
        """How many servers without neighbours could do as much: those on one GPU share it."""
        there = np.bincount(self.gpus)
        pace = np.arange(len(self.slowdown)) / self.slowdown
        return float(sum(pace[: count + 1].max() for count in there))

    def first(self, servers: int) -> Cluster:
        """The cluster of the first so many servers.

        Raises:
            ValueError: the router needs more replicas.
        """
        replica_of = self.replica_of[:servers]
        replicas = int(replica_of[-1]) + 1
        own = self.own_queues and replicas > 1
        return replace(
            self,
            replica_of=replica_of,
            own_queues=own,
            router=bind_router(self.router, replicas) if own else OnlyQueue(),
            gpu_of=self.gpu_of[:servers],
            profile_of=self.profile_of[:replicas],
            outages_ns=self.outages_ns[:replicas],
        )

    @property
    def changes(self) -> bool:
        """Whether replicas come or go."""
        return bool(self.outages_ns.size) or not isinstance(self.scaler, FixedSize)

    def steady(self) -> Cluster:
        """The same with all replicas always there."""
        return replace(
            self,
            outages_ns=np.zeros((0, 0, 2), dtype=np.int64),
            scaler=FixedSize(),
            initial=NEVER,
        )

    def bounds(self) -> NDArray[np.int64]:
        """int64 (queues + 1,): queue q has the servers from ``bounds[q]`` to ``bounds[q + 1]``."""
        return np.searchsorted(self.queue_of, np.arange(self.queues + 1)).astype(np.int64)


def alone(servers: int) -> Cluster:
    """Servers that share one queue, each on a GPU of its own."""
    return Cluster(np.arange(servers))
