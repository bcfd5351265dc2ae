"""Noise in the order in which it was measured: blocks of the steady series, as normal scores.

An AR(1) forgets within a few calls; machines do not (measured on a quiet one: 0.67 at lag 1, and
still 0.11 at lag 20, where the AR(1) has 0.0003).  Blocks keep what is within them.

1. A call of a steady series counts by its rank among the calls of that series, so that series of
   different shapes add up; the factor is then looked up in the quantiles of the class of the batch
   that is served, as with every score (:mod:`profiles.noise`).
2. Blocks are circular (Politis and Romano 1992): each begins anywhere in a series and runs on at
   its beginning, so that every call is drawn equally often.  A longer series is drawn more often.
3. Within its slot of ``1 / calls`` a rank is drawn uniformly, so that scores are exactly normal,
   tails included, whatever the length of the series.
4. At lag k a share ``k / BLOCK`` of the pairs lies in different blocks, which are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calls import Call
from .latency import FloatArray, IntArray

BLOCK = 60
"""Keeps 98 % of the correlation at lag 1 and two thirds at lag 20; a series of 400 calls still
gives 400 blocks that differ."""
CALLS_LEAST = 60
"""Calls of a steady series below which it is not used: fewer than a block."""


class Steady(NamedTuple):
    """Steady series, one after the other."""

    place: FloatArray
    """float64 (calls,): where the slot of each call's rank begins, 0 to below 1."""
    start: IntArray
    """int64 (calls,): where the series of each call begins."""
    length: IntArray
    """int64 (calls,): how many calls that series has."""


def steady_of(calls: Sequence[Call]) -> Steady | None:
    """The steady series of a measurement as ranks; None where none is long enough."""
    places: list[FloatArray] = []
    starts: list[IntArray] = []
    for number in sorted({call.round for call in calls if call.kind == "steady"}):
        series = np.array([c.wall_ns for c in calls if c.kind == "steady" and c.round == number])
        count = len(series)
        if count < CALLS_LEAST:
            continue
        rank = np.empty(count)
        # Equal calls in the order of time would look like a trend.
        anyhow = np.random.default_rng(number).permutation(count)
        rank[np.lexsort((anyhow, series))] = np.arange(count)
        starts.append(np.full(count, sum(len(place) for place in places), dtype=np.int64))
        places.append(rank / count)
    if not places:
        return None
    counts = np.array([len(place) for place in places], dtype=np.int64)
    return Steady(np.concatenate(places), np.concatenate(starts), np.repeat(counts, counts))


def block_scores(
    steady: Steady, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Normal scores of a run.

    Args:
        steady: the series that are replayed.
        shape: servers and draws of each.
        rng: the stream of service noise.

    Returns:
        float32 (servers, draws).
    """
    from scipy.special import ndtri

    servers, draws = shape
    first = rng.integers(0, len(steady.place), (servers, -(-draws // BLOCK), 1))
    start, length = steady.start[first], steady.length[first]
    calls = start + (first - start + np.arange(BLOCK)) % length
    taken = calls.reshape(servers, -1)[:, :draws]
    within = (1.0 - rng.random(shape)) / steady.length[taken]
    scores = ndtri(np.clip(steady.place[taken] + within, 1e-12, 1.0 - 1e-12))
    return np.asarray(scores, dtype=np.float32)
