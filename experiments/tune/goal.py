"""What a tuner is after: objectives and constraints, taken from the measures of a run.

1. A constraint holds when its *confidence bound* does: the upper end of the interval for
   ``at_most``, the lower one for ``at_least``.
2. A tier meets its SLO when the upper bound of its percentile is at or below the target and, where
   requests are turned away, give up or are left, the lower bound of the share within the target is
   at least the percentile: a bounded queue gains nothing by refusing.
3. Latency and wait are of the requests that are served.  Where some may not be, who aims at a
   percentile of them also has to serve at least that share of the requests
   (:mod:`experiments.tune.unserved`), by the lower bound; an SLO of it says so already.
4. ``energy`` and ``cost`` follow from busy time and throughput, section by section.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.scenario import Scenario
from experiments.schema_tune import Aim, Limit, Power, Price, Tune
from experiments.sentences import ScenarioError, suggestion
from policies.contract import NEVER, Tier
from sim.intervals import Estimate, refused, sectioned
from sim.measures import Group, Measures

from .unserved import least_served
from .words import Word, is_of_arrivals, percentile_name, share_of, word_of

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Measure:
    """One number of a run, of one tier or of all requests."""

    name: str
    """The word, as ``p99``."""
    word: Word
    tier: str | None = None
    power: Power | None = None
    price: Price | None = None

    @property
    def sign(self) -> float:
        """1 where less is better, -1 where more is."""
        return -1.0 if self.word.more_is_better else 1.0

    @property
    def title(self) -> str:
        """As a reader says it: ``p99 of interactive``."""
        return self.word.title if self.tier is None else f"{self.word.title} of {self.tier}"

    def estimate(self, measures: Measures, servers: int) -> Estimate:
        """The number with its interval."""
        group = measures.group(self.tier)
        if self.name == "energy":
            assert self.power is not None, "the schema asks for it"
            idle, busy = float(self.power.idle_w), float(self.power.busy_w)
            return _per_request(group, servers, idle, busy - idle)
        if self.name == "cost":
            assert self.price is not None, "the schema asks for it"
            price = float(self.price.per_server_hour) / SECONDS_PER_HOUR * 1e6
            up = self.price.billed == "up"
            return _per_request(group, servers, price if up else 0.0, 0.0 if up else price)
        return group.estimate(self.word.statistic)


def _per_request(group: Group, servers: int, always: float, while_busy: float) -> Estimate:
    """``servers (always + while_busy * busy) / throughput``, section by section."""
    busy, pace = group.utilisation, group.throughput_per_s
    if busy.value is None or not pace.value:
        return refused(pace.n, pace.needs)

    def each(busy_share: Any, per_s: Any) -> Any:
        return servers * (always + while_busy * busy_share) / per_s

    value = float(each(busy.value, pace.value))
    if not busy.sections or not pace.sections:
        return Estimate(value, None, None, pace.n, pace.needs)
    parts = each(np.array(busy.sections), np.array(pace.sections))
    return sectioned(value, parts, pace.n, (0.0, math.inf))


@dataclass(frozen=True)
class Constraint:
    """A measure with its limit."""

    measure: Measure
    limit: float
    at_most: bool = True

    @property
    def title(self) -> str:
        """``p99 <= 20 ms``."""
        unit = f" {self.measure.word.unit}" if self.measure.word.unit else ""
        return f"{self.measure.title} {'<=' if self.at_most else '>='} {self.limit:g}{unit}"

    def violation(self, measures: Measures, servers: int, width: float = 1.0) -> float:
        """By how much the confidence bound is beyond the limit, as a share of it; <= 0 holds.

        ``width`` scales the interval: 0 takes the number itself.
        """
        found = self.measure.estimate(measures, servers)
        bound = end_of(found, width, upper=self.at_most)
        if bound is None:
            return math.inf
        over = bound - self.limit if self.at_most else self.limit - bound
        return over / self.limit if self.limit > 0 else over


@dataclass(frozen=True)
class Target:
    """The SLO of a tier."""

    tier: Tier
    measure: Measure

    @property
    def title(self) -> str:
        """``p99 of interactive <= 20 ms``."""
        return f"{self.measure.title} <= {self.tier.slo_ns / 1e6:g} ms"

    def violation(self, measures: Measures, servers: int, width: float = 1.0) -> float:
        """As of a constraint; rule 2."""
        slo_ms = self.tier.slo_ns / 1e6
        high = end_of(self.measure.estimate(measures, servers), width, upper=True)
        if high is None:
            return math.inf
        group = measures.group(self.tier.name)
        late = high / slo_ms - 1.0
        if group.served == group.requests or group.slo_attainment is None:
            return late
        allowed = 1.0 - self.tier.percentile / 100.0
        low = end_of(group.slo_attainment, width, upper=False)
        missed = math.inf if low is None else (1.0 - low) / allowed - 1.0
        return max(late, missed)


@dataclass(frozen=True)
class Goal:
    """Objectives and constraints of a scenario."""

    objectives: tuple[Measure, ...]
    constraints: tuple[Constraint | Target, ...]
    shares: dict[str, float]
    """The percentiles that have to be measured, by name."""
    slos_ms: dict[tuple[str, str | None], float] = field(default_factory=dict)
    """Every SLO, kept or not, by the name of its percentile and its tier."""

    @property
    def finds_load(self) -> bool:
        """Whether the objective is the largest load itself."""
        return self.objectives[0].name == "capacity"

    @property
    def title(self) -> str:
        """``lowest p99 with p99 of interactive <= 20 ms``."""
        aims = [f"{'most' if m.sign < 0 else 'least'} {m.title}" for m in self.objectives]
        limits = "" if self.finds_load else ", ".join(c.title for c in self.constraints)
        return " and ".join(aims) + (f" with {limits}" if limits else "")

    def values(self, measures: Measures, servers: int) -> list[Estimate]:
        """The objectives of one run."""
        return [one.estimate(measures, servers) for one in self.objectives]

    def violations(self, measures: Measures, servers: int, width: float = 1.0) -> list[float]:
        """Of every constraint, in order."""
        return [one.violation(measures, servers, width) for one in self.constraints]


def end_of(found: Estimate, width: float, *, upper: bool) -> float | None:
    """An end of an interval whose width is scaled; None where the number or its end is unknown."""
    end = found.high if upper else found.low
    if end is None or found.value is None:
        return None
    return found.value + width * (end - found.value)


def goal_of(scenario: Scenario) -> Goal:
    """The goal that a scenario's ``[tune]`` table asks for.

    Raises:
        ScenarioError: a tier that does not exist, or capacity without an SLO.
    """
    table, tiers = scenario.spec.tune, scenario.tiers
    urgent = next((tier for tier in tiers if tier.slo_ns < NEVER), None)
    aims: Sequence[Aim] = table.objective or (_default_aim(tiers, urgent, slo=table.slo),)
    objectives = tuple(_measure(aim, table, scenario) for aim in aims)
    if objectives[0].name == "capacity" and urgent is None:
        raise ScenarioError(
            f"{scenario.name}: tune.objective = capacity needs a tier with an SLO, as "
            '[[workload.tiers]] name = "all", slo = { percentile = 99, ms = 50.0 }'
        )
    many = len(tiers) > 1
    slos = [Target(tier, _latency(tier, many=many)) for tier in tiers if tier.slo_ns < NEVER]
    targets: list[Constraint | Target] = [*slos] if table.slo else []
    limits = [_constraint(limit, table, scenario) for limit in table.constraints]
    constraints = (*targets, *limits)
    aimed = [*objectives, *(one.measure for one in constraints)]
    constraints += tuple(_served(scenario, aimed, slos if table.slo else ()))
    used = [*objectives, *(one.measure for one in constraints)]
    shares = {percentile_name(s): s for m in used if (s := share_of(m.name)) is not None}
    limits_ms = {(t.measure.name, t.measure.tier): t.tier.slo_ns / 1e6 for t in slos}
    return Goal(objectives, constraints, shares, limits_ms)


def _served(
    scenario: Scenario, aimed: Sequence[Measure], promised: Sequence[Target]
) -> Iterator[Constraint]:
    """What has to be served for a latency to be a promise; rule 3."""
    word = word_of("served")
    assert word is not None, "it is a word"
    for tier, share in least_served(scenario, [(one.tier, one.name) for one in aimed]).items():
        shares = [one.tier.percentile / 100 for one in promised if one.measure.tier == tier]
        if max(shares, default=0.0) < share:
            yield Constraint(Measure("served", word, tier), share, at_most=False)


def _default_aim(tiers: Sequence[Tier], urgent: Tier | None, *, slo: bool) -> Aim:
    """Throughput of a backlog, where an SLO keeps the others safe; else the tail of the urgent."""
    if urgent is None:
        return Aim(measure="p99")
    backlog = next((tier.name for tier in tiers if tier.backlog), None)
    if backlog is not None and slo:
        return Aim(measure="throughput", tier=backlog)
    tier = urgent.name if len(tiers) > 1 else None
    return Aim(measure=_latency(urgent, many=False).name, tier=tier)


def _latency(tier: Tier, *, many: bool) -> Measure:
    """The percentile that a tier's SLO is about."""
    name = percentile_name(tier.percentile / 100)
    word = word_of(name)
    assert word is not None, name
    return Measure(name, word, tier.name if many else None)


