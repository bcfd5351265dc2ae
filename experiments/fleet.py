"""The fewest servers with which a policy meets every SLO at a given rate.

1. Every number of servers sees the same arrivals, and a server has the same noise whatever others
   stand beside it.
2. Enough means: stable, and every SLO is met even at the upper end of its interval.
3. More servers are taken to be no worse: the search goes up in growing steps from what the work
   alone requires, then halves the last step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from policies.contract import Policy, Tier
from sim.service import Service
from sim.stability import Driver
from sim.workload import Workload

from .capacity_rate import most_that_may_arrive
from .lateness import check, run_needs, targets_of

Crew = Callable[[int], Sequence[Service]]
"""The service of each replication with so many servers."""


@dataclass(frozen=True)
class Fleet:
    """How many servers a rate needs."""

    rate_per_s: float
    servers: int | None
    """None where even the most that were allowed are too few, or the run is too short."""
    least: int
    """No policy can do with fewer: the useful work alone takes so many."""
    most: int
    """The search ended there."""
    needs: int | None = None
    """Requests that a run needs for the percentile, where it is too short."""
    saturation_per_s: float | None = None
    """What the policy serves at most with that many servers."""
    runs: int = 0
    """Runs that it took, those on a backlog included."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def fewest_servers(
    policy: Policy,
    workloads: Sequence[Workload],
    crew: Crew,
    run: Driver,
    tiers: Sequence[Tier],
    *,
    rate_per_s: float,
    least: int = 1,
    most: int = 64,
) -> Fleet:
    """The fewest servers that are enough.

    Args:
        policy: not yet bound.
        workloads: each replication's, at the rate in question.
        crew: their services by number of servers.
        run: a driver.
        tiers: with their SLOs, in the order of the workload's.
        rate_per_s: the rate in question.
        least: where the search begins.
        most: where it ends.
    """
    targets = targets_of(tiers, workloads[0])
    needs = run_needs(workloads, targets, drifts=crew(least)[0].drifts)
    if needs is not None:
        return Fleet(rate_per_s, None, least, most, needs)
    served: dict[int, float] = {}
    checked = 0

    @cache
    def enough(servers: int) -> bool:
        nonlocal checked
        services = crew(servers)
        served[servers] = most_that_may_arrive(policy, (workloads[0], services[0]), run)
        if rate_per_s >= served[servers]:
            return False
        checked += 1
        traces = [run(policy, w, s) for w, s in zip(workloads, services, strict=True)]
        return check(rate_per_s, traces, targets, drifts=services[0].drifts).surely <= 0.0

    servers = first_enough(enough, least, most)
    saturation = None if servers is None else served[servers]
    return Fleet(
        rate_per_s, servers, least, most,
        saturation_per_s=saturation, runs=len(served) + checked,
    )  # fmt: skip


def first_enough(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The least number from ``least`` to ``most`` that is enough; all above it are taken to be."""
    if least > most:
        return None
    below, number, step = least - 1, least, 1
    while not enough(number):
        if number == most:
            return None
        below, number, step = number, min(number + step, most), 2 * step
    while number - below > 1:
        middle = (below + number) // 2
        below, number = (below, middle) if enough(middle) else (middle, number)
    return number


def least_servers(rate_per_s: float, rate_of_one_per_s: float) -> int:
    """Servers that a rate takes at the best efficiency of each."""
    return max(1, math.ceil(rate_per_s / rate_of_one_per_s - 1e-9))
