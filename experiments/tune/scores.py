"""What a setting is worth on a course: its objectives, and by how much it breaks constraints.

1. A setting whose largest batch cannot keep up even without padding is out before anything is
   simulated; one that a backlog shows to be too slow is out before the course is run.
2. Over several loads the objective is the geometric mean of its values (so that one per cent counts
   the same at each load), and the largest violation of each constraint counts.
3. A score is plain numbers: it is kept with the trial, and a setting is never scored twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from experiments.capacity_rate import largest_rate
from experiments.scenario import Scenario
from policies.contract import NEVER, FloatArray, PolicyError, bind
from sim.intervals import TAIL_PER_SECTION, percentile_needs
from sim.metrics import measure
from sim.sections import WARM_UP
from sim.stability import Driver, Stability, assess

from .contestants import Setting, largest_size
from .course import Course, Leg
from .goal import Goal

LEAST_SERVED = 0.9
"""Share of requests below which a run that would be long enough is not too short: its setting
serves too few."""

STABLE = "stable"
"""The name of the constraint that every setting has."""

SEARCH_TOLERANCE = 0.01
"""Of a largest rate while searching; finalists are measured more finely."""

SCORE = "score"
"""The name under which a score is kept with a trial."""

GLANCE = 12_000
"""Requests of a first look, more where a percentile is beyond p99."""

GLANCE_TAIL = 2
"""Requests beyond a percentile in each section of it: enough for an order, not for an interval."""

UNBOUNDED = 1e6
"""Stands for a violation without limit: Optuna's storage takes finite numbers."""


