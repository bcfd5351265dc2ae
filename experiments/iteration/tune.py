"""Tuning of rules of continuous batching from end to end: search, halve, judge, say.

The search itself (who is tried when, what Optuna samples, how it goes on after it was cut off) is
that of :mod:`experiments.tune`, with contestants and scores of this package.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.parallel import Progress, nothing
from experiments.stretched import of_few
from experiments.tune.choice import renamed
from experiments.tune.course import SEARCH
from experiments.tune.database import database_at
from experiments.tune.importance import importance_of
from experiments.tune.search import Search, Tried
from experiments.tune.tuning import TRACE_REPEATS, with_trials
from sim.replay import Replay

from .compare import as_scenario, driver
from .scenario import TokenScenario
from .tune_judging import entries_of, finalists, judged, winner_of
from .tune_result import TokenTuning
from .tune_scores import TokenGoal, TokenScorer, draws_of, goal_of, requests_of
from .tune_space import TokenContestant, contestants_of
from .tune_words import verdict_of


def tune(
    scenario: TokenScenario | str | Path,
    *,
    storage: str | None = None,
    study: str | None = None,
    progress: Progress | None = None,
    trials: int | None = None,
    settings: Sequence[str] = (),
) -> TokenTuning:
    """Find the best rule of a scenario and its numbers, as its ``[tune]`` table asks for it.

    The search runs on one drawn workload that all settings share; its best settings are halved on
    fresh ones, and the finalists judged on more, beside the scenario's own settings and vLLM's
    default.

    Args:
        scenario: loaded, or the name or path to load.
        storage: address of a database that keeps the study; by default it is kept in memory.
        study: its name there.
        progress: told what is being done.
        trials: settings to try, where the scenario is not loaded yet; by default as it says.
        settings: ``KEY=VALUE`` overrides, likewise.

    Raises:
        ScenarioError: the scenario, its goal, a policy or the storage is wrong.
        KeyboardInterrupt: Ctrl-C before anything could be judged.
    """
    started = time.perf_counter()
    loaded = as_scenario(scenario, with_trials(settings, trials))
    tell = progress or nothing
    goal, contestants = check_tuning(loaded)
    run: Any = driver("kernel")
    tell("drawing the workload", 0, loaded.spec.tune.trials)
    draws = draws_of(loaded, [SEARCH])
    scorer = TokenScorer(goal, loaded, draws, run)
    name, interrupted = study or f"{loaded.name}-{loaded.hash[:8]}", False
    with database_at(storage) as database:
        parts: tuple[Any, Any, Any, Any] = (loaded, goal, scorer, contestants)
        search = Search(*parts, database, name, tell)
        try:
            tried = search.go()
        except KeyboardInterrupt:
            tell("interrupted: judging what is known", 0, 1)
            tried, interrupted = search.tried(), True
    if interrupted and not any(one.score.values is not None for one in tried):
        raise KeyboardInterrupt
    best = finalists(loaded, goal, tried, run, tell)
    entries = entries_of(loaded, best)
    found: Any = judged(loaded, goal, entries, run, tell)
    found, winner = renamed(found, winner_of(found, goal, {c.kind for c in contestants}))  # type: ignore[arg-type]
    requests = sum(len(workload) for workload, _ in draws)
    facts = loaded.facts(requests, loaded.spec.tune.replications) | {"study": name}
    replayed = isinstance(loaded.workload.arrivals, Replay)
    result = TokenTuning(
        scenario=facts,
        goal=goal,
        tried=tuple(tried),
        judged=tuple(found),
        winner=winner,  # type: ignore[arg-type]
        importances=tuple(_importances(tried, contestants, goal)),
        notes=tuple(filter(None, (TRACE_REPEATS if replayed else "", of_few(facts)))),
        interrupted=interrupted,
    )
    return replace(result, verdict=verdict_of(result), seconds=time.perf_counter() - started)


def check_tuning(scenario: TokenScenario) -> tuple[TokenGoal, tuple[TokenContestant, ...]]:
    """Goal and contestants of a scenario; what cannot be tuned is refused before anything runs.

    Raises:
        ScenarioError: with what would be right.
    """
    return goal_of(scenario), contestants_of(scenario)


def _importances(
    tried: Sequence[Tried], contestants: Sequence[TokenContestant], goal: TokenGoal
) -> list[Any]:
    """What the numbers of each contestant matter, where enough of its settings were tried."""
    sign = goal.objectives[0].sign
    each = (
        importance_of(one.name, [t for t in tried if t.setting.name == one.name], 0, sign)
        for one in contestants
    )
    return [one for one in each if one is not None]


__all__ = ["check_tuning", "requests_of", "tune"]
