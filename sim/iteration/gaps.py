"""Gaps between the tokens of a request, as a reader of a stream sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from policies.contract import IntArray
from sim.intervals import Estimate, percentile_needs, ratio, refused, sectioned

from .measures import MS, SHARES
from .trace import TokenTrace


class Gaps(NamedTuple):
    """Gaps between tokens, each so many times."""

    ns: IntArray
    times: IntArray

    def quantile(self, share: float) -> float:
        """The smallest gap that at least this share of all do not exceed."""
        order = np.argsort(self.ns)
        through = np.cumsum(self.times[order])
        place = int(np.searchsorted(through, share * through[-1] - 1e-9))
        return float(self.ns[order][min(place, len(order) - 1)])


def gaps_of(trace: TokenTrace, tiers: Sequence[int], low: int, high: int) -> Gaps:
    """Gaps between the tokens of the requests ``low`` to ``high - 1`` of some tiers.

    Most gaps are one iteration long, and all who decode in it share them.
    """
    begin, end = int(trace.offset[low]), int(trace.offset[high])
    tokens = trace.token_step[begin:end]
    inside = (tokens[1:] >= 0) & (tokens[:-1] >= 0)
    firsts = trace.offset[low + 1 : high] - begin
    inside[firsts[firsts < len(tokens)] - 1] = False  # from one request to the next
    if len(tiers) < len(trace.tiers):
        mine = np.isin(trace.tier[low:high], tiers)
        inside &= np.repeat(mine, trace.output[low:high])[1:]
    ends = trace.steps["finish_ns"]
    later, before = tokens[1:][inside], tokens[:-1][inside]
    usual = later == before + 1
    times = np.bincount(later[usual], minlength=len(ends))
    each = np.flatnonzero(times)
    longer = ends[later[~usual]] - ends[before[~usual]]
    return Gaps(
        np.concatenate([ends[each] - ends[each - 1], longer]),
        np.concatenate([times[each], np.ones(len(longer), dtype=np.int64)]),
    )


def gap_spread(parts: Sequence[Gaps], reason: str, tail: int) -> dict[str, Estimate]:
    """Mean and percentiles of the gaps between tokens, in ms.

    Args:
        parts: the gaps of each section.
        reason: why there is no value, if there is none.
        tail: gaps beyond a percentile that a section must have.
    """
    counts = np.array([int(part.times.sum()) for part in parts])
    n = int(counts.sum())
    if reason or n == 0:
        why = reason or "no request had a second token"
        return dict.fromkeys(("mean", *SHARES), refused(n, reason=why))
    whole = Gaps(np.concatenate([p.ns for p in parts]), np.concatenate([p.times for p in parts]))
    sums = np.array([float((part.ns * part.times).sum()) for part in parts])
    found = {"mean": ratio(sums, counts, counts)}
    if found["mean"].low is None:
        found["mean"] = refused(n, found["mean"].needs)
    for key, share in SHARES.items():
        needs = percentile_needs(share, len(parts), tail)
        if n < needs or 2 * len(counts) * int(counts.min()) < needs:
            found[key] = refused(n, needs)
            continue
        each = [part.quantile(share) for part in parts]
        found[key] = sectioned(whole.quantile(share), each, n, (0.0, np.inf))
    return {key: one.scaled(MS) for key, one in found.items()}
