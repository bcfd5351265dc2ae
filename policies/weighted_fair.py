"""Shares of the servers' time by weight: start-time fair queueing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .contract import NEVER, FloatArray, IntArray, Tier, View, fire, shared, wait_until
from .parameters import NO_NUMBERS, NO_VALUES, one_per_lane, positive_per_tier, whole_boundaries
from .space import Buckets, Real, Size, Space, Time
from .tier_lanes import first_due_ns, ready_of_tier, sizes_within, tier_lane


class WeightedFair(NamedTuple):
    """Give each tier that waits its share of the servers' time, by weight; none idles for another.

    This is start-time fair queueing (Goyal, Vin and Cheng, IEEE/ACM Transactions on Networking 5,
    1997) of batches; like all fair queueing it approximates the bit-by-bit round robin of Demers,
    Keshav and Shenker (1989), and unlike that of Golestani (1994) it need not know the time of a
    batch before it has run.  Every tier has a clock that a batch of it puts forward by its time
    over the tier's weight; the ready tier with the earliest clock goes, the more urgent on a tie.
    A clock that is behind the start of the latest batch is put there first: who had nothing to do
    saves up no claim.

    With one server, two tiers that both always wait never differ by more than the longest batch of
    each over its weight, ``|W_i / w_i - W_j / w_j| <= b_i / w_i + b_j / w_j`` (Theorem 1 there;
    ``W`` is the servers' time they had).  With several servers, batches that run count with the
    time that the profile says, until they end.

    A tier is ready as in ``priority``: ``max_batch_size`` of it wait, or its oldest request has
    waited ``max_wait_ns``; a batch holds one tier, and with ``boundaries`` one length bucket of it,
    the one whose oldest request arrived first.
    """

    weights: FloatArray = NO_NUMBERS
    """float64 (tiers,), above 0; none for equal shares.  Bound, the largest is 1."""
    max_batch_size: IntArray = NO_VALUES
    """int64 (tiers,); one value stands for all, none for the profile's largest batch."""
    max_wait_ns: IntArray = NO_VALUES
    """int64 (tiers,); one value stands for all, none for 0."""
    boundaries: IntArray = NO_VALUES
    """int64 (buckets - 1,), increasing, in the unit of the profile's lengths."""
    servers: int = 1
    """How many share the queue, from ``bind``."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Real("weights", 0.01, 1.0, log=True, tiers=True),
            Size("max_batch_size", tiers=True),
            Time("max_wait_ms", zero=True, tiers=True),
            Buckets("boundaries"),
        )

    @property
    def memory_slots(self) -> int:
        """The clocks of the tiers, the start of the latest batch, and the tier on each server."""
        return len(self.weights) + 1 + self.servers

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> WeightedFair:
        """Check the parameters against the profile's largest batch and the tiers."""
        count, largest = len(tiers), service_ns.shape[0]
        weights = positive_per_tier("weights", self.weights, np.ones(count))
        return WeightedFair(
            weights=weights / weights.max(),
            max_batch_size=one_per_lane(
                "max_batch_size", self.max_batch_size, count, 1, largest, largest, "tier"
            ),
            max_wait_ns=one_per_lane("max_wait_ns", self.max_wait_ns, count, 0, NEVER, 0, "tier"),
            boundaries=whole_boundaries(self.boundaries),
            servers=servers,
        )

    def within_memory(self, length: IntArray, most: IntArray) -> WeightedFair:
        """Sizes that fit whatever the lengths."""
        return self._replace(max_batch_size=sizes_within(self.max_batch_size, most))

    def lanes(self) -> int:
        """One for each tier and bucket; tiers are known once it is bound."""
        return len(self.max_batch_size) * (len(self.boundaries) + 1)

    def lane_of(self, length: int, tier: int) -> int:
        """The lane of tier and bucket."""
        return tier_lane(self.boundaries, length, tier)

    def observe(self, view: View) -> None:
        """Put the clock of the batch's tier forward, and count all clocks from the latest start."""
        tiers = self.weights.shape[0]
        cell = tiers + 1 + view.server
        tier = int(view.memory[cell]) - 1
        view.memory[cell] = 0.0
        if tier >= 0:
            view.memory[tier] += virtual_ns(view.finished_service_ns, self.weights[tier])
        latest = view.memory[tiers]
        for other in range(tiers):
            start = start_of(view, self.weights, other)
            # Written so that clocks stay small and whole: floats then add up exactly.
            view.memory[other] = start - running_of(view, self.weights, other) - latest
        view.memory[tiers] = 0.0

    def decide(self, view: View) -> int:
        """Fire the ready tier with the earliest clock, or wait for the first timer."""
        tiers = self.weights.shape[0]
        buckets = self.boundaries.shape[0] + 1
        chosen = -1
        earliest = 0.0
        for tier in range(tiers):
            lane = ready_of_tier(
                view, tier, buckets, self.max_batch_size[tier], self.max_wait_ns[tier]
            )
            if lane >= 0:
                start = start_of(view, self.weights, tier)
                if chosen < 0 or start < earliest:
                    chosen = lane
                    earliest = start
        if chosen < 0:
            return wait_until(first_due_ns(view, buckets, self.max_wait_ns))
        tier = chosen // buckets
        # Asked again it comes to the same: no ready tier's clock is before the one that was chosen.
        view.memory[tier] = earliest - running_of(view, self.weights, tier)
        view.memory[tiers] = earliest
        view.memory[tiers + 1 + view.server] = tier + 1
        return fire(view, chosen, min(view.waiting[chosen], self.max_batch_size[tier]))


@shared
def virtual_ns(time_ns: int, weight: float) -> float:
    """How far a batch puts its tier's clock forward: whole, so that clocks add up exactly."""
    return float(np.rint(time_ns / weight))


@shared
def running_of(view: View, weights: FloatArray, tier: int) -> float:
    """How far the batches of a tier that run now are expected to put its clock forward."""
    total = 0.0
    for server in range(view.servers):
        busy = view.busy_since_ns[server] >= 0
        if busy and view.memory[weights.shape[0] + 1 + server] == tier + 1:
            time_ns = view.expected_finish_ns[server] - view.busy_since_ns[server]
            total += virtual_ns(time_ns, weights[tier])
    return total


@shared
def start_of(view: View, weights: FloatArray, tier: int) -> float:
    """What a tier's clock says if a batch of it starts now; no less than at the latest start."""
    clock = view.memory[tier] + running_of(view, weights, tier)
    return float(max(clock, view.memory[weights.shape[0]]))
