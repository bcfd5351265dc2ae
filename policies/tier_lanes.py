"""Lanes of rules that know tiers: every tier has one lane for each length bucket.

1. Lane ``tier * buckets + bucket``: the lanes of a tier are neighbours, and those of a bucket are
   ``buckets`` apart, the most urgent tier first.
2. A lane is ready when a full batch waits in it, or when its oldest request has waited as long as
   it may.
3. Without ``boundaries`` there is one bucket: one lane for each tier.
"""

from __future__ import annotations

import numpy as np

from .contract import FIRE, NEVER, IntArray, View, later, shared
from .length_bucketed import bucket_of
from .parameters import whole_array


@shared
def tier_lane(boundaries: IntArray, length: int, tier: int) -> int:
    """The lane of a request."""
    return int(tier * (boundaries.shape[0] + 1) + bucket_of(boundaries, length))


@shared
def oldest_of_tier(view: View, tier: int, buckets: int) -> int:
    """Lane of a tier whose head arrived first (the shorter bucket on a tie); -1: nobody waits."""
    best = -1
    for lane in range(tier * buckets, (tier + 1) * buckets):
        if view.waiting[lane] > 0 and (best < 0 or view.oldest_ns[lane] < view.oldest_ns[best]):
            best = lane
    return best


@shared
def is_ready(view: View, lane: int, most: int, wait_ns: int) -> bool:
    """Whether a full batch waits in a lane, or its oldest request has waited long enough."""
    waiting = view.waiting[lane]
    if waiting == 0:
        return False
    return bool(waiting >= most or view.now_ns >= later(view.oldest_ns[lane], wait_ns))


@shared
def ready_of_tier(view: View, tier: int, buckets: int, most: int, wait_ns: int) -> int:
    """Of a tier's ready lanes the one whose head arrived first; -1: none is ready."""
    best = -1
    for lane in range(tier * buckets, (tier + 1) * buckets):
        if is_ready(view, lane, most, wait_ns) and (
            best < 0 or view.oldest_ns[lane] < view.oldest_ns[best]
        ):
            best = lane
    return best


@shared
def first_due_ns(view: View, buckets: int, wait_ns: IntArray) -> int:
    """When the first timer runs out.

    Args:
        view: one in which no lane is ready.
        buckets: lanes of each tier.
        wait_ns: int64 (tiers,), how long the oldest of a lane may wait.
    """
    due_ns = NEVER
    for lane in range(view.waiting.shape[0]):
        if view.waiting[lane] > 0:
            due_ns = min(due_ns, later(view.oldest_ns[lane], wait_ns[lane // buckets]))
    return due_ns


@shared
def bucket_ready_ns(view: View, bucket: int, buckets: int, most: int, wait_ns: int) -> int:
    """When a batch of a bucket, of all tiers, may go: at once if it is full, or by its timer.

    An instant up to now: at once.
    """
    waiting = 0
    oldest_ns = NEVER
    for lane in range(bucket, view.waiting.shape[0], buckets):
        waiting += view.waiting[lane]
        oldest_ns = min(oldest_ns, view.oldest_ns[lane])
    if waiting >= most:
        return view.now_ns
    return later(oldest_ns, wait_ns)


@shared
def most_urgent_in_bucket(view: View, bucket: int, buckets: int) -> int:
    """Lane of the most urgent tier that waits in a bucket; -1: nobody waits."""
    for lane in range(bucket, view.waiting.shape[0], buckets):
        if view.waiting[lane] > 0:
            return lane
    return -1


@shared
def fire_down(view: View, lane: int, buckets: int, most: int) -> int:
    """Fire a lane, and fill the batch with the less urgent tiers of its bucket in their order."""
    room = most
    for own in range(lane, view.waiting.shape[0], buckets):
        view.take[own] = min(view.waiting[own], room)
        room -= view.take[own]
    return FIRE


def sizes_within(sizes: IntArray, most: IntArray) -> IntArray:
    """Largest batches that fit whatever their lengths; sizes that are not given, too.

    Args:
        sizes: one for each tier, one for all, or none.
        most: int64 (V,), the largest batch that fits at each longest length, increasing.
    """
    given = whole_array("max_batch_size", sizes)
    fits = int(most[-1])
    found: IntArray = np.minimum(given, fits) if given.size else np.array([fits])
    return found
