"""Settings near the best ones: the last steps to an optimum, which a density model rarely takes.

1. Every second trial after the even start is a step away from one of the best, along one or more
   axes; half of the moves are a place or two, half are longer.  So is one that would repeat a
   setting.
2. A setting is never asked twice while there is another one near.
3. What is chosen depends on the random numbers given and on what was tried, and on nothing else.

TPE proposes each axis by itself from what all good trials have in common.  Where a batch of 8 is
good and one of 7 is not, that misses by one for hundreds of trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .contestants import Contestant

BASES = 4
"""Good settings from which steps are taken, the best more often than the next."""

ATTEMPTS = 200
"""Steps that are drawn before a neighbourhood counts as gone through."""

HALF = 0.5
"""Chance of each base before the next, of each axis to move, and to end after each place."""

LONG = 0.1
"""Chance of a longer move to end after each place: ten places on average."""


def nearby(
    contestant: Contestant,
    best: Sequence[Mapping[str, int]],
    tried: set[str],
    rng: np.random.Generator,
) -> dict[str, int] | None:
    """Places of a setting near a good one that was not tried; None where there is none.

    Args:
        contestant: whose space it is.
        best: places of good settings, from 0, the best first.
        tried: keys of settings.
        rng: draws the steps.
    """
    for _ in range(ATTEMPTS if best else 0):
        base = best[min(int(rng.geometric(HALF)) - 1, len(best) - 1, BASES - 1)]
        step = _step(contestant, base, rng)
        if step is not None and contestant.setting(contestant.chosen(step)).key not in tried:
            return step
    return None


def _step(
    contestant: Contestant, base: Mapping[str, int], rng: np.random.Generator
) -> dict[str, int] | None:
    """A step from a setting; None where it does not move, or leaves the space."""
    moved = dict(base)
    for axis in contestant.axes:
        if rng.random() < HALF:
            ends = HALF if rng.random() < HALF else LONG
            moved[axis.name] += int(rng.geometric(ends)) * (1 if rng.random() < HALF else -1)
        if not 0 <= moved[axis.name] < len(axis.values):
            return None
    return None if moved == base else moved
