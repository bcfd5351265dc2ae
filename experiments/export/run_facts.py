"""What a run knows of its replicas and its tiers, as exporters take it."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.clustered import kind_of
from experiments.scenario import Scenario
from experiments.schema_service import FixedTimeout
from experiments.units import ms_to_ns
from policies.contract import NEVER
from sim.specs import TierSpec

from .replicas import Replicas, TierTraffic
from .rounding import in_ms
from .setting import Costs


def replicas_of(scenario: Scenario, servers: int) -> Replicas | None:
    """How the servers stand together; None without ``service.cluster``.

    Args:
        scenario: of the run.
        servers: of the setting, which a tuning may have chosen.
    """
    table, plan = scenario.spec.service.cluster, scenario.cluster
    if table is None or plan is None:
        return None
    scaler = None if plan.comings is None else plan.comings.scaler
    profiles = [profile.name for profile in plan.profiles]
    return Replicas(
        count=-(-servers // plan.instances),
        router=table.router,
        instances=plan.instances,
        instances_per_gpu=plan.instances_per_gpu,
        others=tuple(zip(profiles[1:], plan.replicas, strict=True)),
        profile=profiles[0] if profiles else "",
        scaler=scaler,
        scaled_by=None if scaler is None else kind_of(scaler),
        initial=0 if plan.comings is None or scaler is None else plan.comings.initial,
        cold_start_ns=ms_to_ns(table.cold_start_ms),
        on_failure=None if table.outages is None else table.on_failure,
    )


def replicas_remarks(scenario: Scenario) -> Iterable[str]:
    """What was simulated of the cluster, and what nobody sets up in a file."""
    table, plan = scenario.spec.service.cluster, scenario.cluster
    if table is None or plan is None:
        return
    yield f"In the simulation there were {plan.words(scenario.servers)}"
    if table.cold_start_ms:
        cold = in_ms(ms_to_ns(table.cold_start_ms))
        yield f"A new replica was ready {cold} ms after the decision to start it"
    if table.outages is not None:
        lost = "retried, which is for what stands before them to do"
        if table.on_failure == "lose":
            lost = "lost"
        yield f"Requests of a replica that failed were {lost}"


def traffic_of(scenario: Scenario) -> tuple[TierTraffic, ...]:
    """What each tier brings and may, most urgent first."""
    workload = scenario.workload
    rates: tuple[float | None, ...] = (None,) * len(workload.tiers)
    if workload.closed is None:
        rates = workload.rates_per_s()
    places = range(len(workload.tiers))
    return tuple(_tier(scenario, place, workload.tiers[place], rates[place]) for place in places)


def _tier(scenario: Scenario, place: int, tier: TierSpec, rate_per_s: float | None) -> TierTraffic:
    tables = scenario.spec.workload.tiers or ()
    table = tables[place] if tables else None
    limit = None if table is None else table.capacity
    backlog = tier.tier.backlog
    return TierTraffic(
        rate_per_s=None if backlog else rate_per_s,
        backlog=backlog,
        capacity=None if limit is None else limit.requests,
        timeout_ns=None if backlog else _patience(scenario, place),
        costs=_costs(scenario, tier),
    )


def _patience(scenario: Scenario, place: int) -> int | None:
    """The time-out that every request of a tier has; None without one."""
    tables = scenario.spec.workload.tiers or ()
    own = tables[place].timeout if tables else None
    timeout = own or scenario.spec.service.timeout
    if not isinstance(timeout, FixedTimeout):
        return None
    found = ms_to_ns(timeout.ms)
    return None if found == NEVER else found


def _costs(scenario: Scenario, tier: TierSpec) -> Costs:
    """The medians of the slowest model, and the tier's lengths that reach a batch."""
    lengths = scenario.workload.pmf_of(tier)
    slowest_ns = scenario.service_ns.max(axis=0)
    return Costs(slowest_ns, scenario.length_edges, lengths.length, lengths.probability)
