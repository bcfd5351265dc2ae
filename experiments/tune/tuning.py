"""Tuning from end to end: search, halve, judge, and say what it means."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.contest import Entrant, about, as_scenario, driver
from experiments.load_curve import load_curve_of
from experiments.parallel import Progress, nothing
from experiments.results import Sweep
from experiments.scenario import Scenario
from experiments.schema_arrivals import TraceFile
from experiments.sentences import ScenarioError
from experiments.stretched import of_few, recorded
from experiments.wording import whole_run
from sim.intervals import percentile_needs
from sim.stability import Driver

from .choice import keeps_sequences, regrets, renamed, winner_of
from .contestants import Contestant, contestants_of
from .course import JUDGING, SEARCH, course_of, loads_of
from .database import database_at
from .entries import entries_of, floors_of
from .finals import field_of, halved
from .goal import Goal, goal_of
from .judging import Judged, judged
from .result import Tuning
from .scores import Scorer, TooShort
from .search import Search, Tried
from .verdict import verdict_of

if TYPE_CHECKING:
    from experiments.optimum import Floor

TRACE_REPEATS = (
    "The arrivals are a recorded trace: the fresh runs repeat them, with new luck of the servers "
    "only."
)


def tune(
    scenario: Scenario | str | Path,
    *,
    storage: str | None = None,
    study: str | None = None,
    present: Mapping[str, Mapping[str, Any]] | None = None,
    load_curve: bool = True,
    progress: Progress | None = None,
    trials: int | None = None,
    settings: Sequence[str] = (),
) -> Tuning:
    """Find the best setting of a scenario, as its ``[tune]`` table asks for it.

    The search runs on one drawn workload that all settings share; its best settings are halved on
    fresh ones, and the finalists judged on more, beside ``greedy``, ``snap``, ``balanced_cap``, the
    scenario's own settings and, where it is known, the optimum.

    Args:
        scenario: loaded, or the name or path to load.
        storage: address of a database that keeps the study, as ``postgresql://user@host/name`` or
            ``sqlite:///study.db``; by default it is kept in memory.
        study: its name there; machines that give the same address and name work on one study.
        present: settings to judge beside the others, tables as a scenario file has them, by name.
        load_curve: also run the winner and the baselines at a few loads, for a figure.
        progress: told what is being done.
        trials: settings to try, where the scenario is not loaded yet; by default as it says.
        settings: ``KEY=VALUE`` overrides, likewise.

    Raises:
        ScenarioError: the scenario, its goal, a policy or the storage is wrong, or the run is too
            short for the percentile.
        Interrupted: Ctrl-C before anything could be judged.
    """
    scenario = as_scenario(scenario, with_trials(settings, trials))
    tell, present = progress or nothing, present or {}
    started = time.perf_counter()
    goal, contestants = check_tuning(scenario)
    loads = loads_of(scenario)
    run = driver("kernel")
    tell("drawing the workload", 0, scenario.spec.tune.trials)
    course = course_of(scenario, loads, [SEARCH])
    scorer = Scorer(scenario, goal, course, run)
    name, interrupted = study or f"{scenario.name}-{scenario.hash[:8]}", False
    with database_at(storage) as database:
        search = Search(scenario, goal, scorer, contestants, database, name, tell)
        try:
            tried = search.go()
        except TooShort as error:
            raise _too_short(scenario, error.needs) from error
        except KeyboardInterrupt:
            tell("interrupted: judging what is known", 0, 1)
            tried, interrupted = search.tried(), True
    if not any(one.score.values is not None for one in tried) and interrupted:
        raise KeyboardInterrupt
    found = _judged(scenario, goal, tried, loads, run, present, tell)
    winner = winner_of(
        found,
        goal,
        baselines_compete=scenario.spec.tune.policies is None,
        slots_only=all(keeps_sequences(one.kind) for one in contestants),
    )
    found, winner = renamed(found, winner)
    curve = _load_curve(scenario, found, winner, run, tell) if load_curve else None
    result = Tuning(
        scenario=about(scenario, list(course[0].draws))
        | {"study": name, "replications": scenario.spec.tune.replications},
        goal=goal,
        tried=tuple(tried),
        judged=tuple(found),
        winner=winner,
        regret=regrets(found, goal),
        floors=_floors(scenario, goal, loads, winner),
        verdict="",
        seconds=time.perf_counter() - started,
        load_curve=curve,
        notes=_notes(scenario),
        interrupted=interrupted,
    )
    return replace(result, verdict=verdict_of(result), seconds=time.perf_counter() - started)


def with_trials(settings: Sequence[str], trials: int | None) -> list[str]:
    """Overrides, and one for how many settings are tried."""
    return [*settings, *([] if trials is None else [f"tune.trials={trials}"])]


def check_tuning(scenario: Scenario) -> tuple[Goal, tuple[Contestant, ...]]:
    """Goal and contestants of a scenario; what cannot be tuned is refused before anything runs.

    Raises:
        ScenarioError: with what would be right.
    """
    goal, contestants, loads = goal_of(scenario), contestants_of(scenario), loads_of(scenario)
    if scenario.offered_rate_per_s is None and (goal.finds_load or loads != (None,)):
        raise ScenarioError(
            f"{scenario.name}: a closed loop has no arrival rate, so tune.loads and the objective "
            'capacity have no meaning; give open arrivals, as { process = "poisson", load = 0.6 }'
        )
    requests = scenario.spec.workload.requests
    needs = max((percentile_needs(share) for share in goal.shares.values()), default=0)
    if requests is not None and requests * 0.9 < needs:
        raise _too_short(scenario, needs)
    return goal, contestants


def _too_short(scenario: Scenario, needs: int) -> ScenarioError:
    shares = [tier.share for tier in scenario.spec.workload.tiers or () if tier.slo and tier.share]
    total = math.ceil(whole_run(needs) / float(min(shares, default=1)))
    if isinstance(scenario.spec.workload.arrivals, TraceFile):
        return ScenarioError(
            f"{scenario.name}: the trace is too short for the percentiles of the goal, which take "
            f"{total} requests: aim at the mean, as --objective mean --set tune.slo=false, or let "
            "`batchwright init --from-log FILE --arrivals mmpp` fit a process, which never ends"
        )
    return ScenarioError(
        f"{scenario.name}: workload.requests = {scenario.spec.workload.requests} is too few for "
        f"the percentiles of the goal: give at least {total}, as --set workload.requests={total}"
    )


def _judged(
    scenario: Scenario,
    goal: Goal,
    tried: Sequence[Tried],
    loads: Sequence[float | None],
    run: Driver,
    present: Mapping[str, Mapping[str, Any]],
    tell: Progress,
) -> list[Judged]:
    """Halve what was found, then judge it beside baselines, present settings and the optimum."""
    try:
        finalists = halved(scenario, goal, field_of(tried, goal), loads, run, tell)
        entries = entries_of(scenario, goal, finalists, tried, loads, present)
        return judged(scenario, goal, entries, loads, run, tell)
    except TooShort as error:
        raise _too_short(scenario, error.needs) from error


def _floors(
    scenario: Scenario, goal: Goal, loads: Sequence[float | None], winner: Judged | None
) -> tuple[Floor | None, ...]:
    """The least possible at each load, on the runs that judged the winner."""
    if winner is None:
        return ()
    fresh = range(JUDGING, JUDGING + scenario.spec.tune.replications)
    course = course_of(scenario, loads, fresh)
    return floors_of(scenario, goal, loads, winner.setting.servers, course)


def _load_curve(
    scenario: Scenario,
    found: Sequence[Judged],
    winner: Judged | None,
    run: Driver,
    tell: Progress,
) -> Sweep | None:
    """Latency against load, of the winner and the baselines."""
    if winner is None or not scenario.load:
        return None
    shown = [one for one in found if one is winner or one.role == "baseline"]
    (leg,) = course_of(scenario, [None], [JUDGING])
    contest = [
        (Entrant(one.name, one.setting.policy, dict(one.setting.table)), one.outcomes[0])
        for one in shown
    ]
    draw = leg.on(winner.setting.servers)[0]
    return load_curve_of(scenario, contest, draw, run, tell)


def _notes(scenario: Scenario) -> tuple[str, ...]:
    """What a reader should know of the fresh runs."""
    from sim.replay import Replay

    if not isinstance(scenario.workload.arrivals, Replay):
        return ()
    few = of_few(recorded(scenario.spec.workload.arrivals))
    return (TRACE_REPEATS, few) if few else (TRACE_REPEATS,)
