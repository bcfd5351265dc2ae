"""The largest arrival rate of every policy of a scenario, and the servers that a rate needs.

1. All policies see the same arrivals, played faster and slower, and the same lengths and noise.
2. The rate of a policy is that of :mod:`experiments.capacity_rate`; only its lower end may be
   claimed.
3. Ctrl-C keeps the policies that are done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sim.service import Service
from sim.stability import Driver, Stability
from sim.workload import Workload

from .capacities import Capacities, Capacity, rate_gaps
from .capacity_rate import Limit, checked_targets, largest_rate, stage_below
from .capacity_words import verdict_of
from .compare import TOGETHER
from .config import Scenario, ScenarioError
from .contest import Chosen, Draw, Entrant, about, as_scenario, draw_all, driver, entrants, judge
from .fleet import Crew, Fleet, fewest_servers, least_servers
from .load_curve import at_pace
from .outcome import Outcome
from .parallel import Interrupted, Progress, in_threads, nothing

MAX_SERVERS = 64
"""Where the search for servers ends."""


def capacity(
    scenario: Scenario | str | Path,
    policies: Chosen = None,
    *,
    rate_per_s: float | None = None,
    max_servers: int = MAX_SERVERS,
    progress: Progress | None = None,
) -> Capacities:
    """The largest rate at which each policy meets the SLOs; the baselines are added.

    Args:
        scenario: loaded, or the name or path to load.
        policies: names, or policies of your own by name; by default all of the scenario.
        rate_per_s: also find the fewest servers with which each policy meets the SLOs at this rate.
        max_servers: at most so many servers.
        progress: told what is being done.

    Raises:
        ScenarioError: the scenario has no SLO or no arrival rate, or an argument is wrong.
        KeyboardInterrupt: Ctrl-C before any policy was done.
    """
    started = time.perf_counter()
    loaded, tell = as_scenario(scenario), progress or nothing
    check_arguments(rate_per_s, max_servers)
    if rate_per_s is not None and loaded.workload.backlogs:
        raise ScenarioError(
            f"{loaded.path.name}: servers are counted for a rate of arrivals, and a backlog that "
            "is always there takes every server that it gets; leave --rate out"
        )
    field_ = entrants(loaded, policies, baselines=True)
    tell("drawing the workload", 0, len(field_))
    draws = draw_all(loaded)
    targets = checked_targets(draws, loaded.tiers, f"{loaded.path.name}: ")
    contest = Contest(loaded, draws, driver("kernel"))
    crowd = None if rate_per_s is None else contest.crowd(rate_per_s, max_servers)

    def one(entrant: Entrant) -> Capacity:
        found = contest.capacity(entrant)
        return found if crowd is None else contest.with_fleet(entrant, found, crowd)

    at_once = max(1, TOGETHER // max(1, sum(len(workload) for workload, _ in draws)))
    interrupted = False
    try:
        found = in_threads(one, field_, [each.name for each in field_], tell, at_once)
    except Interrupted as stopped:
        found, interrupted = stopped.done, True
    if not found:
        raise KeyboardInterrupt
    result = Capacities(
        about(loaded, draws), targets, loaded.rate_max_per_s, tuple(found),
        differences=rate_gaps(found), rate_per_s=rate_per_s,
        seconds=time.perf_counter() - started, interrupted=interrupted,
    )  # fmt: skip
    return replace(result, verdict=verdict_of(result))


def check_arguments(rate_per_s: float | None, max_servers: int) -> None:
    """Refuse what is no rate and no number of servers."""
    if rate_per_s is not None and not (math.isfinite(rate_per_s) and rate_per_s > 0.0):
        raise ScenarioError(f"rate = {rate_per_s:g}: must be a positive number of requests/s")
    if max_servers < 1:
        raise ScenarioError(f"max_servers = {max_servers}: must be at least 1")


@dataclass(frozen=True)
class Crowd:
    """A rate, and what may serve it."""

    rate_per_s: float
    workloads: Sequence[Workload]
    crew: Crew
    least: int
    most: int


@dataclass(frozen=True)
class Contest:
    """What all policies share."""

    scenario: Scenario
    draws: Sequence[Draw]
    run: Driver

    @property
    def base_rate_per_s(self) -> float:
        """The rate of the arrivals as drawn."""
        rate = self.scenario.offered_rate_per_s
        assert rate is not None, "a closed loop was refused"
        return rate

    def capacity(self, entrant: Entrant) -> Capacity:
        """One policy's limit, and every number there."""
        limit = largest_rate(
            entrant.policy, self.draws, self.run, self.scenario.tiers,
            base_rate_per_s=self.base_rate_per_s,
        )  # fmt: skip
        outcome = None if limit.value is None else self.outcome(entrant, limit, limit.value)
        return Capacity(entrant.name, entrant.parameters, limit, outcome, baseline=entrant.baseline)

    def outcome(self, entrant: Entrant, limit: Limit, rate_per_s: float) -> Outcome:
        """Every number of a policy at a rate."""
        pace = rate_per_s / self.base_rate_per_s
        most = limit.saturation_per_s
        return judge(
            entrant,
            [(at_pace(workload, pace), service) for workload, service in self.draws],
            self.scenario,
            self.run,
            load=rate_per_s / self.scenario.rate_max_per_s,
            stability=Stability(rate_per_s < most, rate_per_s, most),
            curves=False,
        )

    def crowd(self, rate_per_s: float, most: int) -> Crowd:
        """The same arrivals at another rate, and services with any number of servers."""
        pace = rate_per_s / self.base_rate_per_s
        if stage := stage_below(self.draws[0], rate_per_s):
            raise ScenarioError(
                f"rate = {rate_per_s:g}: {stage} lets less through, so no number of servers is "
                "enough; give it more workers"
            )

        @cache
        def crew(servers: int) -> tuple[Service, ...]:
            other = with_servers(self.scenario, servers)
            return tuple(other.draw(number)[1] for number in range(len(self.draws)))

        of_one = self.scenario.rate_max_per_s / self.scenario.servers
        least = least_servers(rate_per_s, of_one)
        workloads = [at_pace(workload, pace) for workload, _ in self.draws]
        return Crowd(rate_per_s, workloads, crew, least, most)

    def with_fleet(self, entrant: Entrant, found: Capacity, crowd: Crowd) -> Capacity:
        """Also the servers that the rate needs, and every number with them."""
        fleet = fewest_servers(
            entrant.policy, crowd.workloads, crowd.crew, self.run, self.scenario.tiers,
            rate_per_s=crowd.rate_per_s, least=crowd.least, most=crowd.most,
        )  # fmt: skip
        if fleet.servers is None:
            return replace(found, fleet=fleet)
        outcome = self.fleet_outcome(entrant, crowd, fleet, fleet.servers)
        return replace(found, fleet=fleet, fleet_outcome=outcome)

    def fleet_outcome(self, entrant: Entrant, crowd: Crowd, fleet: Fleet, servers: int) -> Outcome:
        """Every number of a policy at the rate of a fleet, with its servers."""
        other = with_servers(self.scenario, servers)
        draws = list(zip(crowd.workloads, crowd.crew(servers), strict=True))
        return judge(
            entrant, draws, other, self.run,
            load=fleet.rate_per_s / other.rate_max_per_s,
            stability=Stability(True, fleet.rate_per_s, fleet.saturation_per_s), curves=False,
        )  # fmt: skip


def with_servers(scenario: Scenario, servers: int) -> Scenario:
    """The same scenario with another number of servers, and the same arrivals."""
    service = scenario.spec.service.model_copy(update={"servers": servers})
    return replace(scenario, spec=scenario.spec.model_copy(update={"service": service}))
