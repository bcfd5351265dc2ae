"""Run rules of continuous batching on a scenario: one, or several on the same arrivals.

1. All rules see the same arrivals, prompts, outputs, tiers and noise.
2. What a rule serves when requests never run out is found first; of one that cannot keep up no
   latency is given.
3. Traces are dropped as soon as they are measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.contest import refuse_settings
from experiments.parallel import Interrupted, Progress, in_threads, nothing
from experiments.plain import plain
from experiments.sentences import ScenarioError, suggestion
from policies.iteration import RULES
from policies.iteration.contract import Rule
from sim.iteration.curves import curves_of
from sim.iteration.metrics import measure, paired_difference
from sim.iteration.trace import TokenTrace

from .config import load_scenario
from .outcome import TokenGap, TokenOutcome, judged_by, ties
from .results import TokenComparison
from .saturation import Draw, Driver, saturation_per_s
from .scenario import TokenScenario
from .verdict import verdict_of

OnTrace = Callable[[str, int, TokenTrace], None]

TOKENS_TOGETHER = 60_000_000
"""Output tokens that are simulated at the same time, at about 12 bytes each."""


def simulate(
    scenario: TokenScenario | str | Path,
    policy: str | None = None,
    engine: str = "kernel",
    progress: Progress | None = None,
    on_trace: OnTrace | None = None,
    *,
    settings: Sequence[str] = (),
) -> TokenComparison:
    """Run one rule on a scenario.

    Args:
        scenario: loaded, or the name or path to load.
        policy: a policy of the scenario; by default its first.
        engine: ``kernel`` or ``simpy``.
        progress: told what is being done.
        on_trace: given each trace before it is dropped.
        settings: ``KEY=VALUE`` overrides, where the scenario is not loaded yet.

    Raises:
        ScenarioError: the scenario, the policy's name or the engine is wrong.
    """
    loaded = as_scenario(scenario, settings)
    name = policy or next(iter(loaded.policies))
    return compare(loaded, [name], engine, progress, on_trace=on_trace)


def compare(
    scenario: TokenScenario | str | Path,
    policies: Sequence[str] | Mapping[str, Rule] | None = None,
    engine: str = "kernel",
    progress: Progress | None = None,
    *,
    on_trace: OnTrace | None = None,
    settings: Sequence[str] = (),
) -> TokenComparison:
    """Run several rules on the same arrivals, lengths and noise.

    Args:
        scenario: loaded, or the name or path to load.
        policies: names, or rules of your own by name; by default all of the scenario.
        engine: ``kernel`` or ``simpy``.
        progress: told what is being done.
        on_trace: given each trace before it is dropped.
        settings: ``KEY=VALUE`` overrides, where the scenario is not loaded yet.

    Raises:
        ScenarioError: the scenario, a policy's name or the engine is wrong.
        KeyboardInterrupt: Ctrl-C before any rule was done; later the result says ``interrupted``.
    """
    started = time.perf_counter()
    loaded, run, tell = as_scenario(scenario, settings), driver(engine), progress or nothing
    field = entrants(loaded, policies)
    tell("drawing the workload", 0, len(field))
    draws = [loaded.draw(k) for k in range(loaded.spec.run.replications)]
    tokens = sum(int(workload.output.sum()) for workload, _ in draws)

    def one(name: str) -> TokenOutcome:
        return judge(name, field[name], draws, loaded, run, on_trace)

    names, interrupted = list(field), False
    try:
        at_once = max(1, TOKENS_TOGETHER // max(1, tokens))
        outcomes = in_threads(one, names, names, tell, at_once)
    except Interrupted as stopped:
        outcomes, interrupted = stopped.done, True
    if not outcomes:
        raise KeyboardInterrupt
    found = TokenComparison(
        scenario=loaded.facts(sum(len(workload) for workload, _ in draws), len(draws)),
        engine=engine,
        outcomes=tuple(outcomes),
        verdict="",
        seconds=time.perf_counter() - started,
        differences=tuple(gaps(outcomes)),
        interrupted=interrupted,
    )
    return replace(found, verdict=verdict_of(found))


def as_scenario(
    scenario: TokenScenario | str | Path, settings: Sequence[str] = ()
) -> TokenScenario:
    """A loaded scenario.

    Raises:
        ScenarioError: it cannot be loaded, or was, and settings come too late.
    """
    if not isinstance(scenario, TokenScenario):
        return load_scenario(scenario, settings)
    refuse_settings(scenario.name, settings)
    return scenario


def driver(engine: str) -> Driver:
    """The driver of a name.

    Raises:
        ScenarioError: there is no such engine.
    """
    if engine == "kernel":
        from sim.iteration import kernel

        return kernel.run
    if engine == "simpy":
        from sim.iteration import model

        return model.run
    raise ScenarioError(f"there is no engine {engine!r}; give kernel or simpy")


def entrants(
    scenario: TokenScenario, policies: Sequence[str] | Mapping[str, Rule] | None
) -> dict[str, Rule]:
    """Who takes part, by name.

    Raises:
        ScenarioError: a name that the scenario does not have.
    """
    if isinstance(policies, Mapping):
        return dict(policies)
    found = {}
    for name in policies or scenario.policies:
        if name not in scenario.policies:
            hint = suggestion(name, scenario.policies)
            raise ScenarioError(f"{scenario.name} has no policy {name!r}; {hint}")
        found[name] = scenario.policies[name]
    return found


def judge(
    name: str,
    rule: Rule,
    draws: Sequence[Draw],
    scenario: TokenScenario,
    run: Driver,
    on_trace: OnTrace | None = None,
) -> TokenOutcome:
    """One rule on all replications."""
    served = saturation_per_s(rule, draws, run)
    traces = []
    for replication, (workload, serving) in enumerate(draws):
        trace = run(rule, workload, serving)
        if on_trace is not None:
            on_trace(name, replication, trace)
        traces.append(trace)
    measures = measure(
        traces,
        scenario.targets,
        drifts=bool(scenario.spec.engine.drift),
        saturation_per_s=served,
        offered_per_s=scenario.offered_rate_per_s,
    )
    table = scenario.spec.policies.get(name)
    if table is None or scenario.policies[name] is not rule:
        table = parameters_of(rule)
    return TokenOutcome(name, plain(table), measures, scenario.targets, curves_of(traces[0]))


def parameters_of(rule: Rule) -> dict[str, Any]:
    """Kind and numbers of a rule that no scenario names."""
    from experiments.contest import described

    kinds = {cls: kind for kind, cls in RULES.items()}
    found = described(rule)  # type: ignore[arg-type]
    return found | {"kind": kinds.get(type(rule), type(rule).__name__)}


def gaps(outcomes: Sequence[TokenOutcome]) -> list[TokenGap]:
    """Paired differences of stable rules against the best and against the first."""
    steady = [o for o in outcomes if o.stable]
    tied = ties(steady)
    if not tied:
        return []
    statistics = dict.fromkeys(
        (judged_by(outcomes), "latency_ms.mean", "ttft_ms.mean", "tpot_ms.mean")
    )
    rivals = dict.fromkeys((tied[0], steady[0].policy))
    by_name = {o.policy: o for o in steady}
    return [
        TokenGap(o.policy, rival, statistic, paired_difference(o.measures, other, statistic))
        for rival in rivals
        for other in (by_name[rival].measures,)
        for o in steady
        if o.policy != rival
        for statistic in statistics
    ]
