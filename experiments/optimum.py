"""The best that any rule can do in a scenario: exactly where that is known, else a lower bound.

1. With one server, Poisson arrivals, requests that all cost the same and nobody turned away or
   giving up, the least mean is known exactly, and the table that has it
   (:mod:`sim.theory_smdp`).  Everywhere else :mod:`sim.bounds` says what no rule can beat.
2. A percentile always has a bound only; where the table is known it comes along, for comparison.
3. Times are rounded to whole nanoseconds in runs and not in theory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from policies.optimal import Optimal
from sim.arrivals import Poisson
from sim.bounds import (
    Demand,
    drawn_bound,
    fluid_bound,
    mean_load,
    no_wait_bound,
    percentile_bound,
)
from sim.errors import WorkloadError
from sim.sections import WARM_UP
from sim.service import Service
from sim.theory_noise import CONSTANT
from sim.theory_smdp import Optimum, solve_optimum
from sim.workload import Workload

from .cpu_stages import tables
from .demand import (
    correlated,
    demand_ms,
    drawn_ms,
    law_of,
    least_law,
    mixed_laws,
    rate_per_ms,
    stages_ms,
)
from .resolve import KeyedError
from .scenario import Scenario
from .units import ns_to_ms

PORTIONS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

MEASURES = ("mean", *PORTIONS, "mean+busy")


@dataclass(frozen=True)
class Floor:
    """The least that any rule can have in a scenario, as far as it is known."""

    value_ms: float
    """inf where more arrives than can be served."""
    exact: bool
    """Whether some rule has it; else it is a lower bound."""
    name: str
    why: str
    """One sentence: why it is exact, or why the optimum is not known."""
    optimum: Optimum | None = None
    """The rule with the least mean, where there is one; times in ms."""


class Obstacle(NamedTuple):
    """Why the optimum of a scenario is not known."""

    key: str
    reason: str
    instead: str
    """What to use in place of the optimal rule."""


def best_possible(
    scenario: Scenario,
    measure: str,
    *,
    rate_per_s: float | None = None,
    servers: int | None = None,
    draws: Sequence[tuple[Workload, Service]] | None = None,
    busy_weight_ms: float = 0.0,
) -> Floor:
    """The least latency that any rule can reach.

    Args:
        scenario: what arrives and what serves it.
        measure: ``mean``, a percentile such as ``p99``, or ``mean+busy``, which adds
            ``busy_weight_ms`` times the utilisation.
        rate_per_s: another rate of all arrivals; by default the scenario's.
        servers: another number of them.
        draws: the runs that a mean is compared with: then their own arrivals give a bound, too.
        busy_weight_ms: price of servers that are always busy, for ``mean+busy``.

    Raises:
        ValueError: an unknown measure.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure = {measure!r} must be one of {', '.join(MEASURES)}")
    weight = busy_weight_ms if measure == "mean+busy" else 0.0
    servers = scenario.servers if servers is None else servers
    scenario = replace(scenario, service_ns=scenario.fastest_ns)
    rate = rate_per_ms(scenario, rate_per_s)
    demand = demand_ms(scenario)
    overload = mean_load(rate, demand, servers, law_of(scenario)) >= 1.0
    if overload and not _turned_away(scenario):
        why = "more requests arrive than the servers can do, so latency grows without end"
        return Floor(math.inf, False, "none", why)
    obstacle = obstacle_of(scenario, servers)
    optimum = None if obstacle else _solved(scenario, rate, weight)
    known = measure not in PORTIONS and not correlated(scenario) and not scenario.drift
    if optimum is not None and known:
        why = "one server, Poisson arrivals and requests that cost the same: solved exactly"
        return Floor(optimum.cost, True, "optimum", why, optimum)
    if measure in PORTIONS:
        name, value = _portion_bound(scenario, rate, demand, servers, PORTIONS[measure])
    else:
        name, value = _mean_bound(scenario, rate, demand, servers, weight, draws or ())
    return Floor(value, False, name, _unknown(scenario, obstacle, measure), optimum)


def distance(value_ms: float, floor: Floor) -> float:
    """How far a value lies above the floor, as a share of the floor; 0.02 is 2 % above it."""
    return value_ms / floor.value_ms - 1.0 if floor.value_ms > 0.0 else math.inf


def obstacle_of(scenario: Scenario, servers: int | None = None) -> Obstacle | None:
    """What stands between a scenario and its exact optimum; None where nothing does."""
    workload, service = scenario.workload, scenario.spec.service
    servers = scenario.servers if servers is None else servers
    snap, capped = 'kind = "snap"', 'kind = "balanced_cap"'
    if workload.closed is not None:
        reason = "clients in a closed loop wait for answers"
        return Obstacle("workload.arrivals", reason, snap)
    if not _poisson(scenario):
        return Obstacle("workload.arrivals", "arrivals are not Poisson", snap)
    if scenario.cluster is not None:
        return Obstacle("service.cluster", "replicas of a cluster stand apart", snap)
    if servers != 1:
        return Obstacle("service.servers", f"{servers} servers share the queue", capped)
    for name, _ in tables(service):
        return Obstacle(f"service.{name}", "CPU stages stand around the GPU", snap)
    if service.capacity is not None:
        return Obstacle("service.capacity", "a full queue turns requests away", snap)
    if _may_expire(scenario):
        return Obstacle("service.timeout", "requests give up", snap)
    if scenario.service_ns.shape[0] > 1:
        return Obstacle("workload.tiers", "tiers have models of their own", snap)
    if demand_ms(scenario, relaxed=False).time.shape[1] > 1:
        buckets = 'kind = "length_bucketed" or kind = "nearest_lengths"'
        return Obstacle("workload.lengths", "long requests take longer than short ones", buckets)
    return None


