"""Urgency that grows with the wait, faster for the more urgent tiers: nobody starves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .contract import NEVER, FloatArray, IntArray, Tier, View, fire, wait_until
from .parameters import NO_NUMBERS, NO_VALUES, one_per_lane, positive_per_tier, whole_boundaries
from .space import Buckets, Real, Size, Space, Time
from .tier_lanes import first_due_ns, is_ready, sizes_within, tier_lane


class Ageing(NamedTuple):
    """Serve the tier whose oldest request has the most urgency: its wait times the tier's rate.

    The delay dependent priorities of Kleinrock (Naval Research Logistics Quarterly 11, 1964), also
    called accumulating priorities.  With equal rates requests are served first come, first served;
    the further apart the rates are, the nearer it is to strict priority.  A request that has waited
    for a time ``w`` is only passed over for a tier with ``k`` times its rate while requests of that
    tier have waited ``w / k`` or more: so it is served, however many of them arrive, unless their
    own wait grows as fast.  A backlog that is there from the start ages without end, and in time
    goes first: it needs ``headroom`` or ``weighted_fair``.  One by one with Poisson arrivals, mean
    waits are ``sim.theory.ageing_waits``.

    A tier is ready as in ``priority``: ``max_batch_size`` of it wait, or its oldest request has
    waited ``max_wait_ns``; a batch holds one tier, and with ``boundaries`` one length bucket of it.
    Of equals the more urgent tier goes, then the shorter bucket.
    """

    rates: FloatArray = NO_NUMBERS
    """float64 (tiers,), above 0: how fast urgency grows.  None stand for 1, 1/2, 1/4, ...: a
    request of the next tier is as urgent once it has waited twice as long."""
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
            Real("rates", 0.001, 1.0, log=True, tiers=True),
            Size("max_batch_size", tiers=True),
            Time("max_wait_ms", zero=True, tiers=True),
            Buckets("boundaries"),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Ageing:
        """Check the parameters against the profile's largest batch and the tiers."""
        count, largest = len(tiers), service_ns.shape[0]
        halves: FloatArray = np.exp2(-np.arange(count, dtype=np.float64))
        return Ageing(
            rates=positive_per_tier("rates", self.rates, halves),
            max_batch_size=one_per_lane(
                "max_batch_size", self.max_batch_size, count, 1, largest, largest, "tier"
            ),
            max_wait_ns=one_per_lane("max_wait_ns", self.max_wait_ns, count, 0, NEVER, 0, "tier"),
            boundaries=whole_boundaries(self.boundaries),
        )

    def within_memory(self, length: IntArray, most: IntArray) -> Ageing:
        """Sizes that fit whatever the lengths."""
        return self._replace(max_batch_size=sizes_within(self.max_batch_size, most))

    def lanes(self) -> int:
        """One for each tier and bucket; tiers are known once it is bound."""
        return len(self.max_batch_size) * (len(self.boundaries) + 1)

    def lane_of(self, length: int, tier: int) -> int:
        """The lane of tier and bucket."""
        return tier_lane(self.boundaries, length, tier)

    def decide(self, view: View) -> int:
        """Fire the ready lane whose oldest request is the most urgent, or wait for a timer."""
        buckets = self.boundaries.shape[0] + 1
        chosen = -1
        greatest = 0.0
        for lane in range(view.waiting.shape[0]):
            tier = lane // buckets
            if is_ready(view, lane, self.max_batch_size[tier], self.max_wait_ns[tier]):
                urgency = (view.now_ns - view.oldest_ns[lane]) * self.rates[tier]
                if chosen < 0 or urgency > greatest:
                    chosen = lane
                    greatest = urgency
        if chosen < 0:
            return wait_until(first_due_ns(view, buckets, self.max_wait_ns))
        most = self.max_batch_size[chosen // buckets]
        return fire(view, chosen, min(view.waiting[chosen], most))
