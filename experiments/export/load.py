"""What batches of a size cost at the load of the run: for stacks whose batches do not grow.

Some stacks seal a batch by size and timer whether or not a server is idle.  The size of their
batches then follows from the timer alone, about ``rate * wait + 1``, and has to suffice:
``rate * S(size) < servers * size``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.contract import NEVER

from .plan import Lane
from .setting import Costs, Setting

HEADROOM = 0.9
"""Of the servers' time, at most: a queue of sealed batches grows fast above it."""

NS_PER_S = 1e9
NS_PER_MS = 1_000_000


def share_of(costs: Costs, lane: Lane) -> float:
    """Share of the requests whose length is in a lane."""
    return float(costs.probability[_within(costs, lane)].sum())


def batch_ns(costs: Costs, lane: Lane, size: float) -> float:
    """Mean time of a batch of requests of a lane in order of arrival.

    Args:
        costs: of the run.
        lane: with at least one length that arrives.
        size: may be between two sizes; then so is the time.
    """
    low, rest = int(size), size - int(size)
    at_low = _whole_batch_ns(costs, lane, low)
    return at_low + rest * (_whole_batch_ns(costs, lane, low + 1) - at_low) if rest else at_low


def _whole_batch_ns(costs: Costs, lane: Lane, size: int) -> float:
    """Mean time of ``size`` requests: the longest of them has the chances of one, to a power."""
    within = _within(costs, lane)
    longest = costs.length[within]
    below = np.cumsum(costs.probability[within])
    chance = np.diff((below / below[-1]) ** size, prepend=0.0)
    return float(np.interp(longest, costs.length_edges, costs.service_ns[size - 1]) @ chance)


def _within(costs: Costs, lane: Lane) -> np.ndarray:
    low = 0 if lane.low is None else lane.low
    high = NEVER if lane.high is None else lane.high
    found: np.ndarray = (costs.length > low) & (costs.length <= high)
    return found


def rate_per_s(setting: Setting, lane: Lane) -> float | None:
    """Arrivals of a lane; None where the run has no rate, or nothing of that length arrives."""
    rate, costs = setting.evidence.rate_per_s, setting.costs
    if rate is None or costs is None:
        return None
    return rate * share_of(costs, lane) or None


def sealed_size(setting: Setting, lane: Lane, wait_ns: int) -> float:
    """How large the batches of a lane get, on average, at one of the servers."""
    largest = lane.window.max_batch_size
    rate = rate_per_s(setting, lane)
    if rate is None or wait_ns == NEVER:
        return float(largest)
    return min(float(largest), rate / setting.servers * wait_ns / NS_PER_S + 1)


def busy_servers(setting: Setting, lane: Lane, size: float) -> float:
    """How many servers batches of a size keep busy; 0 where nothing arrives."""
    rate = rate_per_s(setting, lane)
    if rate is None or setting.costs is None:
        return 0.0
    return rate * batch_ns(setting.costs, lane, size) / NS_PER_S / size


def shortest_waits_ns(setting: Setting, lanes: Sequence[Lane]) -> list[int] | None:
    """The shortest waits, in whole ms, with which sealed batches keep up; None where none do.

    Each lane may take its part of 90 % of the servers' time, by what it needs at its best size.
    """
    sizes = [range(1, lane.window.max_batch_size + 1) for lane in lanes]
    least = [
        min(busy_servers(setting, lane, size) for size in each)
        for lane, each in zip(lanes, sizes, strict=True)
    ]
    if not sum(least):
        return [0] * len(lanes)
    spare = HEADROOM * setting.servers / sum(least)
    if spare < 1:
        return None
    waits = []
    for lane, each, need in zip(lanes, sizes, least, strict=True):
        rate = rate_per_s(setting, lane)
        enough = next(n for n in each if busy_servers(setting, lane, n) <= need * spare)
        seconds = 0.0 if rate is None else (enough - 1) * setting.servers / rate
        waits.append(int(np.ceil(seconds * NS_PER_S / NS_PER_MS)) * NS_PER_MS)
    return waits
