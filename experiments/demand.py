"""What the requests of a scenario cost, as theory takes it: rates, least times, laws of noise."""

from __future__ import annotations

import numpy as np

from policies.contract import FloatArray, IntArray
from profiles.noise import noise_table
from sim.bounds import Demand, demand_of, joined
from sim.specs import TierSpec
from sim.theory_noise import CONSTANT, Gamma, Lognormal, Mixture, ServiceNoise
from sim.theory_quantiles import Quantiles
from sim.workload import Workload

from .cpu_stages import tables
from .scenario import Scenario
from .schema_service import BlocksNoise, GammaNoise, LognormalNoise, ProfileNoise

NS_PER_MS = 1e6


def rate_per_ms(scenario: Scenario, rate_per_s: float | None) -> float:
    """Rate of the requests that are admitted; 0 in a closed loop."""
    offered = scenario.offered_rate_per_s if rate_per_s is None else rate_per_s
    if offered is None or scenario.workload.closed is not None:
        return 0.0
    return offered * float(sum(share for share, _ in admitted(scenario))) / 1e3


def admitted(scenario: Scenario) -> list[tuple[float, TierSpec]]:
    """Share of all requests that are of a tier and not too long."""
    workload = scenario.workload
    closed = workload.closed is not None
    rates = [t.share for t in workload.tiers] if closed else list(workload.rates_per_s())
    parts = []
    for rate, tier in zip(rates, workload.tiers, strict=True):
        rejects = workload.over_length == "reject"
        above = workload.lengths_of(tier).pmf().share_above(workload.longest) if rejects else 0.0
        parts.append((rate / sum(rates) * (1.0 - above), tier))
    return parts


def demand_ms(scenario: Scenario, relaxed: bool = True) -> Demand:
    """What requests cost by size, classes that cost the same joined; ``relaxed`` for bounds."""
    parts = []
    models = scenario.service_ns.shape[0]
    for place, (share, tier) in enumerate(admitted(scenario)):
        if share == 0.0:
            continue
        pmf = scenario.workload.pmf_of(tier)
        time = times_ms(scenario, min(place, models - 1), pmf.length)
        chance = pmf.probability / pmf.probability.sum()
        parts.append((share, demand_of(time, chance) if relaxed else Demand(time, chance)))
    return joined(parts)


def stages_ms(scenario: Scenario) -> tuple[float, float]:
    """Mean time that a worker takes before and after the GPU; 0 where there is no such stage."""
    parts = admitted(scenario)
    means = [scenario.workload.pmf_of(tier) for _, tier in parts]
    each = [float(pmf.length @ pmf.probability / pmf.probability.sum()) for pmf in means]
    length = float(np.average(each, weights=[share for share, _ in parts]))
    known = {
        name: float(table.base_ms) + float(table.per_length_ms) * length
        for name, table in tables(scenario.spec.service)
    }
    return known.get("preprocessing", 0.0), known.get("postprocessing", 0.0)


def drawn_ms(
    scenario: Scenario, workload: Workload, first: int
) -> tuple[FloatArray, IntArray, Demand]:
    """Arrivals of one run from a request on, the class of each, and what the classes cost."""
    kept = np.arange(len(workload)) >= first
    if scenario.workload.over_length == "reject":
        kept &= workload.length <= scenario.workload.longest
    models = scenario.service_ns.shape[0]
    lengths, place = np.unique(workload.length[kept].astype(np.int64), return_inverse=True)
    share = np.full(len(lengths), 1.0 / len(lengths))
    tables = [demand_of(times_ms(scenario, model, lengths), share).time for model in range(models)]
    tier = workload.tier if len(workload.tier) else np.zeros(len(kept), dtype=np.int8)
    model = np.minimum(tier[kept].astype(np.int64), models - 1)
    demand = Demand(np.hstack(tables), np.tile(share / models, models))
    arrival = workload.arrival_ns[kept] / NS_PER_MS
    return arrival, np.asarray(model * len(lengths) + place), demand


def times_ms(scenario: Scenario, model: int, lengths: IntArray) -> FloatArray:
    """Time without noise, float64 (largest batch, lengths)."""
    rows = scenario.service_ns[model]
    columns = [np.interp(lengths, scenario.length_edges, row) for row in rows]
    return np.asarray(np.stack(columns) / NS_PER_MS)


def correlated(scenario: Scenario) -> bool:
    """Whether the noise of a batch tells something about that of the next."""
    profile = scenario.profile
    if profile is None or scenario.steady is not None:
        return scenario.steady is not None
    return isinstance(scenario.noise[0], ProfileNoise) and noise_table(profile).lag1 != 0.0


def law_of(scenario: Scenario) -> ServiceNoise:
    """Law of the factor; correlated factors count as independent, several laws as none."""
    kind, profile = scenario.noise[0], scenario.profile
    if isinstance(kind, ProfileNoise | BlocksNoise) and profile is not None:
        table = noise_table(profile)
        return Quantiles(table.quantiles, table.class_of_size)
    if mixed_laws(scenario):
        return CONSTANT
    if isinstance(kind, LognormalNoise):
        return Lognormal(float(kind.cv))
    return Gamma(float(kind.cv)) if isinstance(kind, GammaNoise) else CONSTANT


def least_law(scenario: Scenario) -> ServiceNoise:
    """The law that a bound may use: where factors are correlated, the least of them."""
    law = law_of(scenario)
    if not correlated(scenario):
        return law
    return Mixture(law.least(scenario.service_ns.shape[1])[:, None], np.ones(1))


def mixed_laws(scenario: Scenario) -> bool:
    """Whether tiers have noises of their own; each has mean 1."""
    return any(each != scenario.noise[0] for each in scenario.noise)
