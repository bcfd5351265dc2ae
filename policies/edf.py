"""Earliest deadline first: arrival plus the objective of the tier."""

from __future__ import annotations

from typing import NamedTuple

from .contract import FIRE, NEVER, IntArray, Tier, View, later, shared, wait_until
from .parameters import (
    NO_VALUES,
    deadlines_of_tiers,
    largest_or,
    whole_array,
    whole_boundaries,
    within,
)
from .space import Buckets, Size, Space, Time
from .tier_lanes import bucket_ready_ns, tier_lane


class Edf(NamedTuple):
    """Serve requests in the order of their deadlines, whatever their tier: arrival plus its SLO.

    Liu and Layland (Journal of the ACM 20, 1973), without interrupting a batch.  A batch takes the
    ``max_batch_size`` earliest deadlines, and may hold several tiers; of equal deadlines the more
    urgent tier goes first.  It goes when that many wait, or when the oldest request has waited
    ``max_wait_ns``.  With ``boundaries`` a batch holds one length bucket; of the ready ones the one
    with the earliest deadline goes.

    ``slo_ms`` gives the objectives, one for each tier or one for all; none stands for those of the
    tiers.  A tier that has none is given ``default_slo_ms``, so that it does not wait forever; 0
    stands for ten times the loosest of the others.  A backlog that is always there has no deadline:
    it fills up what the others leave of a batch.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    slo_ns: IntArray = NO_VALUES
    """int64 (tiers,), or one value for all."""
    default_slo_ns: int = 0
    boundaries: IntArray = NO_VALUES
    """int64 (buckets - 1,), increasing, in the unit of the profile's lengths."""
    tier_slo_ns: IntArray = NO_VALUES
    """int64 (tiers,), from ``bind``."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_wait_ms", zero=True), Buckets("boundaries"))

    @property
    def memory_slots(self) -> int:
        """The next request of each lane while a batch is filled; nothing is remembered."""
        return self.lanes()

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Edf:
        """Check the parameters, and find the objective of each tier."""
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            slo_ns=whole_array("slo_ns", self.slo_ns),
            boundaries=whole_boundaries(self.boundaries),
            tier_slo_ns=deadlines_of_tiers(self.slo_ns, self.default_slo_ns, tiers),
        )

    def lanes(self) -> int:
        """One for each tier and bucket; tiers are known once it is bound."""
        return len(self.tier_slo_ns) * (len(self.boundaries) + 1)

    def lane_of(self, length: int, tier: int) -> int:
        """The lane of tier and bucket."""
        return tier_lane(self.boundaries, length, tier)

    def decide(self, view: View) -> int:
        """Fire the bucket with the earliest deadline of those that are ready."""
        buckets = self.boundaries.shape[0] + 1
        chosen = -1
        earliest_ns = NEVER
        asks_ns = NEVER
        for lane in range(view.waiting.shape[0]):
            view.memory[lane] = view.head[lane]
        for bucket in range(buckets):
            lane = earliest_lane(view, bucket, buckets, self.tier_slo_ns)
            if lane < 0:
                continue
            ready_ns = bucket_ready_ns(view, bucket, buckets, self.max_batch_size, self.max_wait_ns)
            deadline_ns = later(view.oldest_ns[lane], self.tier_slo_ns[lane // buckets])
            if ready_ns > view.now_ns:
                asks_ns = min(asks_ns, ready_ns)
            elif chosen < 0 or deadline_ns < earliest_ns:
                chosen = bucket
                earliest_ns = deadline_ns
        if chosen < 0:
            return wait_until(asks_ns)
        for _ in range(self.max_batch_size):
            lane = earliest_lane(view, chosen, buckets, self.tier_slo_ns)
            if lane < 0:
                break
            view.take[lane] += 1
            view.memory[lane] = view.next[int(view.memory[lane])]
        return FIRE


@shared
def earliest_lane(view: View, bucket: int, buckets: int, slo_ns: IntArray) -> int:
    """Lane of a bucket whose next request, in ``view.memory``, has the earliest deadline; or -1."""
    best = -1
    earliest_ns = NEVER
    for lane in range(bucket, view.waiting.shape[0], buckets):
        request = int(view.memory[lane])
        if request >= 0:
            deadline_ns = later(view.arrival_ns[request], slo_ns[lane // buckets])
            if best < 0 or deadline_ns < earliest_ns:
                best = lane
                earliest_ns = deadline_ns
    return best
