"""How bursty recorded arrivals are: the figures by which a process is chosen.

1. The index of dispersion of counts of a window is the variance of the number of arrivals in it
   over its mean: 1 at every window for a Poisson process, the squared CV of the gaps at long
   windows where gaps are independent, and more where the rate itself changes.
   Source: Gusella, Characterizing the variability of arrival processes with indexes of dispersion,
   IEEE Journal on Selected Areas in Communications 9, 1991.
2. A figure has a standard error: for counts of m windows the sample variance has that of
   chi-square, ``sqrt(2 / (m - 1))`` of its value; for exponential gaps the CV has ``1 / sqrt(n)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray, IntArray

NS = 1_000_000_000
LEAST_WINDOWS = 20
"""Windows of one length: with fewer the index is off by a third and more."""
LEAST_A_WINDOW = 3
"""Arrivals in the shortest window: with fewer every process looks like a Poisson process."""
WINDOWS_MOST = 6
CLOCKS_S = (1.0, 0.1, 0.01, 0.001)
"""Coarse clocks that logs are written with."""
TOGETHER = 0.02
"""Share of gaps of nothing from which requests come in groups, or the clock is coarse."""


class Dispersion(NamedTuple):
    """The index of dispersion of counts at one length of window."""

    window_s: float
    value: float
    windows: int
    empty: float
    """Share of windows without arrivals."""

    @property
    def error(self) -> float:
        """Standard error, as a share of the value."""
        return math.sqrt(2.0 / (self.windows - 1))


@dataclass(frozen=True)
class Burstiness:
    """The figures of a log."""

    requests: int
    span_s: float
    rate_per_s: float
    gap_cv: float
    gap_correlation: float
    """Of the ranks of neighbouring gaps: 0 where gaps are independent."""
    dispersions: tuple[Dispersion, ...]
    """By window, the shortest first; none where there are too few requests."""
    clock_s: float
    """Resolution of the log's clock where it is too coarse for gaps to mean anything, else 0."""
    together: float
    """Share of requests that come at the same instant as the one before."""

    @property
    def gaps_known(self) -> bool:
        """Whether gaps can be told from the log."""
        return self.clock_s == 0.0


def burstiness(arrival_ns: IntArray) -> Burstiness:
    """Look at recorded arrivals, int64 (N,), not decreasing, at two instants at least."""
    gaps = np.diff(arrival_ns).astype(np.float64)
    span_s = float(arrival_ns[-1] - arrival_ns[0]) / NS
    rate = len(gaps) / span_s
    together = float((gaps == 0).mean())
    clock_s = _coarse_clock_s(arrival_ns, rate, together)
    return Burstiness(
        requests=len(arrival_ns),
        span_s=span_s,
        rate_per_s=rate,
        gap_cv=float(gaps.std() / gaps.mean()),
        gap_correlation=_rank_correlation(gaps),
        dispersions=tuple(
            dispersion(arrival_ns, window) for window in windows_s(rate, span_s, clock_s)
        ),
        clock_s=clock_s,
        together=together,
    )


def windows_s(rate_per_s: float, span_s: float, clock_s: float = 0.0) -> list[float]:
    """Lengths of windows in seconds, 1, 2 or 5 times a power of ten, evenly spread in logarithm."""
    low = max(LEAST_A_WINDOW / rate_per_s, 10.0 * clock_s)
    high = span_s / LEAST_WINDOWS
    tidy = sorted(step * 10.0**power for power in range(-9, 10) for step in (1.0, 2.0, 5.0))
    known = [window for window in tidy if low <= window <= high]
    if len(known) <= WINDOWS_MOST:
        return known
    places = np.linspace(0, len(known) - 1, WINDOWS_MOST).round().astype(int)
    return [known[place] for place in places.tolist()]


def dispersion(arrival_ns: IntArray, window_s: float) -> Dispersion:
    """The index at one length of window; what is left at the end does not count."""
    length_ns = round(window_s * NS)
    place = (arrival_ns - arrival_ns[0]) // length_ns
    windows = int(place[-1])
    counts = np.bincount(place[place < windows], minlength=windows)
    value = float(counts.var(ddof=1) / counts.mean())
    return Dispersion(window_s, value, windows, float((counts == 0).mean()))


def _coarse_clock_s(arrival_ns: IntArray, rate_per_s: float, together: float) -> float:
    """A clock on whose ticks all arrivals are, several a tick; 0 where there is none."""
    for clock_s in CLOCKS_S:
        if not (arrival_ns % round(clock_s * NS)).any():
            shared = min(1.0, rate_per_s * clock_s)
            return clock_s if shared > TOGETHER and together > shared / 10.0 else 0.0
    return 0.0


def _rank_correlation(gaps: FloatArray) -> float:
    from scipy.stats import rankdata

    if len(gaps) < 3 or min(np.ptp(gaps[:-1]), np.ptp(gaps[1:])) == 0.0:
        return 0.0
    ranks = rankdata(gaps)
    return float(np.corrcoef(ranks[:-1], ranks[1:])[0, 1])
