"""From everything that was tried to a few finalists, by sequential halving on fresh runs.

1. Every round draws a new run that all see; what is known of a setting is pooled over the rounds.
   What the search itself saw does not count: its best is partly luck.
2. After each round the worse half leaves, but the best of each contestant stays to be shown.
3. With several objectives there is no order: the settings that no other one beats go on whole.

Sources: Karnin, Koren and Somekh, ICML 2013 (sequential halving); Nelson and Matejcik, Management
Science 41, 1995 (common random numbers when choosing the best).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.parallel import Progress, in_threads
from experiments.scenario import Scenario
from sim.stability import Driver

from .contestants import Setting
from .course import ROUNDS, course_of
from .goal import Goal
from .scores import Score, Scorer
from .search import Tried, rank

FIELD = 24
"""Settings that leave the search."""

HALVINGS = 3
"""Rounds: 24, 12 and 6 settings run, 3 are left."""

FRONT = 24
"""Points of a Pareto front that are judged."""


def field_of(tried: Sequence[Tried], goal: Goal) -> list[Setting]:
    """The settings that leave the search, the best first, no setting twice."""
    steady = [one for one in tried if one.score.values is not None]
    if len(goal.objectives) > 1:
        return front_of(steady, goal)
    ranked = sorted(steady, key=lambda one: rank(one.score, goal))
    unique = list({one.setting.key: one.setting for one in reversed(ranked)}.values())[::-1]
    first = {setting.name: setting for setting in reversed(unique)}
    chosen = {setting.key: setting for setting in [*unique[:FIELD], *first.values()]}
    return [setting for setting in unique if setting.key in chosen]


def front_of(tried: Sequence[Tried], goal: Goal) -> list[Setting]:
    """Feasible settings that no other one beats in every objective, thinned evenly."""
    feasible = [one for one in tried if one.score.feasible]
    if not feasible:
        return [one.setting for one in sorted(tried, key=lambda one: one.score.excess)[:3]]
    signs = np.array([one.sign for one in goal.objectives])
    worth = np.array([one.score.values for one in feasible]) * signs
    kept = [feasible[k] for k in range(len(feasible)) if not is_dominated(worth, k)]
    unique = list({one.setting.key: one for one in kept}.values())
    unique.sort(key=lambda one: (one.score.values or ())[0])
    places = np.unique(np.linspace(0, len(unique) - 1, min(FRONT, len(unique))).round().astype(int))
    return [unique[place].setting for place in places]


def is_dominated(worth: np.ndarray, k: int) -> bool:
    """Whether some row of ``worth`` (less is better) is nowhere worse than row k, and better once.

    Args:
        worth: float64 (settings, objectives).
        k: the row.
    """
    nowhere_worse = (worth <= worth[k]).all(axis=1)
    better = (worth < worth[k]).any(axis=1)
    return bool((nowhere_worse & better).any())


def halved(
    scenario: Scenario,
    goal: Goal,
    settings: Sequence[Setting],
    loads: Sequence[float | None],
    run: Driver,
    progress: Progress,
) -> list[Setting]:
    """The finalists: three, and the best of each contestant; the best first."""
    left = list(settings)
    known: dict[str, list[Score]] = {setting.key: [] for setting in settings}
    for number in range(HALVINGS):
        if len(left) < 2 or len(goal.objectives) > 1:
            break
        progress(f"round {number + 1} of the finalists", number, HALVINGS)
        course = course_of(scenario, loads, [ROUNDS + number])
        scorer = Scorer(scenario, goal, course, run)
        names = [setting.name for setting in left]
        for setting, score in zip(
            left, in_threads(scorer.score, left, names, lambda *_: None), strict=True
        ):
            known[setting.key].append(score)
        left.sort(key=lambda one: rank(pooled(known[one.key]), goal))
        keep = FIELD // 2 ** (number + 1)
        best = {setting.name: setting.key for setting in reversed(left)}
        left = [s for place, s in enumerate(left) if place < keep or best[s.name] == s.key]
    return left


def pooled(scores: Sequence[Score]) -> Score:
    """What several runs say together: means; unstable in one is unstable."""
    for score in scores:
        if score.values is None:
            return score
    columns = zip(*(score.values or () for score in scores), strict=True)
    violations = {
        name: sum(score.violations[name] for score in scores) / len(scores)
        for name in scores[0].violations
    }
    return Score(tuple(sum(column) / len(column) for column in columns), violations)
