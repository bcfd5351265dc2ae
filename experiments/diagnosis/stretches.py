"""Slow stretches of servers, slow beginnings, slow servers, and bursts of arrivals.

1. The pace of a server is the running median of the slowdowns of its batches: one slow batch is
   luck, a stretch of them is not.
2. Its usual level is the 30th percentile of the pace, so that a third of the time may be disturbed
   without moving it.
3. A stretch is slow where the pace is ``SLOWER`` times the usual for a window or longer, and where
   the same batches in random order would not have as much of it: service times that vary much look
   slow at times.  One from the very first batch on is a cold start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d

from policies.contract import FloatArray, IntArray

from .pace import WINDOW
from .seen import Mask, Seen

SLOWER = 1.35
FIRST = 3
"""Batches that a cold start lasts at least."""
BEYOND_LUCK = 1.3
"""How much more means over a window have to differ than by luck: of independent times the ratio is
1, give or take a few hundredths."""
SHUFFLES = 5
USUAL = 0.3


class Stretches(NamedTuple):
    """Batches by how their server ran."""

    cold: Mask
    """bool (M,): from the first batch of a server on, until it reached its usual pace."""
    slow: Mask
    """bool (M,): in slow stretches later on."""
    usual: FloatArray
    """float64 (M,): usual slowdown of the server of each batch."""
    stretches: int
    """How many slow ones there are."""


def stretches_of(seen: Seen, slowdown: FloatArray) -> Stretches:
    """Find the slow stretches of every server."""
    cold, slow = np.zeros(len(slowdown), dtype=bool), np.zeros(len(slowdown), dtype=bool)
    usual, count = np.ones(len(slowdown)), 0
    for server in range(seen.servers):
        mine = np.flatnonzero(seen.batch_server == server)
        if len(mine) < 3 * WINDOW:
            continue
        pace = median_filter(slowdown[mine], WINDOW, mode="nearest")
        level = float(np.quantile(pace, USUAL))
        usual[mine] = level
        high = pace > SLOWER * level
        first = _beginning(slowdown[mine] / level)
        cold[mine[:first]] = True
        high[:first] = False
        high, stretches = _lasting(high)
        if stretches and _beyond_luck(slowdown[mine[first:]]):
            slow[mine[high]] = True
            count += stretches
    return Stretches(cold, slow, usual, count)


def _beyond_luck(slowdown: FloatArray) -> bool:
    """Whether means over a window differ more than where the same batches come in any order."""
    rng = np.random.Generator(np.random.PCG64(7))
    logs = np.log(np.maximum(slowdown, 1e-9))
    shuffled = [uniform_filter1d(rng.permutation(logs), WINDOW).std() for _ in range(SHUFFLES)]
    return bool(uniform_filter1d(logs, WINDOW).std() > BEYOND_LUCK * np.mean(shuffled))


def _lasting(high: Mask) -> tuple[Mask, int]:
    """The stretches that last for at least a window, and how many they are."""
    steps = np.diff(high.astype(np.int64), prepend=0, append=0)
    kept, count = np.zeros(len(high), dtype=bool), 0
    for begin, end in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
        if end - begin >= WINDOW:
            kept[begin:end] = True
            count += 1
    return kept, count


def _beginning(slowdown: FloatArray) -> int:
    """How many batches a cold start lasts: until three in a row are as usual."""
    high = slowdown > SLOWER
    calm = np.convolve(~high, np.ones(3), mode="valid") == 3
    first = int(np.argmax(calm)) if calm.any() else len(high)
    return first if first >= FIRST and np.median(slowdown[:first]) > SLOWER else 0


class Burst(NamedTuple):
    """The scale at which arrivals vary most beyond Poisson's."""

    bin_ns: int
    dispersion: float
    """Variance over mean of the counts: 1 for Poisson."""
    limit: float
    """What a Poisson process of as many bins exceeds once in thousands of runs."""
    scales: tuple[tuple[float, float], ...]
    """Every scale in ms, and its dispersion."""


BINS = 40
"""Fewest bins of a scale: with them a Poisson process has a dispersion of 1 +- 0.22."""


def burst_of(arrival_ns: IntArray) -> Burst:
    """Dispersion of counts over scales from a few arrivals to a fortieth of the run."""
    first, span = int(arrival_ns[0]), int(arrival_ns[-1] - arrival_ns[0])
    gap = span / max(1, len(arrival_ns) - 1)
    scales = np.unique(np.geomspace(3 * gap, max(3 * gap, span / BINS), 10).astype(np.int64))
    found, best = [], Burst(0, 1.0, np.inf, ())
    for scale in scales[scales > 0]:
        bins = span // scale
        if bins < BINS:
            continue
        counts = np.bincount((arrival_ns - first) // scale, minlength=bins + 1)[:bins]
        dispersion = float(counts.var() / max(counts.mean(), 1e-12))
        limit = 1.0 + 4.0 * np.sqrt(2.0 / bins)
        found.append((scale / 1e6, dispersion))
        if (dispersion - 1.0) / (limit - 1.0) > (best.dispersion - 1.0) / (best.limit - 1.0):
            best = Burst(int(scale), dispersion, float(limit), ())
    return best._replace(scales=tuple(found))


def crowded(arrival_ns: IntArray, window_ns: int) -> NDArray[np.bool_]:
    """Which arrivals end a window with more arrivals than Poisson has once in a thousand."""
    before = np.searchsorted(arrival_ns, arrival_ns - window_ns, side="right")
    count = np.arange(1, len(arrival_ns) + 1) - before
    mean = len(arrival_ns) * window_ns / max(1, int(arrival_ns[-1] - arrival_ns[0]))
    return np.asarray(count > 1 + mean + 3.0 * np.sqrt(mean))
