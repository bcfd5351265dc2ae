"""The judging: finalists, baselines and present settings on fresh runs, all on the same ones.

What the report says of a setting comes from here, and never from the search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from experiments.capacity_rate import Limit, largest_rate
from experiments.contest import Entrant, judge
from experiments.load_curve import at_other_rate
from experiments.outcome import Outcome
from experiments.parallel import Progress, in_threads
from experiments.scenario import Scenario
from sim.intervals import Difference, Estimate, paired, sectioned
from sim.metrics import SHARES
from sim.stability import Driver, assess

from .contestants import Setting
from .course import JUDGING, Course, Leg, course_of
from .goal import Goal
from .scores import STABLE, over_loads

Role = Literal["tuned", "baseline", "present", "optimal"]


@dataclass(frozen=True)
class Entry:
    """A setting that is to be judged."""

    name: str
    setting: Setting
    role: Role


@dataclass(frozen=True)
class Judged:
    """A setting with what it did on the fresh runs."""

    name: str
    setting: Setting
    role: Role
    loads: tuple[float | None, ...]
    outcomes: tuple[Outcome, ...]
    """One a load."""
    objectives: tuple[tuple[Estimate, ...], ...]
    """One a load, then one an objective."""
    violations: dict[str, float]
    """The largest over the loads; at most 0 where the constraint holds."""
    saturation_per_s: float | None
    unstable_above: float | None
    """The load of the scenario from which on it cannot keep up."""
    limit: Limit | None = None
    """The largest rate that meets the SLOs, where that is the objective."""

    @property
    def stable(self) -> bool:
        """Whether it keeps up at every load."""
        return all(outcome.stable for outcome in self.outcomes)

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds at every load, with its confidence bound."""
        return self.stable and all(v <= 0.0 for v in self.violations.values())

    @property
    def broken(self) -> list[str]:
        """The constraints that do not hold."""
        return [name for name, violation in self.violations.items() if violation > 0.0]

    @cached_property
    def worth(self) -> tuple[Estimate, ...]:
        """The objectives over all loads, each with its interval."""
        if self.limit is not None:
            return (self.limit.estimate,)
        return tuple(over_all_loads(column) for column in zip(*self.objectives, strict=True))

    def against(self, other: Judged, objective: int = 0) -> Difference:
        """The paired difference of an objective, this one less the other."""
        return paired(self.worth[objective], other.worth[objective])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the measures of the outcomes."""
        return {
            "name": self.name,
            "role": self.role,
            "table": dict(self.setting.table),
            "servers": self.setting.servers,
            "feasible": self.feasible,
            "broken": self.broken,
            "violations": self.violations,
            "objectives": [one.to_json() for one in self.worth],
            "saturation_per_s": self.saturation_per_s,
            "unstable_above_load": self.unstable_above,
            "largest_rate": None if self.limit is None else self.limit.to_dict(),
        }


def over_all_loads(estimates: Sequence[Estimate]) -> Estimate:
    """One estimate for several loads, section by section (see ``scores.over_loads``)."""
    if len(estimates) == 1:
        return estimates[0]
    values = [one.value for one in estimates]
    if any(value is None for value in values):
        return next(one for one in estimates if one.value is None)
    whole = over_loads([value for value in values if value is not None])
    n = min(one.n for one in estimates)
    if not all(one.sections for one in estimates):
        return Estimate(whole, None, None, n)
    parts = [over_loads(list(each)) for each in zip(*(e.sections for e in estimates), strict=True)]
    return sectioned(whole, np.array(parts), n)


def judged(
    scenario: Scenario,
    goal: Goal,
    entries: Sequence[Entry],
    loads: Sequence[float | None],
    run: Driver,
    progress: Progress,
) -> list[Judged]:
    """Judge every entry on the same fresh runs, in threads."""
    replications = range(JUDGING, JUDGING + scenario.spec.tune.replications)
    progress("judging on fresh runs", 0, len(entries))
    bench = _Bench(scenario, goal, course_of(scenario, loads, replications), run)
    names = [f"judging {entry.name}" for entry in entries]
    return in_threads(bench.judged, list(entries), names, progress)


@dataclass(frozen=True)
class _Bench:
    scenario: Scenario
    goal: Goal
    course: Course
    run: Driver

    def judged(self, entry: Entry) -> Judged:
        """One entry at every load."""
        first = self.course[0]
        setting = entry.setting
        workload, service = first.on(setting.servers)[0]
        base = assess(setting.policy, workload, service, self.run, rate_per_s=first.rate_per_s)
        outcomes = tuple(self._outcome(entry, leg, base) for leg in self.course)
        objectives, worst = [], {STABLE: _headroom(outcomes)}
        for outcome in outcomes:
            if self.goal.finds_load:
                break
            objectives.append(tuple(self.goal.values(outcome.measures, setting.servers)))
            if not outcome.stable:
                continue
            found = self.goal.violations(outcome.measures, setting.servers)
            for constraint, violation in zip(self.goal.constraints, found, strict=True):
                worst[constraint.title] = max(worst.get(constraint.title, -math.inf), violation)
        limit = self._limit(setting, first) if self.goal.finds_load else None
        if limit is not None:
            worst = {"SLO": -1.0 if limit.low else 1.0}
        saturation = base.saturation_per_s
        return Judged(
            entry.name, setting, entry.role,
            loads=tuple(leg.load for leg in self.course),
            outcomes=outcomes,
            objectives=tuple(objectives),
            violations=worst,
            saturation_per_s=saturation,
            unstable_above=None
            if saturation is None or base.bounded_by
            else saturation / self.scenario.rate_max_per_s,
            limit=limit,
        )  # fmt: skip

    def _outcome(self, entry: Entry, leg: Leg, base: Any) -> Outcome:
        found = base
        if leg.rate_per_s is not None and base.rate_per_s:
            first = self.course[0].rate_per_s
            assert first is not None, "legs are open together"
            found = at_other_rate(base, leg.rate_per_s / first)
        return judge(
            Entrant(entry.name, entry.setting.policy, dict(entry.setting.table)),
            leg.on(entry.setting.servers),
            self.scenario,
            self.run,
            load=leg.load,
            stability=found,
            shares=SHARES | self.goal.shares,
        )

    def _limit(self, setting: Setting, leg: Leg) -> Limit:
        assert leg.rate_per_s is not None, "capacity needs an open workload"
        return largest_rate(
            setting.policy, leg.on(setting.servers), self.run, self.scenario.tiers,
            base_rate_per_s=leg.rate_per_s,
        )  # fmt: skip


def _headroom(outcomes: Sequence[Outcome]) -> float:
    loads = [
        found.load - 1.0
        for outcome in outcomes
        if (found := outcome.measures.stability) is not None
        and found.load is not None
        and not found.bounded_by
    ]
    return max(loads, default=-1.0)
