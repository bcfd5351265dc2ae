"""Strict priority: the most urgent tier that is ready goes."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NEVER, IntArray, Tier, View, fire, wait_until
from .parameters import NO_VALUES, one_per_lane, whole_boundaries
from .space import Buckets, Size, Space, Time
from .tier_lanes import first_due_ns, ready_of_tier, sizes_within, tier_lane


class Priority(NamedTuple):
    """Serve the most urgent tier that is ready; a batch holds one tier, and it is not interrupted.

    A tier is ready when ``max_batch_size`` of it wait, or when its oldest request has waited
    ``max_wait_ns``; each is one value for every tier, or one for each.  With ``boundaries`` every
    tier has a lane for each length bucket, ready by itself: of a tier's ready buckets the one whose
    oldest request arrived first goes.

    One by one with Poisson arrivals, mean waits are those of Cobham (Operations Research 2, 1954),
    see ``sim.theory.priority_waits``.  A less urgent tier may wait forever.
    """

    max_batch_size: IntArray = NO_VALUES
    """int64 (tiers,); one value stands for all, none for the profile's largest batch."""
    max_wait_ns: IntArray = NO_VALUES
    """int64 (tiers,); one value stands for all, none for 0."""
    boundaries: IntArray = NO_VALUES
    """int64 (buckets - 1,), increasing, in the unit of the profile's lengths."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Size("max_batch_size", tiers=True),
            Time("max_wait_ms", zero=True, tiers=True),
            Buckets("boundaries"),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Priority:
        """Check the parameters against the profile's largest batch and the tiers."""
        count, largest = len(tiers), service_ns.shape[0]
        return Priority(
            max_batch_size=one_per_lane(
                "max_batch_size", self.max_batch_size, count, 1, largest, largest, "tier"
            ),
            max_wait_ns=one_per_lane("max_wait_ns", self.max_wait_ns, count, 0, NEVER, 0, "tier"),
            boundaries=whole_boundaries(self.boundaries),
        )

    def within_memory(self, length: IntArray, most: IntArray) -> Priority:
        """Sizes that fit whatever the lengths."""
        return self._replace(max_batch_size=sizes_within(self.max_batch_size, most))

    def lanes(self) -> int:
        """One for each tier and bucket; tiers are known once it is bound."""
        return len(self.max_batch_size) * (len(self.boundaries) + 1)

    def lane_of(self, length: int, tier: int) -> int:
        """The lane of tier and bucket."""
        return tier_lane(self.boundaries, length, tier)

    def decide(self, view: View) -> int:
        """Fire the most urgent tier that is ready, or wait for the first timer."""
        buckets = self.boundaries.shape[0] + 1
        for tier in range(self.max_batch_size.shape[0]):
            most = self.max_batch_size[tier]
            lane = ready_of_tier(view, tier, buckets, most, self.max_wait_ns[tier])
            if lane >= 0:
                return fire(view, lane, min(view.waiting[lane], most))
        return wait_until(first_due_ns(view, buckets, self.max_wait_ns))