def with_tables(scenario: Scenario) -> dict[str, Optimal]:
    """The rules of kind ``optimal`` that have no table yet, with that of the scenario.

    Raises:
        KeyedError: the scenario has no optimum that is known.
    """
    found = {}
    for name, policy in scenario.policies.items():
        if not isinstance(policy, Optimal) or len(policy.take):
            continue
        key = f"policies.{name}.kind"
        obstacle = obstacle_of(scenario)
        if obstacle is not None:
            raise KeyedError(
                key,
                f'{key} = "optimal" needs a scenario whose optimum is known, but {obstacle.reason} '
                f"({obstacle.key}); use {obstacle.instead}, or give take, how many to serve of 0, "
                "1, 2, ... that wait",
            )
        weight_ms = ns_to_ms(policy.busy_weight_ns)
        try:
            optimum = _solved(scenario, rate_per_ms(scenario, None), weight_ms)
        except WorkloadError as error:
            raise KeyedError(key, f'{key} = "optimal": {error}') from error
        found[name] = policy._replace(take=optimum.take)
    return found


def _solved(scenario: Scenario, rate: float, weight_ms: float) -> Optimum:
    """The optimum of a scenario without an obstacle; correlated noise counts as independent."""
    time = demand_ms(scenario, relaxed=False).time[:, 0]
    return solve_optimum(rate, time, busy_weight=weight_ms, noise=law_of(scenario))


def _mean_bound(
    scenario: Scenario,
    rate: float,
    demand: Demand,
    servers: int,
    weight: float,
    draws: Sequence[tuple[Workload, Service]],
) -> tuple[str, float]:
    """The largest of the bounds on a mean that hold.

    Work is in the fluid's tank from a request's arrival on, wherever the request is: what comes
    after the GPU adds to that bound, and what comes before it does not.
    """
    law = least_law(scenario)
    if _turned_away(scenario):
        mean = law.mean(len(demand.time))[:, None]
        return "shortest service", float((demand.time * mean).min())
    before, after = stages_ms(scenario)
    value = no_wait_bound(rate, demand, servers, noise=law, busy_weight=weight) + before + after
    bounds = [("no-wait bound", value)]
    one_law = scenario.service_ns.shape[0] == 1 or (law == CONSTANT and not mixed_laws(scenario))
    if rate == 0.0 or not one_law:
        return bounds[0]
    if _poisson(scenario):
        bounds.append(("fluid bound", fluid_bound(rate, demand, servers, noise=law) + after))
    means = []
    for workload, _ in draws:
        drawn = drawn_ms(scenario, workload, int(len(workload) * WARM_UP))
        means.append(drawn_bound(*drawn, servers, noise=law))
    if means:
        bounds.append(("fluid bound of these arrivals", float(np.mean(means)) + after))
    return max(bounds, key=lambda bound: bound[1])


def _portion_bound(
    scenario: Scenario, rate: float, demand: Demand, servers: int, portion: float
) -> tuple[str, float]:
    """The bound on a percentile; where requests are turned away, of those that cost least."""
    if mixed_laws(scenario) or scenario.drift:
        return "none", 0.0
    law = least_law(scenario)
    if not _turned_away(scenario):
        return "no-wait bound", percentile_bound(rate, demand, servers, portion, noise=law)
    least = Demand(demand.time.min(axis=1, keepdims=True), np.ones(1))
    return "shortest service", percentile_bound(0.0, least, servers, portion, noise=law)


def _unknown(scenario: Scenario, obstacle: Obstacle | None, measure: str) -> str:
    """Why the optimum of a measure is not known."""
    if obstacle is not None:
        return f"{obstacle.reason}, so the optimum is not known"
    if correlated(scenario):
        return (
            "the profile's noise is correlated from batch to batch, and the optimum is known for "
            "independent noise only"
        )
    if scenario.drift:
        return (
            "the service drifts from one replication to the next, which no rule foresees; the "
            "bound holds on average over many of them"
        )
    return f"the rule with the least mean is known, the one with the least {measure} is not"


def _turned_away(scenario: Scenario) -> bool:
    """Whether some requests are not served, so that a mean is one over the others."""
    return scenario.spec.service.capacity is not None or _may_expire(scenario)


def _may_expire(scenario: Scenario) -> bool:
    workload = scenario.workload
    return workload.timeout is not None or any(t.timeout is not None for t in workload.tiers)


def _poisson(scenario: Scenario) -> bool:
    """Whether all arrivals together are a Poisson process."""
    workload = scenario.workload
    own = (tier.arrivals for tier in workload.tiers)
    processes = own if workload.arrivals is None else (workload.arrivals,)
    return all(isinstance(process, Poisson) for process in processes)
