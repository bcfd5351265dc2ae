"""Who takes part in a comparison, on what, and how each is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.contract import NEVER, Policy
from sim.backlog import others_of
from sim.metrics import SHARES, measure
from sim.sequence_arrivals import InSequences
from sim.service import Service
from sim.stability import Driver, Stability, assess
from sim.workload import Workload

from .config import Scenario, ScenarioError, load_scenario
from .cpu_stages import with_workers
from .curves import NO_CURVES, curves_of
from .outcome import Outcome
from .rules import build_policy
from .spare import bounds_of
from .stretched import recorded

if TYPE_CHECKING:
    from .records import OnTrace

BASELINES = ("greedy", "snap", "balanced_cap")
"""Stand beside every winner: none has a parameter, and a tuned rule has to beat them."""

Draw = tuple[Workload, Service]
"""One realisation of a scenario."""


@dataclass(frozen=True)
class Entrant:
    """A policy that takes part."""

    name: str
    policy: Policy
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False


def driver(engine: str) -> Driver:
    """The compiled kernel or the SimPy model.

    Raises:
        ScenarioError: the engine is neither.
    """
    if engine == "kernel":
        from sim.kernel import run as kernel

        return kernel
    if engine == "simpy":
        from sim.model import run as model

        return model
    raise ScenarioError(f"engine = {engine!r} must be kernel or simpy")


Chosen = Iterable[str] | Mapping[str, Policy] | None
"""Names of policies, or policies of one's own by name, or all of the scenario."""


def entrants(scenario: Scenario, chosen: Chosen, *, baselines: bool) -> list[Entrant]:
    """The policies of a scenario, or those that were chosen, then the missing baselines.

    Raises:
        ScenarioError: a name is neither a policy of the scenario nor a baseline.
    """
    own = dict(scenario.policies)
    tables = scenario.to_dict()["scenario"]["policies"]
    known = {name: (policy, tables[name]) for name, policy in own.items()}
    for name in BASELINES:
        table = scenario.within_memory({"kind": name})
        known.setdefault(name, (build_policy(table), table))
    if isinstance(chosen, Mapping):
        known |= {name: (policy, described(policy)) for name, policy in chosen.items()}
    names = list(dict.fromkeys(chosen)) if chosen else list(own)
    for name in names:
        if name not in known:
            raise ScenarioError(
                f"scenario {scenario.name} has no policy {name!r}; there are {', '.join(known)}"
            )
    found = [Entrant(name, *known[name]) for name in names]
    if baselines:
        found += [
            Entrant(name, *known[name], baseline=True)
            for name in BASELINES
            if name not in names and not any(same(known[name][0], one.policy) for one in found)
        ]
    return found


def described(policy: Policy) -> dict[str, Any]:
    """The numbers of a policy that no scenario names."""
    numbers: dict[str, Any] = getattr(policy, "_asdict", dict)()
    plain = {key: value for key, value in numbers.items() if isinstance(value, int | float)}
    return {"kind": type(policy).__name__, **plain}


def same(first: Policy, second: Policy) -> bool:
    """Whether two policies, not yet bound, are one rule with the same numbers."""
    return type(first) is type(second) and repr(first) == repr(second)


def judge(
    entrant: Entrant,
    draws: Sequence[Draw],
    scenario: Scenario,
    run: Driver,
    *,
    load: float | None,
    stability: Stability | None = None,
    curves: bool = True,
    on_trace: OnTrace | None = None,
    shares: Mapping[str, float] = SHARES,
) -> Outcome:
    """Run one policy on drawn workloads and measure it; the traces are dropped.

    Args:
        entrant: the policy.
        draws: workload and service of each replication.
        scenario: where they are from.
        run: the driver.
        load: of the arrivals.
        stability: where it is known; otherwise it is found out on a backlog.
        curves: also keep what the figures of a comparison need.
        on_trace: given each trace before it is dropped.
        shares: the percentiles to measure, by name.
    """
    workload, service = draws[0]
    if stability is None:
        rate = scenario.offered_rate_per_s
        stability = assess(entrant.policy, workload, service, run, rate_per_s=rate)
    traces = []
    for replication, (workload, service) in enumerate(draws):
        trace = run(entrant.policy, workload, service)
        if scenario.memory is not None:
            scenario.memory.check_trace(entrant.name, trace)
        traces.append(trace)
        if on_trace is not None:
            on_trace(entrant.name, replication, trace)
    measures = measure(traces, service, load=load, stability=stability, shares=shares)
    urgent = next((tier for tier in scenario.tiers if tier.slo_ns != NEVER), None)
    return Outcome(
        policy=entrant.name,
        parameters=entrant.parameters,
        measures=measures,
        curves=curves_of(traces[0], stable=bool(stability.stable)) if curves else NO_CURVES,
        baseline=entrant.baseline,
        slo_ms=None if urgent is None else urgent.slo_ns / 1e6,
        slo_percentile=99.0 if urgent is None else urgent.percentile,
    )


def as_scenario(scenario: Scenario | str | Path, settings: Sequence[str] = ()) -> Scenario:
    """A loaded scenario.

    Raises:
        ScenarioError: it cannot be loaded, or was, and settings come too late.
    """
    if not isinstance(scenario, Scenario):
        return load_scenario(scenario, settings)
    refuse_settings(scenario.name, settings)
    return scenario


def refuse_settings(name: str, settings: Sequence[str]) -> None:
    """Overrides are read with the file.

    Raises:
        ScenarioError: there are some.
    """
    if settings:
        raise ScenarioError(
            f"{name} is loaded, and {settings[0]} comes too late: give the scenario's name or "
            "path, or the settings to load_scenario"
        )


def draw_all(scenario: Scenario) -> list[Draw]:
    """Every replication's workload and service."""
    return [scenario.draw(replication) for replication in range(scenario.spec.run.replications)]


def about(scenario: Scenario, draws: Sequence[Draw]) -> dict[str, Any]:
    """What a result says of its scenario; the manifest has all of it."""
    servers, first = scenario.servers, draws[0][0]
    what = "a model" if scenario.profile is None else scenario.profile.name
    others = others_of(first.tier, first.tiers)
    arrivals = scenario.workload.arrivals
    bounds = {one.tier: one.to_dict() for one in bounds_of(scenario, draws[0][1])}
    backlogs = {} if others is None else {"backlogs": bounds}
    return {
        "name": scenario.name,
        "hash": scenario.hash,
        "service": with_workers(
            f"{what}, {servers} server{'' if servers == 1 else 's'}", scenario.spec.service
        ),
        "requests": len(first) if others is None else len(others),
        "replications": len(draws),
        "offered_rate_per_s": scenario.offered_rate_per_s,
        "load": scenario.load,
        "seeds": asdict(scenario.seeds),
        **recorded(scenario.spec.workload.arrivals),
        **({} if scenario.memory is None else {"memory": scenario.memory.to_dict()}),
        **backlogs,
        **({"open_sequences": arrivals.mean_open} if isinstance(arrivals, InSequences) else {}),
    }
