"""Routers: which replica an arrival joins.  The contract is in :mod:`policies.routing`."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray
from .length_bucketed import bucket_of
from .parameters import NO_VALUES, require, whole_array
from .routing import (
    RouteView,
    count_available,
    least_of,
    less_loaded,
    nth_available,
    ongoing,
)


class RoundRobin(NamedTuple):
    """One replica after the other, whatever they have to do."""

    def route(self, view: RouteView, u: float) -> int:
        """The next one in turn of those that take requests."""
        return nth_available(view, view.routed % count_available(view))


class AtRandom(NamedTuple):
    """Any replica with equal chance: what a balancer without knowledge does."""

    def route(self, view: RouteView, u: float) -> int:
        """One of those that take requests."""
        return nth_available(view, int(u * count_available(view)))


class LeastLoaded(NamedTuple):
    """The replica with the fewest ongoing requests for each of its servers."""

    def route(self, view: RouteView, u: float) -> int:
        """The least loaded one; among equals one that ``u`` chooses."""
        return least_of(view, 0, view.available.shape[0], u)


class PowerOfTwo(NamedTuple):
    """The less loaded of two replicas that are drawn at random (Ray Serve's default).

    Source: Mitzenmacher, The power of two choices in randomized load balancing, IEEE Transactions
    on Parallel and Distributed Systems 12 (2001); Ray Serve's request router.
    """

    def route(self, view: RouteView, u: float) -> int:
        """Two different ones, each pair equally likely; the first wins a tie."""
        count = count_available(view)
        if count == 1:
            return nth_available(view, 0)
        pair = int(u * (count * (count - 1)))
        first = pair // (count - 1)
        second = pair % (count - 1)
        if second >= first:
            second += 1
        one = nth_available(view, first)
        other = nth_available(view, second)
        return other if less_loaded(view, other, one) else one


class LengthAffinity(NamedTuple):
    """Replicas by length: each group of them gets one bucket of lengths, the least loaded first.

    The replicas are divided into as many groups of neighbours as there are buckets, as equal as
    can be.  So a batch holds similar lengths without any wait for them.  Where nobody of the group
    takes requests the least loaded of all replicas does.
    """

    boundaries: IntArray = NO_VALUES
    """int64 (groups - 1,), increasing: lengths up to and including the first go to group 0."""
    spill: int = 0
    """A request leaves its group where all replicas of the group have this many ongoing requests
    more for each server than the least loaded of all; 0: never."""

    def bind(self, replicas: int) -> LengthAffinity:
        """Check the boundaries, and that every group has a replica."""
        boundaries = whole_array("boundaries", self.boundaries)
        require(
            bool((boundaries >= 1).all() and (boundaries[1:] > boundaries[:-1]).all()),
            "boundaries are positive and increasing",
            boundaries=boundaries.tolist(),
        )
        require(
            boundaries.size < replicas,
            f"fewer boundaries than replicas ({replicas}): every bucket needs one of its own",
            boundaries=boundaries.tolist(),
        )
        require(self.spill >= 0, "spill >= 0", spill=self.spill)
        return self._replace(boundaries=boundaries, spill=int(self.spill))

    def route(self, view: RouteView, u: float) -> int:
        """The least loaded of the group of the length."""
        replicas = view.available.shape[0]
        groups = self.boundaries.shape[0] + 1
        group = bucket_of(self.boundaries, view.length)
        first = group * replicas // groups
        last = (group + 1) * replicas // groups
        own = least_of(view, first, last, u)
        if own >= 0 and self.spill == 0:
            return own
        other = least_of(view, 0, replicas, u)
        if own < 0:
            return other
        least = ongoing(view, other) // view.servers[other]
        full = ongoing(view, own) // view.servers[own] >= least + self.spill
        return other if full else own


ROUTERS: dict[str, type] = {
    "round_robin": RoundRobin,
    "random": AtRandom,
    "least_loaded": LeastLoaded,
    "power_of_two": PowerOfTwo,
    "length_affinity": LengthAffinity,
}
"""The ``router`` of a scenario file by its name; a class's first line describes it."""
