"""When MLPerf's LoadGen has seen enough queries, and what it calls a percentile.

Early stopping (``loadgen/early_stopping.cc`` of MLPerf Inference, confidence 99 %, tolerance 0): a
percentile ``p`` keeps its target where ``t`` of ``n`` queries were late and so few would be no
accident, ``P(Bin(n, 1 - p) <= t) <= 1 - confidence``.  With p99 that takes 459 queries when none is
late, 662 when one is, and so on.  The rule takes latencies as independent, which those of one queue
are not: it passes servers that just miss the target more often than the confidence says.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

CONFIDENCE = 0.99
"""LoadGen's own; it has no option."""


def least_queries(late: int, percentile: float = 99.0, confidence: float = CONFIDENCE) -> int:
    """How many queries are enough where so many of them were late.

    Args:
        late: queries above the target.
        percentile: that has to keep the target, above 0 and below 100.
        confidence: of the verdict.
    """
    share = 1.0 - percentile / 100.0

    def enough(queries: int) -> bool:
        return bool(binom.cdf(late, queries, share) <= 1.0 - confidence)

    high = late + 1
    while not enough(high):
        high *= 2
    low = late
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def percentile_of(latency_ns: NDArray[np.integer[Any]], percentile: float) -> int:
    """LoadGen's percentile, ``sorted[floor(n p)]``: a latency that occurred, no mean of two."""
    ordered = np.sort(latency_ns)
    return int(ordered[min(len(ordered) - 1, math.floor(len(ordered) * percentile / 100.0))])


class EarlyStopping(NamedTuple):
    """The verdict on a run."""

    queries: int
    late: int
    """Above the target."""
    needed: int
    """Queries that are enough with so many late ones."""

    @property
    def met(self) -> bool:
        """Whether enough were seen."""
        return self.queries >= self.needed

    @property
    def more(self) -> int:
        """Further queries, none of them late, that would be enough."""
        return max(0, self.needed - self.queries)


def early_stopping(
    latency_ns: NDArray[np.integer[Any]], target_ns: int, percentile: float
) -> EarlyStopping:
    """Judge latencies as LoadGen does."""
    late = int((latency_ns > target_ns).sum())
    return EarlyStopping(len(latency_ns), late, least_queries(late, percentile))