def _measure(table: Aim | Limit, tune: Tune, scenario: Scenario) -> Measure:
    names = [tier.name for tier in scenario.tiers]
    if table.tier is not None and table.tier not in names:
        raise ScenarioError(
            f"{scenario.name}: tune names the tier {table.tier!r}, which does not exist; "
            f"{suggestion(table.tier, names)}"
        )
    word = word_of(table.measure)
    assert word is not None, "the schema checks it"
    found = Measure(table.measure, word, table.tier, tune.power, tune.price)
    backlogs = [tier.name for tier in scenario.tiers if tier.backlog]
    if table.tier in backlogs and is_of_arrivals(word):
        raise ScenarioError(
            f"{scenario.name}: tune asks for the {found.title}, but {table.tier} is a backlog, "
            f"whose requests wait from the beginning; ask for the throughput of {table.tier}"
        )
    if word.statistic == "share_of_bound" and table.tier not in backlogs:
        raise ScenarioError(
            f"{scenario.name}: tune asks for the {found.title}, which only a backlog has; "
            'give a tier with arrivals = { process = "backlog" }, as tier = "offline"'
        )
    return found


def _constraint(limit: Limit, tune: Tune, scenario: Scenario) -> Constraint:
    measure = _measure(limit, tune, scenario)
    if limit.at_most is not None:
        return Constraint(measure, float(limit.at_most))
    assert limit.at_least is not None, "the schema asks for one of them"
    return Constraint(measure, float(limit.at_least), at_most=False)
