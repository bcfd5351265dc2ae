"""What settings are run on: drawn workloads at each load, the same for everyone.

1. All loads of a course play the same arrivals, faster and slower, so that each has the same luck.
2. The search, each round of the finalists and the judging have replications of their own: numbers
   far from those of ``simulate`` and ``compare``, and from one another.
3. Noise is drawn for the most servers that may be chosen, so that a server's luck does not depend
   on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from experiments.contest import Draw
from experiments.load_curve import at_pace, first_requests
from experiments.scenario import Scenario

SEARCH, ROUNDS, JUDGING = 1_000, 2_000, 3_000
"""The first replication of each stage."""


@dataclass(frozen=True)
class Leg:
    """One load of a course."""

    load: float | None
    """None in a closed loop."""
    rate_per_s: float | None
    draws: tuple[Draw, ...]

    def on(self, servers: int) -> list[Draw]:
        """The draws with so many servers."""
        return [(workload, service.with_servers(servers)) for workload, service in self.draws]

    def first(self, requests: int) -> Leg:
        """The beginning of the same draws."""
        drawn = ((first_requests(workload, requests), service) for workload, service in self.draws)
        return replace(self, draws=tuple(drawn))


Course = tuple[Leg, ...]


def course_of(
    scenario: Scenario, loads: Sequence[float | None], replications: Iterable[int]
) -> Course:
    """Draw a course.

    Args:
        scenario: where the requests are from.
        loads: None stands for the scenario's own pace.
        replications: which ones.
    """
    most = max(scenario.spec.tune.servers or (scenario.servers,))
    spec = scenario.spec
    service = spec.service.model_copy(update={"servers": most})
    wide = replace(scenario, spec=spec.model_copy(update={"service": service}))
    draws = tuple(wide.draw(replication) for replication in replications)
    return tuple(_leg(scenario, load, draws) for load in loads)


def _leg(scenario: Scenario, load: float | None, draws: tuple[Draw, ...]) -> Leg:
    own, rate = scenario.load, scenario.offered_rate_per_s
    if load is None or own is None or rate is None or load == own:
        return Leg(own, rate, draws)
    factor = load / own
    paced = tuple((at_pace(workload, factor), service) for workload, service in draws)
    return Leg(load, rate * factor, paced)


def loads_of(scenario: Scenario) -> tuple[float | None, ...]:
    """The loads to tune for."""
    given = scenario.spec.tune.loads
    return (None,) if given is None else tuple(float(load) for load in given)
