"""The largest arrival rate of every rule of a scenario, and the replicas that a rate needs.

1. All rules see the same arrivals, played faster and slower, and the same lengths and noise.
2. The rate of a rule is that of :mod:`.capacity_rate`; where nothing is promised it is what the
   rule serves at most (:mod:`.saturation`).
3. Replicas get the requests evenly at random: each serves a thinned stream, and all are run.
4. Ctrl-C keeps the rules that are done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.capacities import rate_gaps
from experiments.capacity_rate import Limit
from experiments.fleet import Fleet, first_enough
from experiments.parallel import Interrupted, Progress, in_threads, nothing
from experiments.sentences import ScenarioError
from policies.iteration.contract import Rule
from sim.iteration.metrics import measure
from sim.iteration.trace import TokenTrace
from sim.iteration.workload import TokenWorkload
from sim.streams import stream

from .capacities import Course, TokenCapacities, TokenCapacity
from .capacity_rate import Promise, Rates, at_pace, check, largest_rate, promises_of
from .capacity_words import verdict_of
from .compare import TOKENS_TOGETHER, as_scenario, driver, entrants, parameters_of
from .outcome import TokenOutcome
from .saturation import Draw, Driver, Saturation, saturation
from .scenario import TokenScenario

MAX_REPLICAS = 64
"""Where the search for replicas ends."""


def capacity(
    scenario: TokenScenario | str | Path,
    policies: Sequence[str] | Mapping[str, Rule] | None = None,
    *,
    rate_per_s: float | None = None,
    max_replicas: int = MAX_REPLICAS,
    progress: Progress | None = None,
) -> TokenCapacities:
    """The largest rate at which each rule keeps what the tiers are promised.

    Args:
        scenario: loaded, or the name or path to load.
        policies: names, or rules of your own by name; by default all of the scenario.
        rate_per_s: also find the fewest replicas with which each rule keeps it at this rate.
        max_replicas: at most so many.
        progress: told what is being done.

    Raises:
        ScenarioError: the scenario, a name or an argument is wrong.
        KeyboardInterrupt: Ctrl-C before any rule was done.
    """
    started = time.perf_counter()
    loaded, tell = as_scenario(scenario), progress or nothing
    check_arguments(rate_per_s, max_replicas)
    field = entrants(loaded, policies)
    tell("drawing the workload", 0, len(field))
    draws = [loaded.draw(k) for k in range(loaded.spec.run.replications)]
    contest = Contest(loaded, draws, driver("kernel"))

    def one(name: str) -> TokenCapacity:
        found, runs = contest.capacity(name, field[name])
        if rate_per_s is None:
            return found
        return contest.with_fleet(field[name], found, runs, rate_per_s, max_replicas)

    tokens = sum(int(workload.output.sum()) for workload, _ in draws)
    at_once, interrupted = max(1, TOKENS_TOGETHER // max(1, tokens)), False
    try:
        found = in_threads(one, list(field), list(field), tell, at_once)
    except Interrupted as stopped:
        found, interrupted = stopped.done, True
    if not found:
        raise KeyboardInterrupt
    result = TokenCapacities(
        scenario=loaded.facts(sum(len(workload) for workload, _ in draws), len(draws)),
        promises=contest.promises,
        capacities=tuple(found),
        differences=rate_gaps(found),  # type: ignore[arg-type]
        rate_per_s=rate_per_s,
        seconds=time.perf_counter() - started,
        interrupted=interrupted,
    )
    return replace(result, verdict=verdict_of(result))


def check_arguments(rate_per_s: float | None, max_replicas: int) -> None:
    """Refuse what is no rate and no number of replicas."""
    if rate_per_s is not None and not (math.isfinite(rate_per_s) and rate_per_s > 0.0):
        raise ScenarioError(f"rate = {rate_per_s:g}: must be a positive number of requests/s")
    if max_replicas < 1:
        raise ScenarioError(f"max_replicas = {max_replicas}: must be at least 1")


@dataclass(frozen=True)
class Contest:
    """What all rules share."""

    scenario: TokenScenario
    draws: Sequence[Draw]
    run: Driver

    @property
    def promises(self) -> tuple[Promise, ...]:
        """The tiers that are promised something, and have requests."""
        there = np.bincount(
            np.concatenate([workload.tier for workload, _ in self.draws]),
            minlength=len(self.scenario.targets),
        )
        names = [tier.tier.name for tier in self.scenario.workload.tiers]
        found = promises_of(names, self.scenario.targets)
        return tuple(one for one in found if there[one.tier])

    @property
    def drifts(self) -> bool:
        """Whether each replication has a speed of its own."""
        return bool(self.scenario.spec.engine.drift)

    def capacity(self, name: str, rule: Rule) -> tuple[TokenCapacity, Sequence[Draw]]:
        """One rule's limit, and every number there; and the draws that it took."""
        most = saturation(rule, self.draws, self.run)
        if not self.promises:
            return TokenCapacity(name, parameters_of(rule), served_at_most(most), most), self.draws
        base = self.scenario.offered_rate_per_s
        rates = Rates(
            rule, self.draws, self.run, self.promises, self.scenario.targets, base, self.drifts
        )
        limit, rates = largest_rate(rates, most.requests.value or math.inf)
        outcome, limited = None, ""
        if limit.value is not None:
            outcome = self.outcome(name, rule, limit, rates.traces(limit.value))
            limited = rates(limit.value).limited_by if limit.bound == "slo" else "saturation"
        course = Course.of(rates.checks)
        found = TokenCapacity(name, parameters_of(rule), limit, most, limited, outcome, course)
        return found, rates.draws

    def outcome(
        self, name: str, rule: Rule, limit: Limit, traces: Sequence[TokenTrace]
    ) -> TokenOutcome:
        """Every number of a rule at its limit."""
        measures = measure(
            traces,
            self.scenario.targets,
            drifts=self.drifts,
            saturation_per_s=limit.saturation_per_s,
            offered_per_s=limit.value,
        )
        return TokenOutcome(name, parameters_of(rule), measures, self.scenario.targets)

    def with_fleet(
        self,
        rule: Rule,
        found: TokenCapacity,
        draws: Sequence[Draw],
        rate_per_s: float,
        most: int,
    ) -> TokenCapacity:
        """Also the replicas that a rate needs; none where a request alone is too slow."""
        served = found.limit.saturation_per_s
        least = max(1, math.ceil(rate_per_s / served * (1.0 + 1e-9)))
        if found.limit.needs is not None:
            return replace(found, fleet=Fleet(rate_per_s, None, least, most, found.limit.needs))
        known: dict[int, bool] = {}

        def enough(replicas: int) -> bool:
            if replicas not in known:
                known[replicas] = self.keep(rule, draws, rate_per_s, replicas)
            return known[replicas]

        replicas: int | None = least if least <= most else None
        if self.promises:
            possible = found.limit.value is not None
            replicas = first_enough(enough, least, most) if possible else None
        fleet = Fleet(
            rate_per_s,
            replicas,
            least,
            most,
            saturation_per_s=None if replicas is None else replicas * served,
            runs=len(known),
        )
        return replace(found, fleet=fleet)

    def keep(self, rule: Rule, draws: Sequence[Draw], rate_per_s: float, replicas: int) -> bool:
        """Whether so many replicas surely keep every promise at a rate."""
        pace = rate_per_s / self.scenario.offered_rate_per_s
        traces = []
        for number, (workload, _) in enumerate(draws):
            faster = at_pace(workload, pace)
            for place, part in enumerate(self.split(faster, replicas, number)):
                if len(part):
                    serving = self.scenario.serving(number + len(draws) * place)
                    traces.append(self.run(rule, part, serving))
        targets = self.scenario.targets
        return check(rate_per_s, traces, self.promises, targets, drifts=self.drifts).surely <= 0.0

    def split(self, workload: TokenWorkload, replicas: int, number: int) -> list[TokenWorkload]:
        """Every request to one of the replicas, each as likely; the same luck for any number."""
        luck = stream(self.scenario.seeds.service, "routes", number).random(len(workload))
        place = np.minimum((luck * replicas).astype(np.int64), replicas - 1)
        return [chosen(workload, place == k) for k in range(replicas)]


def chosen(workload: TokenWorkload, mine: Any) -> TokenWorkload:
    """Some of the requests."""
    return replace(
        workload,
        arrival_ns=workload.arrival_ns[mine],
        prompt=workload.prompt[mine],
        output=workload.output[mine],
        tier=workload.tier[mine],
    )


def served_at_most(found: Saturation) -> Limit:
    """The limit of a rule where nothing is promised."""
    most = found.requests
    value = most.value if most.value is not None and math.isfinite(most.value) else None
    low, high = (value if end is None else end for end in (most.low, most.high))
    return Limit(
        value,
        low,
        high,
        None,
        math.inf if most.value is None else most.value,
        "stability",
        runs=1,
        tolerance=0.0,
        sections=most.sections,
    )
