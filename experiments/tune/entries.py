"""Who is judged: finalists, the best for each load, baselines, present settings, the optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.contest import BASELINES, Draw
from experiments.scenario import Scenario
from policies.contract import IntArray, Policy, bind

from .contestants import Setting
from .course import Course
from .goal import Goal
from .judging import Entry, Role
from .search import Tried

if TYPE_CHECKING:
    from experiments.optimum import Floor


def entries_of(
    scenario: Scenario,
    goal: Goal,
    finalists: Sequence[Setting],
    tried: Sequence[Tried],
    loads: Sequence[float | None],
    present: Mapping[str, Mapping[str, Any]],
) -> list[Entry]:
    """Finalists in their order, the best for each load, baselines, present settings, the optimum.

    Args:
        scenario: whose own settings are present ones.
        goal: what is looked for.
        finalists: the best first.
        tried: everything that was tried, for the best of each load.
        loads: that are tuned for.
        present: more present settings, tables by name.
    """
    guests = _Guests(scenario)
    servers = finalists[0].servers if finalists else scenario.servers
    plain = {name: scenario.within_memory({"kind": name}) for name in BASELINES}
    baselines = [Setting(name, table, servers) for name, table in plain.items()]
    alike = {guests.identity(one) for one in baselines}
    for setting in finalists:
        if guests.identity(setting) not in alike:
            guests.add(f"tuned_{setting.name}", setting, "tuned")
    if len(loads) > 1 and len(goal.objectives) == 1:
        for place, load in enumerate(loads):
            one = best_at(tried, goal, place)
            if one is not None and guests.identity(one) not in guests.known:
                guests.add(f"best_at_{load:g}", one, "tuned")
    for one in baselines:
        guests.add(one.name, one, "baseline")
    for name, table in {**_own(scenario), **present}.items():
        setting = Setting(name, table, scenario.servers)
        if guests.identity(setting) not in alike:
            taken = name in BASELINES
            guests.add(f"present_{name}" if taken else name, setting, "present")
    take = _optimal_table(scenario, goal, loads)
    if take is not None:
        table = {"kind": "optimal", "take": take.tolist()}
        guests.add("optimal", Setting("optimal", table, scenario.servers), "optimal")
    return guests.entries


@dataclass
class _Guests:
    """Entries with names of their own."""

    scenario: Scenario
    entries: list[Entry] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def add(self, name: str, setting: Setting, role: Role) -> None:
        """One more; a number tells it from another of its name."""
        taken = {entry.name for entry in self.entries}
        number = 2
        unique = name
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        self.known.add(self.identity(setting))
        self.entries.append(Entry(unique, setting, role))

    def identity(self, setting: Setting) -> str:
        """Equal for settings that are one rule with the same numbers once they are bound."""
        bound = bind(
            setting.policy,
            self.scenario.service_ns.max(axis=0),
            self.scenario.length_edges,
            self.scenario.tiers,
            setting.servers,
        )
        return repr((type(bound), bound, setting.servers))


def best_at(tried: Sequence[Tried], goal: Goal, place: int) -> Setting | None:
    """The feasible setting that the search found best at one load."""
    sign = goal.objectives[0].sign
    known = [
        (sign * one.score.by_load[place]["objectives"][0]["value"], k)
        for k, one in enumerate(tried)
        if one.score.feasible and one.score.by_load
    ]
    return tried[min(known)[1]].setting if known else None


def _own(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """The scenario's own policies as tables; one that was computed is written out."""
    tables = scenario.to_dict()["scenario"]["policies"]
    return {name: _written(tables[name], one) for name, one in scenario.policies.items()}


def _written(table: dict[str, Any], policy: Policy) -> dict[str, Any]:
    take = getattr(policy, "take", None)
    if take is not None:
        return {"kind": table["kind"], "take": [int(count) for count in take]}
    return dict(table)


def floors_of(
    scenario: Scenario,
    goal: Goal,
    loads: Sequence[float | None],
    servers: int | None,
    course: Course = (),
) -> tuple[Floor | None, ...]:
    """The least that any rule can reach at each load, for a latency of all requests.

    With the course of the judging, what its own arrivals forbid counts, too.
    """
    from experiments.optimum import MEASURES, best_possible

    measure = goal.objectives[0]
    rate, load = scenario.offered_rate_per_s, scenario.load
    if not measure.word.statistic.startswith("latency_ms.") or measure.tier is not None:
        return ()
    if scenario.workload.backlogs:
        return ()
    if servers is None or rate is None or load is None:
        return ()
    name = measure.word.statistic.removeprefix("latency_ms.")
    if name not in MEASURES:
        return ()
    rates = [None if each is None else rate * each / load for each in loads]
    draws: Sequence[list[Draw] | None] = [leg.on(servers) for leg in course] or [None] * len(rates)
    return tuple(
        best_possible(scenario, name, rate_per_s=each, servers=servers, draws=drawn)
        for each, drawn in zip(rates, draws, strict=True)
    )


def _optimal_table(
    scenario: Scenario, goal: Goal, loads: Sequence[float | None]
) -> IntArray | None:
    """The table of the semi-Markov optimum, where there is one for the one load."""
    if len(loads) > 1 or scenario.spec.tune.servers is not None:
        return None
    floors = floors_of(scenario, goal, loads, scenario.servers)
    optimum = floors[0].optimum if floors and floors[0] is not None else None
    return None if optimum is None else optimum.take
