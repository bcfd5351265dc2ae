"""What may be claimed from the cells of a validation.

1. Errors are claimed for loads at which the servers are at most 0.6 busy, as measured.  Above, one
   per cent more service time moves the p99 by up to ten, so that ratios of policies are compared.
2. Coverage counts figures (one window, one statistic) inside their intervals of 90 %.  Figures of
   one window depend on each other, so that its own interval, which takes them for independent, is
   too narrow.
3. Nothing is claimed where more than half of the windows were rejected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from .cells import Cell, Match
from .windows import Condition

BUSY_MOST = 0.6
"""Up to this busy share errors are claimed."""
REPLAY_GATE = 0.03
"""A replay that is farther off has a fault in its logic."""
RATIO_GATE = 0.1
"""Two policies' ratio that is farther off is not predicted."""
A_PRIORI = ("mean", "p50", "p99", "mean_batch")
"""Statistics whose a-priori errors are claimed."""
COVERED = ("mean", "p50", "p90", "p95", "p99", "mean_batch", "busy")
"""Statistics that count for coverage: throughput is that of the arrivals, losses are rare."""
TIERS = ("mean", "p99", "throughput_per_s")
"""Statistics of single tiers whose a-priori errors are claimed."""
RANKED = ("mean", "p99")
"""Statistics by which policies are ranked."""


class Worst(NamedTuple):
    """The largest error, signed, and where it is."""

    error: float
    cell: Cell


def worst_replay(matches: Sequence[Match], statistics: Sequence[str]) -> Worst | None:
    """The window and statistic that the replay misses most, where claims are made."""
    return _worst((cell.replay_error, cell) for cell in _claimed(matches, statistics))


def worst_a_priori(matches: Sequence[Match], statistic: str) -> Worst | None:
    """The policy and load whose mean over windows is missed most, where claims are made."""
    return _worst((cell.error, cell) for cell in _claimed(matches, (statistic,)))


def worst_of_tiers(matches: Sequence[Match], statistic: str) -> Worst | None:
    """The policy, load and tier that are missed most, where claims are made."""
    return _worst(
        (cell.error, cell)
        for match in matches
        if match.busy <= BUSY_MOST
        for cell in match.tier_cells
        if cell.statistic == statistic
    )


def worst_corrected(matches: Sequence[Match], statistic: str) -> Worst | None:
    """The same for the drift-corrected prediction."""
    return _worst((cell.corrected_error, cell) for cell in _claimed(matches, (statistic,)))


def widest_spread(matches: Sequence[Match], statistic: str) -> float | None:
    """The largest spread between windows of one policy and load, where claims are made."""
    found = [cell.spread for cell in _claimed(matches, (statistic,)) if cell.spread is not None]
    return max(found, default=None)


def _claimed(matches: Sequence[Match], statistics: Sequence[str]) -> Iterator[Cell]:
    for match in matches:
        if match.busy <= BUSY_MOST:
            yield from (match.cell(name) for name in statistics)


def _worst(errors: Iterator[tuple[float | None, Cell]]) -> Worst | None:
    known = [Worst(error, cell) for error, cell in errors if error is not None]
    return max(known, key=lambda one: abs(one.error), default=None)


class Coverage(NamedTuple):
    """How many figures are inside their intervals, with a Clopper-Pearson interval of 95 %."""

    inside: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Inside over total."""
        return self.inside / self.total


def coverage(matches: Sequence[Match]) -> Coverage | None:
    """Of all accepted windows, at every load; None without any."""
    from scipy.stats import beta

    cells = [match.cell(name) for match in matches for name in COVERED]
    inside, total = sum(cell.inside for cell in cells), sum(len(cell.live) for cell in cells)
    if not total:
        return None
    low = float(beta.ppf(0.025, inside, total - inside + 1)) if inside else 0.0
    high = float(beta.ppf(0.975, inside + 1, total - inside)) if inside < total else 1.0
    return Coverage(inside, total, low, high)


@dataclass(frozen=True)
class Ranking:
    """The policies at one load, by one statistic."""

    load: float | None
    statistic: str
    measured: tuple[str, ...]
    """Best first."""
    predicted: tuple[str, ...]
    tie: bool
    """The best as predicted is not the best measured, but within the spread of the windows."""
    ratio_error: float
    """The largest error of the ratio of two policies, as a share."""

    @property
    def best_predicted(self) -> bool:
        """Whether the best one was predicted, up to what windows differ anyway."""
        return self.tie or self.measured[0] == self.predicted[0]


def rankings(matches: Sequence[Match]) -> Iterator[Ranking]:
    """One a load with several policies and a statistic; who served nobody has no rank."""
    served = [match for match in matches if math.isfinite(match.cell("mean").measured)]
    for load in dict.fromkeys(match.load for match in served):
        here = [match for match in served if match.load == load]
        if len(here) > 1:
            yield from (ranking([match.cell(name) for match in here]) for name in RANKED)


def ranking(cells: Sequence[Cell]) -> Ranking:
    """Rank at least two policies by one statistic at one load."""
    measured = sorted(cells, key=lambda cell: cell.measured)
    predicted = sorted(cells, key=lambda cell: cell.predicted)
    best, guess = measured[0], predicted[0]
    spread = max(best.spread or 0.0, guess.spread or 0.0)
    ratios = [
        (a.predicted / b.predicted) / (a.measured / b.measured) - 1.0
        for a, b in combinations(measured, 2)
    ]
    return Ranking(
        best.load,
        best.statistic,
        tuple(cell.policy for cell in measured),
        tuple(cell.policy for cell in predicted),
        tie=guess is not best and guess.measured / best.measured - 1.0 <= spread,
        ratio_error=max(abs(one) for one in ratios),
    )


def no_claim(conditions: Sequence[Condition]) -> str:
    """Why nothing is claimed, in one clause; empty where something is."""
    rejected = sum(not one.accepted for one in conditions)
    if not conditions:
        return "there is no window"
    if 2 * rejected > len(conditions):
        return f"{rejected} of {len(conditions)} windows were rejected, more than half"
    return ""
