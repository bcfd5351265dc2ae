"""One queue per length bucket, so that short requests do not pay for long ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .contract import NEVER, IntArray, Tier, View, fire, later, shared, wait_until
from .parameters import NO_VALUES, one_per_lane, whole_array, whole_boundaries
from .space import Buckets, Size, Space, Time


@shared
def bucket_of(boundaries: IntArray, length: int) -> int:
    """Number of boundaries below a length: a boundary belongs to the bucket that it closes."""
    low = 0
    high = boundaries.shape[0]
    while low < high:
        middle = (low + high) // 2
        if boundaries[middle] < length:
            low = middle + 1
        else:
            high = middle
    return low


def largest_per_bucket(boundaries: IntArray, length: IntArray, most: IntArray) -> IntArray:
    """The largest batch that fits at the longest length of each bucket.

    Args:
        boundaries: int64 (buckets - 1,), increasing.
        length: int64 (V,), increasing: the lengths that arrive.
        most: int64 (V,): the largest batch that fits at each of them as the longest.

    Returns:
        int64 (buckets,).  Of a bucket without lengths it does not matter.
    """
    ends = np.searchsorted(length, boundaries, side="right") - 1
    places = np.append(np.maximum(ends, 0), len(length) - 1)
    found: IntArray = most[places]
    return found


class LengthBucketed(NamedTuple):
    """One lane per length bucket, each with a batch size and a wait of its own.

    Lane ``i`` holds the lengths above ``boundaries[i - 1]`` up to and including ``boundaries[i]``;
    the last lane holds everything longer, so there is one lane more than boundaries.  A bucket is
    ready when ``max_batch_size`` wait in it, or when its oldest request has waited ``max_wait_ns``.
    Of the ready buckets the one whose oldest request arrived first goes.
    """

    boundaries: IntArray = NO_VALUES
    """int64 (buckets - 1,), increasing, in the unit of the profile's lengths."""
    max_batch_size: IntArray = NO_VALUES
    """int64 (buckets,); one value stands for all, none for the profile's largest batch."""
    max_wait_ns: IntArray = NO_VALUES
    """int64 (buckets,); one value stands for all, none for 0."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Buckets("boundaries"), Size("max_batch_size"), Time("max_wait_ms", zero=True))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> LengthBucketed:
        """Check the parameters against the profile's largest batch."""
        boundaries = whole_boundaries(self.boundaries)
        lanes = boundaries.size + 1
        largest = service_ns.shape[0]
        return LengthBucketed(
            boundaries=boundaries,
            max_batch_size=one_per_lane(
                "max_batch_size", self.max_batch_size, lanes, 1, largest, largest, "bucket"
            ),
            max_wait_ns=one_per_lane("max_wait_ns", self.max_wait_ns, lanes, 0, NEVER, 0, "bucket"),
        )

    def within_memory(self, length: IntArray, most: IntArray) -> LengthBucketed:
        """Each bucket with at most what fits at its longest length."""
        sizes = largest_per_bucket(self.boundaries, length, most)
        given = whole_array("max_batch_size", self.max_batch_size)
        if given.size not in (0, 1, sizes.size) or (given.size and (given <= sizes).all()):
            return self
        return self._replace(max_batch_size=np.minimum(given, sizes) if given.size else sizes)

    def lanes(self) -> int:
        """One per bucket."""
        return len(self.boundaries) + 1

    def lane_of(self, length: int, tier: int) -> int:
        """The bucket of the length."""
        return bucket_of(self.boundaries, length)

    def decide(self, view: View) -> int:
        """Fire the ready bucket whose head is oldest, or wait for the first timer."""
        ready = -1
        first_due_ns = NEVER
        for lane in range(view.waiting.shape[0]):
            if view.waiting[lane] == 0:
                continue
            due_ns = later(view.oldest_ns[lane], self.max_wait_ns[lane])
            if view.waiting[lane] >= self.max_batch_size[lane] or view.now_ns >= due_ns:
                if ready < 0 or view.oldest_ns[lane] < view.oldest_ns[ready]:
                    ready = lane
            else:
                first_due_ns = min(first_due_ns, due_ns)
        if ready < 0:
            return wait_until(first_due_ns)
        return fire(view, ready, min(view.waiting[ready], self.max_batch_size[ready]))
