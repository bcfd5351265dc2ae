"""What rules that plan ahead share: the requests at the head, what a batch takes, who comes next.

All of it is plain Python when called, and compiled when a compiled rule calls it.
"""

from __future__ import annotations

import numpy as np

from .contract import IntArray, View, expected_ns, shared

MEAN_GAP, ARRIVALS_SEEN = 0, 1
"""Cells of ``view.memory`` that :func:`mean_gap_ns` uses."""

GAP_SLOTS = 2
"""Number of those cells."""


@shared
def longest_of_first(view: View, lane: int, count: int) -> int:
    """Longest length among the first ``count`` requests of a lane."""
    longest = 0
    request = view.head[lane]
    for _ in range(count):
        longest = max(longest, int(view.length[request]))
        request = view.next[request]
    return longest


@shared
def planned_ns(service_ns: IntArray, length_edges: IntArray, size: int, longest: int) -> int:
    """Service time without noise, rounded to whole nanoseconds so that comparisons are exact."""
    return max(1, int(np.rint(expected_ns(service_ns, length_edges, size, longest))))


@shared
def mean_gap_ns(view: View, window: int) -> float:
    """Mean time between arrivals: the plain mean at first, then an EWMA over ``window`` gaps.

    It goes through every arrival once, in order, so that what it has learned depends on the
    arrivals alone and not on when the rule was asked.  0 until the second arrival.
    """
    for request in range(max(1, int(view.memory[ARRIVALS_SEEN])), view.arrived):
        gap = float(view.arrival_ns[request] - view.arrival_ns[request - 1])
        weight = 1.0 / min(request, window)
        view.memory[MEAN_GAP] += weight * (gap - view.memory[MEAN_GAP])
    view.memory[ARRIVALS_SEEN] = view.arrived
    return float(view.memory[MEAN_GAP])
