"""The rate at which a run stops to meet a target, from few runs.

A run is expensive, and its answer is a step function of the rate: so both ends of the answer are
rates that were run, one that meets the target and one that does not, as near to each other as the
tolerance asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MOST_RUNS = 60
"""Far more than any bracket of rates takes."""

EDGE = 0.45
"""Steps from an end of the bracket are at least this part of the tolerance, so that two runs on
both sides of a good guess close it."""

GROWTH = 4.0
"""That part grows by so much while the same end moves again and again."""


class Crossing(NamedTuple):
    """Two neighbouring rates."""

    meets: float
    misses: float


def crossing(
    excess: Callable[[float], float], meets: float, misses: float, tolerance: float
) -> Crossing:
    """Narrow a bracket until its ends differ by a share of at most ``tolerance``.

    Regula falsi with Illinois' halving of the end that stays (Dowell and Jarratt, BIT 11, 1971),
    kept away from the ends, and the further the longer one of them stays.

    Args:
        excess: at most 0 where a rate meets the target, positive where it does not.
        meets: a rate that meets it.
        misses: a rate that does not, above or below.
        tolerance: largest relative distance of the ends.
    """
    low, high = excess(meets), excess(misses)
    moved = 0  # how often the same end moved in a row: positive for the one that misses
    for _ in range(MOST_RUNS):
        width, scale = abs(misses - meets), max(meets, misses)
        if width <= tolerance * scale:
            break
        least = min(EDGE * tolerance * scale * GROWTH ** max(0, abs(moved) - 1), 0.5 * width)
        share = -low / (high - low) if high > low else 0.5
        share = min(max(share, least / width), 1.0 - least / width)
        rate = meets + share * (misses - meets)
        found = excess(rate)
        if found <= 0.0:
            meets, low = rate, found
            high, moved = (high / 2.0, moved - 1) if moved < 0 else (high, -1)
        else:
            misses, high = rate, found
            low, moved = (low / 2.0, moved + 1) if moved > 0 else (low, 1)
    return Crossing(meets, misses)
