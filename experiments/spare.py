"""The most that a scenario's backlogs can get, with the formula and its numbers in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.backlog import places_of
from sim.service import Service
from sim.spare_capacity import bound_per_s, least_work_ns

from .scenario import Scenario
from .wording import joined


@dataclass(frozen=True)
class Bound:
    """What no rule can exceed for one backlog, see :mod:`sim.spare_capacity`."""

    tier: str
    per_s: float
    """Requests of the backlog per second."""
    servers: int
    others: dict[str, float]
    """Servers that each tier that arrives takes at its best efficiency."""
    work_ms: float
    """Least time of a server that a request of the backlog costs on average."""

    @property
    def formula(self) -> str:
        """``(1 server - 0.25 for interactive) / 9.69 ms``."""
        servers = "1 server" if self.servers == 1 else f"{self.servers} servers"
        taken = " - ".join(f"{share:.4g} for {name}" for name, share in self.others.items())
        return f"({servers} - {taken}) / {self.work_ms:.4g} ms"

    @property
    def sentence(self) -> str:
        """What is possible, and why."""
        return (
            f"No rule at all can serve more than {self.per_s:.4g}/s of {self.tier}: "
            f"{self.formula} a request, with {joined(list(self.others))} and {self.tier} each at "
            "the best efficiency of any batch."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "bound_per_s": self.per_s,
            "formula": self.formula,
            "servers": self.servers,
            "servers_of_others": self.others,
            "least_work_ms": self.work_ms,
        }


def bounds_of(scenario: Scenario, service: Service | None = None) -> tuple[Bound, ...]:
    """One for each backlog of a scenario, in the order of the tiers; drift and noise at 1.

    Args:
        scenario: who arrives.
        service: as drawn, where it has more profiles than the scenario's own.
    """
    places = places_of(scenario.tiers)
    if not places:
        return ()
    service = service or Service(scenario.service_ns, scenario.length_edges, scenario.servers)
    works = [_mean_work_ns(scenario, service, place) for place in range(len(scenario.tiers))]
    rates = [
        rate * _admitted(scenario, place)
        for place, rate in enumerate(scenario.workload.rates_per_s())
    ]
    others = {
        tier.name: rates[place] * works[place] / 1e9
        for place, tier in enumerate(scenario.tiers)
        if not tier.backlog
    }
    return tuple(
        Bound(
            scenario.tiers[place].name,
            bound_per_s(scenario.servers, rates, works, place),
            scenario.servers,
            others,
            works[place] / 1e6,
        )
        for place in places
    )


def _mean_work_ns(scenario: Scenario, service: Service, place: int) -> float:
    """Mean of w over the lengths of a tier that are served."""
    pmf = scenario.workload.pmf_of(scenario.workload.tiers[place])
    tier = np.full(len(pmf.length), place, dtype=np.int8)
    work = least_work_ns(service, pmf.length.astype(np.int32), tier)
    return float(work @ pmf.probability / pmf.probability.sum())


def _admitted(scenario: Scenario, place: int) -> float:
    """Share of a tier's requests that are not rejected for their length."""
    workload = scenario.workload
    if workload.over_length != "reject":
        return 1.0
    lengths = workload.lengths_of(workload.tiers[place]).pmf()
    return 1.0 - lengths.share_above(workload.longest)
