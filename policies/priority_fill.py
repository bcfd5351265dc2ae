"""Priority levels as Triton has them: the most urgent first, the rest of the batch filled up."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NEVER, IntArray, Tier, View, shared, wait_until
from .parameters import NO_VALUES, largest_or, whole_boundaries, within
from .space import Buckets, Size, Space, Time
from .tier_lanes import bucket_ready_ns, fire_down, most_urgent_in_bucket, tier_lane


class PriorityFill(NamedTuple):
    """Fill a batch with the most urgent tier first, then with the next ones in their order.

    This is Triton's dynamic batcher with ``priority_levels`` for requests of one row
    (``GetDynamicBatch`` in ``dynamic_batch_scheduler.cc``, ``PriorityQueue`` in
    ``scheduler_utils.cc``; looked at in June 2026), level 1 being tier 0:

    - The batch goes when ``max_batch_size`` wait, of all levels together, or when the oldest
      request in it has waited ``max_wait_ns``, Triton's ``max_queue_delay_microseconds``.
    - The timer is one for all levels: the oldest of the batch may be of any of them.  As long as
      the batch is not full, everyone who waits is in it.

    Time-outs and queue limits of a level (``priority_queue_policy``) are those of the scenario's
    tiers.  With ``boundaries`` a batch holds one length bucket, of any tiers, and every bucket has
    a timer of its own; of the ready buckets the one with the most urgent tier goes, and of equals
    the one where that tier's oldest request arrived first.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    boundaries: IntArray = NO_VALUES
    """int64 (buckets - 1,), increasing, in the unit of the profile's lengths."""
    tiers: int = 1
    """Number of tiers, from ``bind``."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_wait_ms", zero=True), Buckets("boundaries"))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> PriorityFill:
        """Check the parameters and count the tiers."""
        return PriorityFill(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            max_wait_ns=within("max_wait_ns", self.max_wait_ns, 0),
            boundaries=whole_boundaries(self.boundaries),
            tiers=len(tiers),
        )

    def lanes(self) -> int:
        """One for each tier and bucket."""
        return self.tiers * (len(self.boundaries) + 1)

    def lane_of(self, length: int, tier: int) -> int:
        """The lane of tier and bucket."""
        return tier_lane(self.boundaries, length, tier)

    def decide(self, view: View) -> int:
        """Fire the bucket with the most urgent request of those that are ready."""
        buckets = self.boundaries.shape[0] + 1
        chosen = -1
        first_ns = NEVER
        for bucket in range(buckets):
            lane = most_urgent_in_bucket(view, bucket, buckets)
            if lane < 0:
                continue
            ready_ns = bucket_ready_ns(view, bucket, buckets, self.max_batch_size, self.max_wait_ns)
            if ready_ns > view.now_ns:
                first_ns = min(first_ns, ready_ns)
            elif chosen < 0 or goes_first(view, lane, chosen, buckets):
                chosen = lane
        if chosen < 0:
            return wait_until(first_ns)
        return fire_down(view, chosen, buckets, self.max_batch_size)


@shared
def goes_first(view: View, lane: int, other: int, buckets: int) -> bool:
    """Whether a lane is of a more urgent tier than another, or of the same with an older head."""
    tier, other_tier = lane // buckets, other // buckets
    if tier != other_tier:
        return tier < other_tier
    return bool(view.oldest_ns[lane] < view.oldest_ns[other])
