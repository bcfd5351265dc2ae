"""What became of the requests of a window, measured or simulated, and its figures by one code.

1. The first 10 % of the requests are the warm-up, as everywhere.
2. Latency is from the planned instant to the answer, of those that were served.  Where the server
   says how it served them it has three parts: the wait for the batch, the batch, and the rest: HTTP
   and whatever else lies between.
3. A batch's size is told with each of its requests: so many batches were there as the inverses add
   up to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray
from sim.sections import WARM_UP

SERVED, REJECTED, EXPIRED, UNAVAILABLE, FAILED = range(5)
"""Values of ``Seen.fate``: 200, 429, 504, 503, and everything else."""
FATES = ("served", "rejected", "expired", "unavailable", "failed")
OF_STATUS = {200: SERVED, 429: REJECTED, 504: EXPIRED, 503: UNAVAILABLE}

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FIGURES = ("mean_ms", "p50_ms", "p90_ms", "p99_ms", "mean_batch")
"""What is held against the prediction."""
PARTS = ("wait_mean_ms", "wait_p99_ms", "service_mean_ms", "rest_p50_ms", "rest_p99_ms")
"""Where latency comes from."""

Figures = Mapping[str, float]
"""By name; NaN where nobody was served, or the server does not say."""


class Seen(NamedTuple):
    """N requests of a window, in the order of their instants."""

    tier: NDArray[np.int8]
    """int8 (N,)."""
    fate: NDArray[np.int8]
    """int8 (N,)."""
    latency_ns: IntArray
    """int64 (N,): also of those that were refused, until they were told; -1: no answer."""
    wait_ns: IntArray
    """int64 (N,): -1 where it is not known."""
    service_ns: IntArray
    """int64 (N,): of its batch; -1 where it is not known."""
    size: IntArray
    """int64 (N,): of its batch; -1 where it is not known."""

    def kept(self, tier: int | None = None) -> NDArray[np.bool_]:
        """Who counts: bool (N,)."""
        count = len(self.fate)
        found = np.arange(count) >= int(count * WARM_UP)
        return found if tier is None else found & (self.tier == tier)

    def served_ns(self, tier: int | None = None) -> IntArray:
        """Latencies of the served that count, in order."""
        found: IntArray = self.latency_ns[self.kept(tier) & (self.fate == SERVED)]
        return found

    def figures(self, tier: int | None = None) -> dict[str, float]:
        """All figures of a tier, or of all requests."""
        who = self.kept(tier) & (self.fate == SERVED)
        latency = self.latency_ns[who] / 1e6
        found = {"mean_ms": _mean(latency)}
        for name, share in PERCENTILES.items():
            found[f"{name}_ms"] = _quantile(latency, share)
        known = who & (self.size > 0)
        sizes = self.size[known]
        found["mean_batch"] = len(sizes) / float((1.0 / sizes).sum()) if len(sizes) else np.nan
        wait, service = self.wait_ns[known] / 1e6, self.service_ns[known] / 1e6
        rest = self.latency_ns[known] / 1e6 - wait - service
        found["wait_mean_ms"], found["wait_p99_ms"] = _mean(wait), _quantile(wait, 0.99)
        found["service_mean_ms"] = _mean(service)
        found["rest_p50_ms"], found["rest_p99_ms"] = _quantile(rest, 0.5), _quantile(rest, 0.99)
        return found

    def counts(self, tier: int | None = None) -> dict[str, int]:
        """How many of a tier had which fate, of those that count."""
        found = np.bincount(self.fate[self.kept(tier)], minlength=len(FATES))
        return dict(zip(FATES, found.tolist(), strict=True))


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _quantile(values: NDArray[np.floating], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else float("nan")


__all__ = ["EXPIRED", "FAILED", "FATES", "FIGURES", "PARTS", "REJECTED", "SERVED", "UNAVAILABLE",
           "Figures", "Seen"]  # fmt: skip
