"""What a rule serves at most, when requests never run out.

1. Several backlogs are worked through, each of other requests of the draw: every one is a section
   of the interval, and rules on the same draw are paired by them.
2. A backlog counts until its last request is admitted; from then on the batch only shrinks.  A
   request that is not done by then counts by the share of its output that is there.  So the order
   in which a rule takes requests does not matter: shortest first has them all to read as well.
3. Requests that are too long count as served, since they arrive like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from policies.contract import IntArray
from policies.iteration.contract import Rule
from sim.intervals import Estimate, sectioned
from sim.iteration.serving import Serving
from sim.iteration.trace import TokenTrace
from sim.iteration.workload import TokenWorkload
from sim.sections import SECTIONS

Driver = Callable[[Rule, TokenWorkload, Serving], TokenTrace]
Draw = tuple[TokenWorkload, Serving]
"""Workload and serving of a replication."""

BATCHES = 16
"""A backlog has so many times the requests of the largest batch."""

FEWEST_BATCHES = 4
"""With fewer, what the first and the last batch do would be most of it."""

FEWEST = 500
"""Requests of a backlog, however small the batch."""


class Saturation(NamedTuple):
    """What is served at most, per second."""

    requests: Estimate
    tokens: Estimate
    """Of output."""


class Worked(NamedTuple):
    """What came of a backlog."""

    seconds: float
    requests: float
    tokens: float


def saturation(
    rule: Rule, draws: Sequence[Draw], run: Driver, *, backlogs: int = SECTIONS
) -> Saturation:
    """Requests and tokens that a rule serves at most.

    Args:
        rule: not yet bound.
        draws: workload and serving of each replication.
        run: a driver.
        backlogs: how many are worked through, fewer where there are not enough requests.
    """
    parts = [
        worked
        for part, serving in cut_up(draws, backlogs)
        if (worked := of_backlog(rule, part, serving, run)).seconds > 0.0
    ]
    if not parts:
        endless = Estimate(float("inf"), None, None, 0)
        return Saturation(endless, endless)
    lasted = np.array([part.seconds for part in parts])
    n = sum(len(part) for part, _ in cut_up(draws, backlogs))
    return Saturation(
        over(np.array([part.requests for part in parts]), lasted, n),
        over(np.array([part.tokens for part in parts]), lasted, n),
    )


def saturation_per_s(rule: Rule, draws: Sequence[Draw], run: Driver) -> float:
    """Requests per second that a rule serves at most; infinite where nothing has to be served.

    Where there are few requests the backlogs are fewer, and as long: an interval is not wanted.
    """
    requests = sum(len(workload) for workload, _ in draws)
    whole = max(FEWEST, BATCHES * draws[0][1].engine.sequences)
    backlogs = min(SECTIONS, max(1, requests // whole))
    return float(saturation(rule, draws, run, backlogs=backlogs).requests.value or 0.0)


def over(done: np.ndarray, lasted: np.ndarray, n: int) -> Estimate:
    """A rate from what was done in each backlog, and how long each lasted."""
    value = float(done.sum() / lasted.sum())
    if len(done) < 2:
        return Estimate(value, None, None, n)
    return sectioned(value, done / lasted, n, (0.0, np.inf))


def cut_up(draws: Sequence[Draw], backlogs: int) -> list[Draw]:
    """The first requests of each replication as backlogs of equal size."""
    each = -(-backlogs // len(draws))
    found = []
    for workload, serving in draws:
        size = max(FEWEST, BATCHES * serving.engine.sequences)
        least = max(1, FEWEST_BATCHES * serving.engine.sequences)
        count = max(1, min(each, len(workload) // least))
        size = min(size, len(workload) // count)
        found += [(part_of(workload, k * size, (k + 1) * size), serving) for k in range(count)]
    return found[:backlogs]


def part_of(workload: TokenWorkload, first: int, after: int) -> TokenWorkload:
    """Some requests in a row."""
    kept = slice(first, after)
    return replace(
        workload,
        arrival_ns=workload.arrival_ns[kept],
        prompt=workload.prompt[kept],
        output=workload.output[kept],
        tier=workload.tier[kept],
    )


def of_backlog(rule: Rule, part: TokenWorkload, serving: Serving, run: Driver) -> Worked:
    """Requests that are all there at once."""
    at_once = replace(part, arrival_ns=np.zeros(len(part), dtype=np.int64))
    trace = run(rule, at_once, serving)
    begun = trace.admitted[trace.admitted >= 0]
    if len(begun) == 0:
        return Worked(0.0, 0.0, 0.0)
    last = int(begun.max())
    if last == 0:  # all fit into the first batch
        last = len(trace.steps)
    ended_ns = int(trace.steps["finish_ns"][last - 1])
    there = generated(trace, last)
    refused = int((trace.admitted < 0).sum())
    return Worked(ended_ns / 1e9, refused + float((there / part.output).sum()), float(there.sum()))


def generated(trace: TokenTrace, before: int) -> IntArray:
    """Tokens of each request that were there before an iteration, int64 (N,)."""
    done = (trace.token_step >= 0) & (trace.token_step < before)
    through = np.concatenate([[0], np.cumsum(done)])
    found: IntArray = through[trace.offset[1:]] - through[trace.offset[:-1]]
    return found
