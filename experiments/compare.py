"""Run a scenario: one policy, several on the same arrivals, or several over values of a key.

1. All policies of a comparison see the same arrivals, lengths, tiers, patience and noise.
2. Whether a policy can keep up is found out first, on a backlog; of an unstable one no latency is
   given.
3. Traces are dropped as soon as they are measured; figures keep a few hundred points.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.metrics import paired_difference

from .config import Scenario, load_scenario
from .contest import (
    BASELINES,
    Chosen,
    Draw,
    Entrant,
    about,
    as_scenario,
    draw_all,
    driver,
    entrants,
    judge,
)
from .exact_waits import KEY, exact_waits
from .load_curve import load_curve_of
from .outcome import Gap, Outcome, best_of, judged_by
from .parallel import Interrupted, Progress, in_threads, nothing
from .results import Comparison, Simulation, Step, Sweep
from .verdict import sweep_verdict, verdict_of

if TYPE_CHECKING:
    from .records import OnTrace

TOGETHER = 8_000_000
"""Requests simulated at the same time, at about 60 bytes each."""


def simulate(
    scenario: Scenario | str | Path,
    policy: str | None = None,
    engine: str = "kernel",
    progress: Progress | None = None,
    on_trace: OnTrace | None = None,
    *,
    settings: Sequence[str] = (),
) -> Simulation:
    """Run one policy on a scenario.

    Args:
        scenario: loaded, or the name or path to load.
        policy: a policy of the scenario or a baseline; by default the scenario's first.
        engine: ``kernel`` or ``simpy``.
        progress: told what is being done.
        on_trace: given each trace before it is dropped.
        settings: ``KEY=VALUE`` overrides, where the scenario is not loaded yet.

    Raises:
        ScenarioError: the scenario, the policy's name or the engine is wrong.
    """
    started = time.perf_counter()
    loaded, tell = as_scenario(scenario, settings), progress or nothing
    (entrant,) = entrants(loaded, [policy or next(iter(loaded.policies))], baselines=False)
    run = driver(engine)
    tell("drawing the workload", 0, 2)
    draws = draw_all(loaded)
    tell(entrant.name, 1, 2)
    outcome = judge(
        entrant, draws, loaded, run,
        load=loaded.load, on_trace=on_trace,
    )  # fmt: skip
    tell("done", 2, 2)
    facts = {**about(loaded, draws), **known_waits(loaded, [entrant])}
    found = Simulation(facts, engine, (outcome,), "", time.perf_counter() - started)
    alone = Comparison(facts, engine, (outcome,), "", 0.0)
    return replace(found, verdict=verdict_of(alone))


def compare(
    scenario: Scenario | str | Path,
    policies: Chosen = None,
    engine: str = "kernel",
    progress: Progress | None = None,
    *,
    load_curve: bool = True,
    on_trace: OnTrace | None = None,
    settings: Sequence[str] = (),
) -> Comparison:
    """Run several policies on the same arrivals, lengths and noise.

    The baselines that the scenario lacks are added.  The load curve plays the first requests of
    the same arrivals faster and slower, so that each load has the same luck.

    Args:
        scenario: loaded, or the name or path to load.
        policies: names, or policies of your own by name; by default all of the scenario.
        engine: ``kernel`` or ``simpy``.
        progress: told what is being done.
        load_curve: also run a few loads (never in closed loops).
        on_trace: given each trace before it is dropped.
        settings: ``KEY=VALUE`` overrides, where the scenario is not loaded yet.

    Raises:
        ScenarioError: the scenario, a policy's name or the engine is wrong.
        Interrupted: Ctrl-C; it carries the comparison of the policies that are done.
    """
    started = time.perf_counter()
    loaded, run, tell = as_scenario(scenario, settings), driver(engine), progress or nothing
    field_ = entrants(loaded, policies, baselines=True)
    tell("drawing the workload", 0, len(field_))
    draws = draw_all(loaded)

    def one(entrant: Entrant) -> Outcome:
        return judge(
            entrant, draws, loaded, run,
            load=loaded.load, on_trace=on_trace,
        )  # fmt: skip

    at_once = max(1, TOGETHER // max(1, sum(len(workload) for workload, _ in draws)))
    curve = None
    interrupted = False
    outcomes: list[Outcome] = []
    try:
        outcomes = in_threads(one, field_, [e.name for e in field_], tell, at_once)
        if load_curve and engine == "kernel" and loaded.load:
            curve = load_curve_of(
                loaded, list(zip(field_, outcomes, strict=True)), draws[0], run, tell
            )
    except Interrupted as stopped:
        outcomes, interrupted = outcomes or stopped.done, True
    if not outcomes:
        raise KeyboardInterrupt
    found = Comparison(
        scenario={**about(loaded, draws), **known_waits(loaded, field_)},
        engine=engine,
        outcomes=tuple(outcomes),
        verdict="",
        seconds=time.perf_counter() - started,
        differences=tuple(gaps(outcomes)),
        load_curve=curve,
        interrupted=interrupted,
    )
    return replace(found, verdict=verdict_of(found))


def known_waits(scenario: Scenario, field_: Sequence[Entrant]) -> dict[str, Any]:
    """The facts about mean waits that theory adds to a result; none where it knows none."""
    found = exact_waits(scenario, {entrant.name: entrant.policy for entrant in field_})
    return {KEY: found} if found else {}


def gaps(outcomes: Sequence[Outcome]) -> list[Gap]:
    """Paired differences of stable policies against the best and against the baselines."""
    steady = [o for o in outcomes if o.stable]
    best = best_of(steady)
    measures = dict.fromkeys(("mean", judged_by(steady)))
    return [
        Gap(one.policy, other.policy, m,
            paired_difference(one.measures, other.measures, f"latency_ms.{m}"))
        for other in steady
        if other.policy == best or other.policy in BASELINES
        for one in steady
        if one is not other
        for m in measures
    ]  # fmt: skip


def sweep(
    scenario: str | Path,
    over: Mapping[str, Sequence[Any]],
    policies: Chosen = None,
    engine: str = "kernel",
    progress: Progress | None = None,
    *,
    settings: Sequence[str] = (),
) -> Sweep:
    """Compare policies at every combination of the values of some keys.

    Args:
        scenario: the name or path to load.
        over: values by dotted key, as ``{"workload.arrivals.load": [0.3, 0.6, 0.9]}``.
        policies: names, or policies of your own by name; by default all of the scenario.
        engine: ``kernel`` or ``simpy``.
        progress: told what is being done.
        settings: ``KEY=VALUE`` overrides that hold at every step.

    Raises:
        ScenarioError: the scenario is wrong at some step; found before anything runs.
    """
    started = time.perf_counter()
    run, tell = driver(engine), progress or nothing
    grid = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
    loaded = [
        load_scenario(scenario, [*settings, *(f"{key}={value}" for key, value in at.items())])
        for at in grid
    ]
    chosen = policies if policies is None or isinstance(policies, Mapping) else list(policies)
    steps: list[Step] = []
    facts: dict[str, Any] = {}
    interrupted = False
    for number, (at, here) in enumerate(zip(grid, loaded, strict=True)):
        tell(", ".join(f"{k.rpartition('.')[2]} {v}" for k, v in at.items()), number, len(grid))
        field_ = entrants(here, chosen, baselines=True)
        draws = draw_all(here)
        facts = facts or about(here, draws)

        def one(entrant: Entrant, here: Scenario = here, draws: list[Draw] = draws) -> Outcome:
            return judge(entrant, draws, here, run, load=here.load, curves=False)

        try:
            outcomes = in_threads(one, field_, [e.name for e in field_], nothing)
        except Interrupted:
            interrupted = True
            break
        plain_at = {k: number_or_text(v) for k, v in at.items()}
        steps.append(Step(plain_at, tuple(outcomes), here.load))
    if not steps:
        raise KeyboardInterrupt
    found = Sweep(facts, tuple(over), tuple(steps), engine, interrupted=interrupted)
    seconds = time.perf_counter() - started
    return replace(found, verdict=sweep_verdict(found), seconds=seconds)


def number_or_text(value: Any) -> Any:
    """A swept value as JSON and axes take it: decimals become int or float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
