"""Mean waits that queueing theory knows exactly, beside those that were measured.

1. Known are rules that serve requests one by one on one server with Poisson arrivals, whatever the
   law of the service times: first come first served, strict priority, and urgency that grows with
   the wait.  Nobody is turned away, gives up, or passes a CPU stage.
2. First come first served with exponential times is known on several servers, too.
3. Times are rounded to whole nanoseconds in runs and not in theory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from policies.ageing import Ageing
from policies.contract import FloatArray, Policy, bind
from policies.greedy import Greedy
from policies.priority import Priority
from sim.arrivals import Poisson
from sim.theory import MMc, ageing_waits, priority_waits

from .demand import admitted, rate_per_ms, times_ms
from .scenario import Scenario
from .schema_service import GammaNoise, LognormalNoise, NoNoise

KEY = "exact_mean_wait_ms"
"""Of a result's facts, where there are any."""


class Classes(NamedTuple):
    """What arrives, by tier: float64 (tiers,), per ms and in ms."""

    rate: FloatArray
    mean: FloatArray
    second_moment: FloatArray

    @property
    def load(self) -> float:
        """Of one server."""
        return float(self.rate @ self.mean)


def exact_waits(scenario: Scenario, policies: Mapping[str, Policy]) -> dict[str, dict[str, Any]]:
    """The mean wait of ``tiers`` in ms and ``by`` whom, for each policy of which it is known."""
    classes = classes_of(scenario)
    if classes is None:
        return {}
    found = {}
    names = [tier.name for tier in scenario.tiers]
    for name, policy in policies.items():
        known = _waits(scenario, classes, policy)
        if known is not None:
            by, waits = known
            tiers = dict(zip(names, map(float, waits), strict=True))
            found[name] = {"by": by, "tiers": tiers}
    return found


def classes_of(scenario: Scenario) -> Classes | None:
    """Rates and moments of the tiers; None where they do not say all, or too much arrives."""
    if not (_arrive_at_random(scenario) and _one_by_one(scenario)):
        return None
    models = len(scenario.noise)
    rate, mean, second = [], [], []
    for place, (share, tier) in enumerate(admitted(scenario)):
        noise = scenario.noise[min(place, models - 1)]
        cv = 0.0 if isinstance(noise, NoNoise) else float(noise.cv)
        pmf = scenario.workload.pmf_of(tier)
        time = times_ms(scenario, min(place, models - 1), pmf.length)[0]
        chance = pmf.probability / pmf.probability.sum()
        rate.append(share)
        mean.append(float(chance @ time))
        second.append(float(chance @ time**2) * (1.0 + cv * cv))
    classes = Classes(
        rate_per_ms(scenario, None) * np.array(rate), np.array(mean), np.array(second)
    )
    return classes if classes.load < scenario.servers else None


def _arrive_at_random(scenario: Scenario) -> bool:
    """Whether all tiers arrive as Poisson processes, and nobody is turned away or gives up."""
    workload = scenario.workload
    own = [tier.arrivals for tier in workload.tiers]
    processes = own if workload.arrivals is None else [workload.arrivals]
    timeouts = [workload.timeout, *(tier.timeout for tier in workload.tiers)]
    patient = all(timeout is None for timeout in timeouts)
    admits = scenario.spec.service.capacity is None and workload.over_length != "reject"
    poisson = all(isinstance(process, Poisson) for process in processes)
    limited = any(tier.capacity is not None for tier in scenario.spec.workload.tiers or ())
    return poisson and patient and admits and not limited


def _one_by_one(scenario: Scenario) -> bool:
    """Whether a server runs one request at a time, with times that are drawn independently."""
    service = scenario.spec.service
    stages = service.preprocessing or service.postprocessing
    alone = scenario.service_ns.shape[1] == 1 and not stages and service.cluster is None
    laws = (NoNoise, GammaNoise, LognormalNoise)
    return alone and not scenario.drift and all(isinstance(one, laws) for one in scenario.noise)


def _waits(scenario: Scenario, classes: Classes, policy: Policy) -> tuple[str, FloatArray] | None:
    """Who found the mean waits, and the waits in ms, float64 (tiers,)."""
    if isinstance(policy, Greedy):
        return _in_order(scenario, classes, len(scenario.tiers))
    if scenario.servers > 1 or not isinstance(policy, Priority | Ageing):
        return None
    if np.size(policy.boundaries) > 0:
        return None
    moments = (classes.rate.tolist(), classes.mean.tolist(), classes.second_moment.tolist())
    if isinstance(policy, Priority):
        return "Cobham 1954", priority_waits(*moments)
    largest_ns, edges = scenario.service_ns.max(axis=0), scenario.length_edges
    bound: Any = bind(policy, largest_ns, edges, scenario.tiers, scenario.servers)
    return "Kleinrock 1964", ageing_waits(*moments, bound.rates.tolist())


def _in_order(scenario: Scenario, classes: Classes, tiers: int) -> tuple[str, FloatArray] | None:
    """First come first served: Pollaczek and Khinchine, or Erlang's formula of several servers."""
    if scenario.servers == 1:
        wait = float(classes.rate @ classes.second_moment) / 2.0 / (1.0 - classes.load)
        return "Pollaczek, Khinchine 1932", np.full(tiers, wait)
    exponential = all(isinstance(kind, GammaNoise) and kind.cv == 1 for kind in scenario.noise)
    constant = np.allclose(classes.second_moment, 2.0 * classes.mean**2, rtol=1e-12)
    if not (exponential and constant and np.ptp(classes.mean) == 0.0):
        return None
    chain = MMc(float(classes.rate.sum()), 1.0 / float(classes.mean[0]), scenario.servers)
    return "Erlang 1917", np.full(tiers, chain.mean_wait)


def rows_of(facts: Mapping[str, Any], outcomes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Policy, tier, measured mean wait, exact one, and by whom, where that is known."""
    known = facts.get(KEY, {})
    rows = []
    for outcome in outcomes:
        exact = known.get(outcome.policy, {"by": "", "tiers": {}})
        groups = {group.name: group for group in outcome.measures.tiers}
        for tier, wait in exact["tiers"].items():
            group = groups.get(tier, outcome.measures.overall)
            rows.append((outcome.policy, tier, group.wait_ms["mean"], wait, exact["by"]))
    return rows
