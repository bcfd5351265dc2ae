"""Shortest request first, until a request has waited too long."""

from __future__ import annotations

from typing import NamedTuple

from .contract import FIRE, IntArray, Tier, View, later, oldest_lane, wait_until
from .nearest_lengths import equal_lane
from .parameters import largest_or, within
from .space import Size, Space, Time, Whole


class ShortestFirst(NamedTuple):
    """Serve the shortest requests first, but before them one that has waited too long.

    The queue is many narrow lanes of equal width in length (inside one, first come, first served).
    A batch takes the shortest lane, then the next longer ones, up to ``max_batch_size``.  Once the
    oldest request of all has waited ``max_age_ns`` its lane goes, filled up with shorter requests,
    the nearest in length first: they cost no padding.  So nobody starves, and ``max_age_ms = 0``
    is the oldest first.  With ``max_wait_ns`` the oldest request waits that long for a full batch.

    Shortest first has the least mean wait of all orders (Schrage and Miller, Operations Research
    14, 1966, for service one by one), at the cost of the long requests.  Tiers do not
    matter; a backlog that is there from the start would soon have aged, and go first.
    """

    max_age_ns: int
    max_batch_size: int = 0
    max_wait_ns: int = 0
    length_lanes: int = 32
    """Number of lanes; 32 over the profile's lengths waste at most 3 % of the longest inside one.
    """
    longest: int = 1
    """Longest length of the profile, from ``bind``."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Time("max_age_ms", zero=True),
            Size("max_batch_size"),
            Time("max_wait_ms", zero=True),
            Whole("length_lanes", 4, 64),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> ShortestFirst:
        """Check the parameters and take the profile's longest length."""
        within("max_age_ns", self.max_age_ns, 0)
        within("max_wait_ns", self.max_wait_ns, 0)
        within("length_lanes", self.length_lanes, 1, 4096)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            longest=max(1, int(length_edges[-1])),
        )

    def lanes(self) -> int:
        """As many as asked for."""
        return self.length_lanes

    def lane_of(self, length: int, tier: int) -> int:
        """Lane ``i`` holds the lengths in ``(i, i + 1] * longest / length_lanes``."""
        return equal_lane(length, self.length_lanes, self.longest)

    def decide(self, view: View) -> int:
        """Fire from the shortest lane upwards, or from an aged one downwards."""
        lanes = view.waiting.shape[0]
        oldest = oldest_lane(view)
        due_ns = later(view.oldest_ns[oldest], self.max_wait_ns)
        if view.now_ns < due_ns and view.waiting.sum() < self.max_batch_size:
            return wait_until(due_ns)
        room = self.max_batch_size
        aged = view.now_ns >= later(view.oldest_ns[oldest], self.max_age_ns)
        for place in range(oldest + 1 if aged else lanes):
            lane = oldest - place if aged else place
            view.take[lane] = min(view.waiting[lane], room)
            room -= view.take[lane]
        return FIRE
