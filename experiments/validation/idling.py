"""What an idle time costs the batch after it, from calibrating calls.

A call's time is that of its shape, plus ``extra t / (t + half)`` after an idle time t
(:class:`sim.service.Idling`).  For each ``half`` and ``extra`` of a grid the times of the shapes
are the medians of what is left; the pair with the least sum of absolute relative residuals is
taken.  Where it is hardly better than no cost at all, none is.
"""

from __future__ import annotations

import numpy as np

from policies.contract import FloatArray, IntArray
from sim.service import Idling

HALVES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Idle times that cost half, over the mean idle time of the calls."""
EXTRAS = np.linspace(0.0, 2.0, 101)
"""Extra times over the time of the cheapest shape; with a long half they are hardly reached."""
WORTH, WORTH_CALLS = 0.003, 4.0
"""Share of the residuals that a cost of idling has to explain, to be more than luck: the first, and
the second over the number of calls, about what the best of many pairs explains by chance."""
CHEAP = 2.5
"""Shapes up to this many times the cheapest are looked at; in others the cost drowns."""


def fitted_idling(shape: IntArray, took_ns: IntArray, idle_ns: IntArray) -> Idling:
    """The cost of idling that explains the calls best.

    Args:
        shape: int64 (C,), number of the shape of each call.
        took_ns: int64 (C,).
        idle_ns: int64 (C,), how long the server was idle before.
    """
    mean_ns = float(idle_ns.mean())
    if mean_ns <= 0:
        return Idling()
    groups = [np.flatnonzero(shape == each) for each in np.unique(shape)]
    medians = [float(np.median(took_ns[group])) for group in groups]
    cheapest = min(medians)
    groups = [group for group, ns in zip(groups, medians, strict=True) if ns <= CHEAP * cheapest]
    plain = _residual(took_ns.astype(np.float64), groups)
    calls = sum(len(group) for group in groups)
    best, found = plain * (1.0 - WORTH - WORTH_CALLS / calls), Idling()
    for half in HALVES:
        share = Idling(1.0, half * mean_ns).costs_ns(idle_ns)
        for extra in EXTRAS[1:]:
            residual = _residual(took_ns - extra * cheapest * share, groups)
            if residual < best:
                best, found = residual, Idling(float(extra * cheapest), half * mean_ns)
    return found


def _residual(left_ns: FloatArray, groups: list[IntArray]) -> float:
    """Sum over the calls of how far each is from the median of its shape, relatively."""
    total = 0.0
    for group in groups:
        here = left_ns[group]
        middle = float(np.median(here))
        if middle <= 0:
            return float("inf")
        total += float(np.abs(here / middle - 1.0).sum())
    return total
