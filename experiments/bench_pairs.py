"""How often the worse of two settings is taken for the better one.

1. Pairs are drawn from the spaces of the known answers, evenly over gaps of 2 to 10 %, and no
   setting is in two pairs of a scenario.
2. The true gap is that of 3 million requests that nothing else has seen.  Pairs whose gap turns out
   below 2 % do not count.
3. Each pair is judged as finalists are: fresh runs, the paired interval, and a tie inside it.
   Beside it stands what the search's single run would say, which always has an opinion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sim.stability import assess
from sim.streams import stream

from .contest import driver
from .known_answers import KnownAnswer
from .parallel import nothing
from .truth import FRESH, STAGES, all_worths, grid_of
from .tune.choice import is_better
from .tune.contestants import Setting
from .tune.course import SEARCH, course_of, loads_of
from .tune.goal import Goal, goal_of
from .tune.judging import Entry, judged
from .tune.scores import Scorer

GAPS = (0.02, 0.03, 0.04, 0.06, 0.10)
"""Edges of the strata."""

LOOKED_AT = 400
"""Settings of a space from which pairs are drawn."""

TOGETHER = 6
"""Pairs that are judged on the same fresh runs."""

FIRST_SEED = 100
"""Of the fresh runs; smaller ones are those of searches."""


class Pair(NamedTuple):
    """Two settings that differ, and who was taken for the better."""

    scenario: str
    better: Setting
    worse: Setting
    gap: float
    """The true one, as a share of the better."""
    judged: str
    """``right``, ``wrong`` or ``tie``."""
    by_search: str
    """``right`` or ``wrong``."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        sides = {"better": dict(self.better.table), "worse": dict(self.worse.table)}
        return {**self._asdict(), **sides}


class PairRow(NamedTuple):
    """Pairs of like gaps."""

    gap: str
    pairs: int
    wrong: int
    ties: int
    by_search: int
    """Wrong ones, if one run decided."""

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> list[PairRow]:
        """One row a stratum, and all."""
        rows = []
        for low, high in pairwise((*GAPS[:-1], float("inf"))):
            ends = f"{100 * low:.0f} % and more"
            if high < 1.0:
                ends = f"{100 * low:.0f} to {100 * high:.0f} %"
            rows.append(cls._row(ends, [one for one in pairs if low <= one.gap < high]))
        return [*rows, cls._row("all", pairs)]

    @classmethod
    def _row(cls, gap: str, pairs: Sequence[Pair]) -> PairRow:
        return cls(
            gap,
            len(pairs),
            sum(one.judged == "wrong" for one in pairs),
            sum(one.judged == "tie" for one in pairs),
            sum(one.by_search == "wrong" for one in pairs),
        )


def compared(known: KnownAnswer, count: int) -> list[Pair]:
    """Draw pairs of a scenario's space and judge them.

    Args:
        known: the scenario.
        count: pairs to draw; those whose true gap is below 2 % are left out.
    """
    scenario = known.scenario()
    goal = goal_of(scenario)
    drawn = _pairs(known, goal, count)
    draw = known.scenario(requests=STAGES[-1].requests).draw(FRESH)
    worths = all_worths(goal, [one for pair in drawn for one in pair], draw)
    sign = goal.objectives[0].sign
    kept = []
    for place, pair in enumerate(drawn):
        values = [sign * one.value for one in worths[2 * place : 2 * place + 2]]
        better, worse = pair if values[0] <= values[1] else pair[::-1]
        gap = abs(values[1] - values[0]) / abs(min(values))
        if gap >= GAPS[0]:
            kept.append((better, worse, gap))
    return [
        pair
        for first in range(0, len(kept), TOGETHER)
        for pair in _judged(known, goal, kept[first : first + TOGETHER], FIRST_SEED + first)
    ]


def _pairs(known: KnownAnswer, goal: Goal, count: int) -> list[tuple[Setting, Setting]]:
    """Pairs of stable settings whose gaps, on a short run, are spread evenly over the strata."""
    rng = stream(FIRST_SEED, "tuner", len(known.name))
    grid = grid_of(known.scenario())
    chosen = [grid[k] for k in rng.permutation(len(grid))[:LOOKED_AT]]
    stage = STAGES[0]
    draw = known.scenario(requests=stage.requests).draw(stage.replication)
    rate, run = known.scenario().offered_rate_per_s, driver("kernel")
    steady = [one for one in chosen if assess(one.policy, *draw, run, rate_per_s=rate).stable]
    values = np.array([abs(one.value) for one in all_worths(goal, steady, draw)])
    found: list[tuple[Setting, Setting]] = []
    free = list(rng.permutation(len(steady)))
    strata = list(pairwise(GAPS))
    while free and len(found) < count:
        low, high = strata[len(found) % len(strata)]
        first = free.pop()
        gaps = [abs(values[k] - values[first]) / min(values[k], values[first]) for k in free]
        fitting = [place for place, gap in enumerate(gaps) if low <= gap < high]
        if fitting:
            found.append((steady[first], steady[free.pop(fitting[0])]))
    return found


def _judged(
    known: KnownAnswer, goal: Goal, pairs: Sequence[tuple[Setting, Setting, float]], seed: int
) -> Iterator[Pair]:
    """What the judging and the search's run say of a few pairs."""
    scenario, run = known.scenario(seed), driver("kernel")
    entries = [
        Entry(f"{place} {side}", setting, "tuned")
        for place, pair in enumerate(pairs)
        for side, setting in enumerate(pair[:2])
    ]
    loads = loads_of(scenario)
    found = judged(scenario, goal, entries, loads, run, nothing)
    scorer = Scorer(scenario, goal, course_of(scenario, loads, [SEARCH]), run)
    for place, (better, worse, gap) in enumerate(pairs):
        first, second = found[2 * place : 2 * place + 2]
        verdict = "tie"
        if is_better(first.against(second), goal):
            verdict = "right"
        elif is_better(second.against(first), goal):
            verdict = "wrong"
        sign = goal.objectives[0].sign
        one_run = [scorer.score(one).values or (sign * math.inf,) for one in (better, worse)]
        right = sign * one_run[0][0] < sign * one_run[1][0]
        yield Pair(known.name, better, worse, gap, verdict, "right" if right else "wrong")
