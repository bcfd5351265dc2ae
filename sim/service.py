"""The service side of a run: how long a batch takes, on how many servers, and who may wait.

Everything random was drawn before the run, so that every driver and every policy sees the same
luck: the k-th batch on a server uses the k-th draw of its stream (common random numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import (
    NEVER,
    FloatArray,
    IntArray,
    Policy,
    Tier,
    bind,
    expected_ns,
    shared,
    sheds,
)

from .changes import FixedSize
from .cluster import Cluster, alone
from .errors import WorkloadError
from .stages import Stages

SCORE_LIMIT = 4.0
"""Normal scores are clipped to +-4 before they index a quantile table (6e-5 of all draws)."""


@dataclass(frozen=True)
class Noise:
    """Factors on the interpolated service time, drawn in advance.

    ``draws`` are normal scores where there is a quantile table, and the factors themselves where
    there is none.  The stream of a server starts again after its last draw.
    """

    draws: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((1, 1, 0), dtype=np.float32)
    )
    """float32 (models, servers, draws); no draws: no noise."""
    quantiles: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    """float64 (classes, knots): the factor at equally spaced normal scores, -4 to +4."""
    class_of_size: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64 (largest batch + 1,): row of ``quantiles`` for each batch size."""


class Idling(NamedTuple):
    """What a batch costs more because its server was idle before: clocks fall, caches are lost.

    After an idle time t it is ``extra_ns x t / (t + half_ns)``, before noise.
    """

    extra_ns: float = 0.0
    """After a long idle time; 0: nothing ever."""
    half_ns: float = 1.0
    """The idle time that costs half of it."""

    def costs_ns(self, idle_ns: IntArray) -> FloatArray:
        """float64 (any,): :func:`idling_ns` of many idle times."""
        each = np.vectorize(idling_ns, otypes=[np.float64])
        found: FloatArray = each(self.extra_ns, self.half_ns, idle_ns)
        return found


@dataclass(frozen=True)
class Service:
    """What serves the queue: one model for all tiers, or one per tier.

    With one model per tier a mixed batch costs the largest of its tiers' times.
    """

    service_ns: IntArray
    """int64 (models, largest batch, edges): time without noise; 1 model, or one per tier."""
    length_edges: IntArray
    """int64 (edges,), increasing, in the unit of the workload's lengths."""
    servers: int = 1
    noise: Noise = field(default_factory=Noise)
    idling: Idling = Idling()
    """Policies are not told of it."""
    capacity: int = NEVER
    """Arrivals that find this many requests waiting (or in the system) are rejected."""
    capacity_counts_in_system: bool = False
    longest_admitted: int = NEVER
    """Longer requests are rejected on arrival (``over_length = "reject"``)."""
    tier_capacity: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64 (tiers,): arrivals of a tier that find this many of it waiting in their queue are
    rejected; empty: no limit of their own."""
    cluster: Cluster | None = None
    """How the servers stand together; None: they share one queue, each on a GPU of its own."""
    drifts: bool = False
    """Whether all times of a replication share a factor of its own, which is part of the noise:
    intervals then come from the differences between replications (:func:`sim.sections.cut`)."""
    stages: Stages | None = None
    """CPU workers before and after the servers; only in open workloads."""

    @property
    def largest_batch(self) -> int:
        """Largest batch size of the profile."""
        return int(self.service_ns.shape[1])

    def with_servers(self, servers: int) -> Service:
        """The same with the first so many servers."""
        cluster = None if self.cluster is None else self.cluster.first(servers)
        return replace(self, servers=servers, cluster=cluster)

    @cached_property
    def grouping(self) -> Cluster:
        """How the servers stand together."""
        return alone(self.servers) if self.cluster is None else self.cluster

    @cached_property
    def tables_ns(self) -> IntArray:
        """int64 (profiles, models, largest batch, edges): the times of every profile."""
        own = self.grouping.service_ns
        return own if own.size else self.service_ns[np.newaxis]

    @cached_property
    def size_classes(self) -> IntArray:
        """int64 (profiles, largest batch + 1): rows of the noise's quantile table."""
        own = self.grouping.class_of_size
        return own if own.size else np.tile(self.noise.class_of_size, (len(self.tables_ns), 1))

    def check_open(self, closed: bool, policy: Policy) -> None:
        """Refuse what cannot be in front of a closed loop, whose clients never stop arriving.

        Raises:
            WorkloadError: there is an autoscaler, or the policy sheds requests.
        """
        if closed and sheds(policy):
            raise WorkloadError(
                f"{type(policy).__name__} sheds requests, which needs open arrivals, not a closed "
                "loop of clients"
            )
        if closed and not isinstance(self.grouping.scaler, FixedSize):
            raise WorkloadError("an autoscaler needs open arrivals, not a closed loop of clients")

    def policies(self, policy: Policy, tiers: tuple[Tier, ...]) -> tuple[list[Policy], IntArray]:
        """A policy bound for each kind of queue: to its profile and its number of servers.

        Returns:
            The bound policies, and int64 (queues,), which of them each queue has.

        Raises:
            ValueError: a parameter of the policy is out of range.
        """
        group, kinds = self.grouping, []
        kind_of = np.zeros(group.queues, dtype=np.int64)
        for queue, (first, last) in enumerate(pairwise(group.bounds().tolist())):
            profile = int(group.profiles[first]) if group.own_queues else -1
            kind = (profile if len(group.profile_of) else -1, last - first)
            if kind not in kinds:
                kinds.append(kind)
            kind_of[queue] = kinds.index(kind)
        tables = [self.service_ns if p < 0 else self.tables_ns[p] for p, _ in kinds]
        bound = [
            bind(policy, table.max(axis=0), self.length_edges, tiers, servers)
            for table, (_, servers) in zip(tables, kinds, strict=True)
        ]
        return bound, kind_of


@shared
def noise_factor(
    draws: NDArray[np.float32],
    quantiles: FloatArray,
    class_of_size: IntArray,
    model: int,
    server: int,
    k: int,
    size: int,
) -> float:
    """Factor of the ``k``-th batch (from 0) on a server."""
    if draws.shape[2] == 0:
        return 1.0
    draw = float(draws[model, server, k % draws.shape[2]])
    if quantiles.shape[0] == 0:
        return draw
    knots = quantiles.shape[1]
    place = (
        (min(max(draw, -SCORE_LIMIT), SCORE_LIMIT) + SCORE_LIMIT)
        / (2.0 * SCORE_LIMIT)
        * (knots - 1)
    )
    left = min(int(place), knots - 2)
    row = class_of_size[size]
    low = quantiles[row, left]
    return float(low + (place - left) * (quantiles[row, left + 1] - low))


@shared
def idling_ns(extra_ns: float, half_ns: float, idle_ns: int) -> float:
    """What a batch costs more after an idle time, see :class:`Idling`."""
    return extra_ns * (idle_ns / (idle_ns + half_ns))


@shared
def drawn_ns(expected: float, factor: float) -> int:
    """Service time with noise: rounded half to even, at least 1 ns."""
    return max(1, int(np.rint(expected * factor)))


__all__ = [
    "SCORE_LIMIT",
    "Idling",
    "Noise",
    "Service",
    "drawn_ns",
    "expected_ns",
    "idling_ns",
    "noise_factor",
]