@dataclass(frozen=True)
class Score:
    """One setting on one course."""

    values: tuple[float, ...] | None
    """One an objective, in its own unit; None where there are none, as of an unstable setting."""
    violations: dict[str, float]
    """By constraint; at most 0 where it holds."""
    saturation_per_s: float | None = None
    """Requests per second that the setting can serve; None where nobody found out."""
    by_load: list[dict[str, Any]] = field(default_factory=list)
    """Load, rate, and each objective with its interval."""
    reason: str = ""
    """Why there are no values."""

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds."""
        return self.values is not None and all(v <= 0.0 for v in self.violations.values())

    @property
    def excess(self) -> float:
        """Sum of the violations; 0 where all constraints hold."""
        return sum(max(0.0, v) for v in self.violations.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Score:
        """What ``to_dict`` gave."""
        values = found["values"]
        return cls(**{**found, "values": None if values is None else tuple(values)})


@dataclass(frozen=True)
class Scorer:
    """Scores settings of a scenario on one course; safe to call from threads."""

    scenario: Scenario
    goal: Goal
    course: Course
    run: Driver
    width: float = 1.0
    """Of the intervals that constraints hold with."""
    tail: int = TAIL_PER_SECTION
    """Requests beyond a percentile that a section must have."""

    def score(self, setting: Setting) -> Score:
        """Run a setting, unless it cannot keep up."""
        stability, reason = self._stability(setting)
        if not stability.stable:
            return _unstable(self.goal, stability, reason)
        if self.goal.finds_load:
            return self._largest_rate(setting, stability)
        try:
            parts = [self._on_leg(setting, leg, stability) for leg in self.course]
        except (PolicyError, ServesFew) as error:
            return Score(None, {STABLE: UNBOUNDED}, stability.saturation_per_s, reason=str(error))
        violations = {STABLE: _headroom(stability)}
        for place, constraint in enumerate(self.goal.constraints):
            worst = max(violation[place] for _, violation in parts)
            violations[constraint.title] = min(worst, UNBOUNDED)
        legs = [leg for leg, _ in parts]
        values = tuple(
            over_loads([leg["objectives"][k]["value"] for leg in legs])
            for k in range(len(self.goal.objectives))
        )
        return Score(values, violations, stability.saturation_per_s, legs)

    def glance(self) -> Scorer | None:
        """The scorer of a first look: the beginning of the same course, without intervals.

        None where there is no one number to look at, or where it takes many runs itself.
        """
        if len(self.goal.objectives) > 1 or self.goal.finds_load:
            return None
        needs = [percentile_needs(share, tail=GLANCE_TAIL) for share in self.goal.shares.values()]
        requests = max(GLANCE, int(1.1 * max(needs, default=0) / (1.0 - WARM_UP)))
        course = tuple(leg.first(requests) for leg in self.course)
        return replace(self, course=course, width=0.0, tail=GLANCE_TAIL)

    def _on_leg(
        self, setting: Setting, leg: Leg, stability: Stability
    ) -> tuple[dict[str, Any], list[float]]:
        """Objectives and violations at one load."""
        draws = leg.on(setting.servers)
        traces = [self.run(setting.policy, workload, service) for workload, service in draws]
        found = measure(
            traces,
            draws[0][1],
            load=leg.load,
            stability=stability,
            shares=self.goal.shares,
            tail=self.tail,
        )
        estimates = self.goal.values(found, setting.servers)
        limited = (one.measure.estimate(found, setting.servers) for one in self.goal.constraints)
        every = (*estimates, *limited)
        needs = [one.needs for one in every if one.value is None and one.needs]
        requests, served = found.overall.requests, found.overall.served
        enough = bool(needs) and requests * (1.0 - WARM_UP) >= max(needs)
        if enough and served < LEAST_SERVED * requests:
            raise ServesFew("too many requests go unserved")
        if needs:
            raise TooShort(max(needs))
        objectives = [one.to_json() for one in estimates]
        about = {"load": leg.load, "rate_per_s": leg.rate_per_s, "objectives": objectives}
        return about, self.goal.violations(found, setting.servers, self.width)

    def _largest_rate(self, setting: Setting, stability: Stability) -> Score:
        """The objective that finds its own load."""
        leg = self.course[0]
        assert leg.rate_per_s is not None, "capacity needs an open workload"
        found = largest_rate(
            setting.policy,
            leg.on(setting.servers)[0],
            self.run,
            self.scenario.tiers,
            base_rate_per_s=leg.rate_per_s,
            saturation=stability.saturation_per_s,
            tolerance=SEARCH_TOLERANCE,
            lowest=False,
        )
        return _of_rate(found, stability)

    def _stability(self, setting: Setting) -> tuple[Stability, str]:
        """Whether the setting keeps up at the fastest leg."""
        fastest = max(self.course, key=lambda leg: leg.rate_per_s or 0.0)
        workload, service = fastest.on(setting.servers)[0]
        if self.goal.finds_load:
            rate: float | None = 0.0
        else:
            rate = fastest.rate_per_s
            bound = self._bound(setting)
            bounded = service.capacity < NEVER or len(workload.timeout_ns) > 0
            if rate is not None and not bounded and bound is not None and rate >= bound:
                return Stability(False, rate, bound), "its largest batch is too small"
        found = assess(setting.policy, workload, service, self.run, rate_per_s=rate)
        return found, "" if found.stable else "a backlog grows"

    def _bound(self, setting: Setting) -> float | None:
        """The rate that batches up to the largest cannot exceed, whatever else the rule does."""
        policy: Any = bind(
            setting.policy,
            self.scenario.service_ns.max(axis=0),
            self.scenario.length_edges,
            self.scenario.tiers,
            setting.servers,
        )
        most = largest_size(policy)
        return None if most is None else setting.servers * float(self._pace[most - 1])

    @cached_property
    def _pace(self) -> FloatArray:
        """float64 (largest batch,): requests per second of a server with batches up to a size."""
        lengths = self.scenario.workload.pmf()
        fastest_ns = self.scenario.service_ns.min(axis=0)
        edges = self.scenario.length_edges
        times = np.stack([np.interp(lengths.length, edges, row) for row in fastest_ns])
        sizes = np.arange(1, len(times) + 1)[:, np.newaxis]
        cheapest = np.minimum.accumulate(times / sizes, axis=0)
        pace: FloatArray = 1e9 / (cheapest @ lengths.probability)
        return pace


class ServesFew(Exception):  # noqa: N818 - it is no error of the program
    """A setting lets so many go unserved that nothing can be said of the others."""


class TooShort(Exception):  # noqa: N818 - it is no error of the program
    """A measure needs more requests than the scenario has."""

    def __init__(self, needs: int) -> None:
        super().__init__(needs)
        self.needs = needs


def over_loads(values: Sequence[float]) -> float:
    """One number for several loads: the geometric mean, or the mean where a value is not above 0.

    The order that it gives is that of the mean ratio to any reference, whatever the reference is.
    """
    if min(values) > 0.0:
        return math.exp(sum(math.log(value) for value in values) / len(values))
    return sum(values) / len(values)


def _headroom(found: Stability) -> float:
    """The load of the setting less 1: below 0 where it keeps up."""
    if found.load is None or found.bounded_by:
        return -1.0
    return min(found.load - 1.0, UNBOUNDED)


def _unstable(goal: Goal, found: Stability, reason: str) -> Score:
    excess = min(max(found.excess, 1e-9), UNBOUNDED)
    violations = {STABLE: excess, **{one.title: excess for one in goal.constraints}}
    return Score(None, violations, found.saturation_per_s, reason=reason)


def _of_rate(found: Any, stability: Stability) -> Score:
    """A capacity as a score: what may be claimed is its lower end."""
    value = found.low
    if not value:
        return Score(None, {STABLE: -1.0, "SLO": 1.0}, stability.saturation_per_s,
                     reason="no rate meets the SLO")  # fmt: skip
    about = {"value": found.value, "low": found.low, "high": found.high}
    leg = {"load": None, "rate_per_s": value, "objectives": [about]}
    return Score((float(value),), {STABLE: -1.0, "SLO": 0.0}, stability.saturation_per_s, [leg])
