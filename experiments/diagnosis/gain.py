"""By how much a change moves the percentile that is judged, with its interval.

Both runs have the same requests: they are cut into the same ten sections by order of arrival, and
the difference of the percentile is taken section by section, as in :mod:`sim.intervals`.  A request
that was lost counts as one that took twice the longest of the run that is diagnosed, so that
nothing looks better for serving fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray
from sim.intervals import Difference, Estimate, paired, percentile, percentiles

from .seen import Mask, Seen

SECTIONS = 10


@dataclass(frozen=True)
class Judged:
    """Which latencies are looked at, and which percentile of them."""

    tier: int
    """Index of the tier, -1: all requests."""
    share: float
    """0.99 for p99."""
    lost_ns: int
    """What a lost request counts as."""

    def mask(self, seen: Seen) -> Mask:
        """The requests that are judged."""
        return np.ones(len(seen), dtype=bool) if self.tier < 0 else seen.tier == self.tier

    def latencies_ns(self, seen: Seen, *, served: bool = False) -> IntArray:
        """In order of arrival; with ``served`` of those alone."""
        if served:
            return seen.latency_ns[self.mask(seen) & ~seen.lost]
        counted = np.where(seen.lost, self.lost_ns, seen.latency_ns)
        return np.asarray(counted[self.mask(seen)])

    def value_ns(self, seen: Seen, *, served: bool = False) -> float:
        """The percentile."""
        found = self.latencies_ns(seen, served=served)
        return percentile(found, self.share) if len(found) else 0.0

    def estimate(self, seen: Seen) -> Estimate:
        """The percentile in ms with its interval, and its value in each section."""
        values: NDArray[np.float64] = self.latencies_ns(seen) / 1e6
        cuts = np.linspace(0, len(values), SECTIONS + 1).astype(np.int64)
        (found,) = percentiles(values, cuts, [self.share], tail=1)
        return found

    def lost_share(self, seen: Seen) -> float:
        """Share of the judged requests that were not served."""
        mask = self.mask(seen)
        return float(seen.lost[mask].mean()) if mask.any() else 0.0


def judged_of(seen: Seen, tier: int, share: float) -> Judged:
    """How a run, and every change of it, is judged."""
    return Judged(tier, share, 2 * int(seen.latency_ns.max()))


def difference(first: Estimate, second: Estimate, error: float = 0.0) -> Difference:
    """First minus second, paired; ``error`` of the model widens it by that share of the change."""
    found = paired(first, second)
    if error <= 0.0 or found.value is None or found.low is None or found.high is None:
        return found
    more = error * abs(found.value)
    low, high = found.low - more, found.high + more
    return replace(
        found, low=low, high=high, verdict="lower" if high < 0 else "higher" if low > 0 else "tie"
    )


def per_second(seen: Seen) -> float:
    """Requests served per second, from the first arrival to the last answer."""
    served = ~seen.lost
    if not served.any():
        return 0.0
    lasts = int(seen.done_ns[served].max() - seen.arrival_ns[0])
    return float(served.sum()) * 1e9 / max(lasts, 1)
