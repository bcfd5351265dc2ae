"""A checked scenario made into a :class:`Scenario`: what its keys name is looked up and compared.

Everything is held against everything here: lengths against the profile's grid and unit, policies
against the largest batch, ``load`` against what the servers can do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policies.contract import IntArray, Policy, bind
from policies.optimal import Optimal
from profiles.latency import Profile
from sim.arrivals import Arrivals
from sim.backlog import Backlog
from sim.closed import Closed, check_closed
from sim.lengths import Column, Constant, Lengths
from sim.replay import Replay
from sim.specs import TierSpec, WorkloadSpec

from .clustered import plan_of
from .costs import largest_rate_per_s, mean_work_ns, model_costs, profile_costs
from .cpu_stages import check_stages, needs_lengths
from .memory import Memory, check
from .memory_source import memory_of
from .resolve import (
    KeyedError,
    blaming,
    check_drift,
    check_sticky,
    check_trace,
    digests,
    in_sequences,
    lengths_of,
    load_profile,
    load_steady,
    process_of,
    tier_spec,
    timeout_of,
)
from .rules import ParameterError, build_policy, parameters
from .scenario import Scenario
from .schema import Spec
from .schema_service import Affine, Listed, NoNoise, ProfileNoise
from .units import s_to_ns

LUCK = 4.0
"""Standard deviations of a drift that a backlog has to last for: a fast machine serves more."""


def assembled(spec: Spec, path: Path) -> Scenario:
    """The scenario of a checked file.

    Raises:
        KeyedError: a key names something that is not there or does not fit.
    """
    check_drift(spec)
    profile = load_profile(spec, path.parent)
    workload = _workload(spec, path.parent, profile)
    models = _models(spec)
    if profile is None:
        longest = max(workload.lengths_of(tier).pmf().longest for tier in workload.tiers)
        with blaming("service.model"):
            service_ns, length_edges = model_costs(models, longest)
    else:
        service_ns, length_edges = profile_costs(profile, spec.service.latency)
    plan = plan_of(spec, path.parent, profile)
    if plan is not None and plan.length_edges is not None:
        service_ns, length_edges = plan.mean_ns(spec.service.servers), plan.length_edges
    memory, known_ns = memory_of(spec, path.parent, profile, workload, service_ns), service_ns
    if memory is not None:
        spec, service_ns = memory.narrowed(spec), service_ns[:, : memory.largest]
        plan = None if plan is None else plan.cut(memory.largest)
    works = _works_ns(workload, service_ns, length_edges, memory)
    speed = float(spec.service.servers) if plan is None else plan.speed(spec.service.servers)
    workload = _with_loads(spec, workload, works, speed)
    scenario = Scenario(
        name=spec.name or path.stem,
        path=path,
        spec=spec,
        profile=profile,
        policies=_policies(spec),
        workload=workload,
        service_ns=service_ns,
        length_edges=length_edges,
        noise=_noise(spec, models, profile),
        steady=load_steady(spec, path.parent),
        mean_work_ns=float(np.average(works, weights=_weights(workload))),
        files={**digests(spec, path.parent), **({} if memory is None else memory.files)},
        cluster=plan,
        memory=memory,
    )
    scenario = _with_optima(scenario)
    if memory is not None:
        check(memory, scenario, known_ns)
    _check_policies(scenario)
    return scenario


def _works_ns(
    workload: WorkloadSpec, service_ns: IntArray, length_edges: IntArray, memory: Memory | None
) -> list[float]:
    """Mean time that a request of each tier costs; one that is rejected costs nothing."""
    works = []
    for place, tier in enumerate(workload.tiers):
        lengths = workload.lengths_of(tier).pmf()
        if workload.over_length == "truncate":
            lengths = lengths.truncated(workload.longest)
        chances = lengths.probability * (lengths.length <= workload.longest)
        model = service_ns[min(place, len(service_ns) - 1)]
        most = None if memory is None else np.maximum(memory.most(lengths.length), 1)
        works.append(mean_work_ns(model, length_edges, lengths.length, chances, most))
    return works


def _workload(spec: Spec, folder: Path, profile: Profile | None) -> WorkloadSpec:
    """The workload in the profile's unit; where ``load`` is given, at 1 per second for now."""
    table, names = spec.workload, tuple(tier.name for tier in spec.workload.tiers or ())
    arrivals: Arrivals | Closed | None = None
    if table.arrivals is not None:
        with blaming("workload.arrivals"):
            arrivals = process_of(table.arrivals, folder, names, table.lengths)
            if table.sequences is not None:
                arrivals = in_sequences(table.sequences, arrivals)
    tiers = tuple(tier_spec(tier, i, folder) for i, tier in enumerate(table.tiers or ()))
    tiers = tiers or (TierSpec(),)
    lengths = _shared_lengths(spec, folder, arrivals, tiers, profile)
    with blaming("workload"):
        workload = WorkloadSpec(
            lengths=lengths,
            arrivals=arrivals,
            requests=table.requests,
            duration_ns=None if table.duration_s is None else s_to_ns(table.duration_s),
            tiers=tiers,
            timeout=timeout_of(spec.service.timeout),
        )
        unit = workload.unit
    check_trace(table.requests, arrivals)
    check_stages(spec, workload)
    limit = spec.service.capacity
    if limit is not None:
        with blaming("workload.arrivals.think_ms"):
            check_closed(arrivals, limit.requests)
    if profile is None:
        return replace(workload, length_unit=unit or "tokens")
    if unit not in (None, profile.length_unit):
        raise KeyedError(
            "workload.lengths",
            f"workload.lengths are in {unit}, but profile {profile.name} of service.profile "
            f"takes {profile.length_unit}; give lengths or a profile of the other unit",
        )
    _check_lengths(spec, workload, profile)
    return replace(
        workload,
        length_unit=profile.length_unit,
        longest=profile.longest,
        over_length=spec.service.over_length,
    )


def _shared_lengths(
    spec: Spec,
    folder: Path,
    arrivals: object,
    tiers: tuple[TierSpec, ...],
    profile: Profile | None,
) -> Lengths | None:
    """Lengths of the workload: as given, as the trace has them, or 1 where nothing needs them."""
    table = spec.workload.lengths
    if table is not None:
        with blaming("workload.lengths"):
            return lengths_of(table, folder, arrivals)
    if all(tier.lengths is not None for tier in tiers):
        return None
    if isinstance(arrivals, Replay) and arrivals.length is not None:
        return Column(arrivals.length)
    needs = needs_lengths(spec, _models(spec))
    if profile is None and not needs:
        return Constant(1)
    why = needs if profile is None else f"profile {profile.name}"
    raise KeyedError(
        "workload.lengths",
        f"workload.lengths is missing; {why} needs it, as in {{ constant = 128 }} or "
        '{ dataset = "imdb" }',
    )


def _check_lengths(spec: Spec, workload: WorkloadSpec, profile: Profile) -> None:
    """Lengths beyond the profile's grid need a decision."""
    unit = profile.length_unit
    for place, tier in enumerate(workload.tiers):
        lengths = workload.lengths_of(tier).pmf()
        share = lengths.share_above(profile.longest)
        key = f"workload.tiers.{place}.lengths" if tier.lengths is not None else "workload.lengths"
        if share > 0 and spec.service.over_length == "error":
            raise KeyedError(
                key,
                f"{key} reach {lengths.longest} {unit}, but profile {profile.name} knows "
                f"{profile.length[0]} to {profile.longest} {unit} ({100 * share:.3g} % of requests "
                'are longer); give shorter lengths, or service.over_length = "truncate" or '
                '"reject"',
            )
        if spec.service.over_length == "reject" and share >= 1:
            raise KeyedError(
                key,
                f"{key} are all longer than {profile.longest} {unit}, the longest that profile "
                f"{profile.name} knows, so every request would be rejected",
            )


def _models(spec: Spec) -> list[Affine | Listed]:
    """One for all tiers, or one a tier; none where a profile is given."""
    tiers = spec.workload.tiers or ()
    own = [tier.model is not None for tier in tiers]
    if spec.service.model is None:
        for place, has_own in enumerate(own):
            if has_own:
                raise KeyedError(
                    f"workload.tiers.{place}.model",
                    f"workload.tiers.{place}.model needs service.model instead of service.profile",
                )
        return []
    if not any(own):
        return [spec.service.model]
    return [tier.model or spec.service.model for tier in tiers]


def _noise(spec: Spec, models: list[Affine | Listed], profile: Profile | None) -> tuple[Any, ...]:
    """The kind of each model: a profile's own unless the scenario says otherwise."""
    if profile is not None:
        return (spec.service.noise or ProfileNoise(kind="profile"),)
    shared = spec.service.noise or getattr(spec.service.model, "noise", None)
    return tuple(model.noise or shared or NoNoise(kind="none") for model in models)


def _weights(workload: WorkloadSpec) -> tuple[float, ...]:
    """Share of each tier, up to a factor."""
    if workload.closed is not None:
        return tuple(tier.share for tier in workload.tiers)
    with blaming("workload.arrivals"):
        return workload.rates_per_s()


def _with_loads(
    spec: Spec, workload: WorkloadSpec, works: list[float], speed: float
) -> WorkloadSpec:
    """The workload with a rate wherever the scenario gives a load."""
    servers = spec.service.servers
    load = getattr(spec.workload.arrivals, "load", None)
    if load is not None and workload.arrivals is not None:
        most = largest_rate_per_s(speed, float(np.average(works, weights=_weights(workload))))
        with blaming("workload.arrivals.load"):
            assert not isinstance(workload.arrivals, Closed), "a closed loop takes no load"
            return replace(workload, arrivals=workload.arrivals.at_rate(float(load) * most))
    tiers = []
    for place, (tier, work) in enumerate(zip(workload.tiers, works, strict=True)):
        table = (spec.workload.tiers or (None,))[place]
        load = getattr(table and table.arrivals, "load", None)
        if isinstance(tier.arrivals, Backlog):
            best = largest_rate_per_s(1, work) * (1.0 + LUCK * float(spec.service.drift or 0))
            backlog = replace(tier.arrivals, per_server_s=best, servers=servers)
            tiers.append(replace(tier, arrivals=backlog))
        elif load is not None and tier.arrivals is not None:
            rate = float(load) * largest_rate_per_s(speed, work)
            with blaming(f"workload.tiers.{place}.arrivals.load"):
                tiers.append(replace(tier, arrivals=tier.arrivals.at_rate(rate)))
        else:
            tiers.append(tier)
    return replace(workload, tiers=tuple(tiers))


def _policies(spec: Spec) -> dict[str, Policy]:
    policies = {}
    for name, table in spec.policies.items():
        try:
            policies[name] = build_policy(table)
        except ParameterError as error:
            key = f"policies.{name}.{error.key}"
            raise KeyedError(key, f"{key} {error}") from error
    return policies


def _with_optima(scenario: Scenario) -> Scenario:
    """Solve for the tables of the rules of kind ``optimal`` that give none."""
    rules = scenario.policies.values()
    if all(len(rule.take) for rule in rules if isinstance(rule, Optimal)):
        return scenario
    from .optimum import with_tables

    return replace(scenario, policies={**scenario.policies, **with_tables(scenario)})


def _check_policies(scenario: Scenario) -> None:
    """Bind every policy once, so that its parameters are checked before anything runs."""
    slowest_ns = scenario.service_ns.max(axis=0)
    for name, policy in scenario.policies.items():
        check_sticky(scenario.spec, name, policy)
        try:
            bind(policy, slowest_ns, scenario.length_edges, scenario.tiers, scenario.servers)
        except ValueError as error:
            named = [key for key, field in parameters(type(policy)).items() if field in str(error)]
            parts = ["policies", name, *sorted(named, key=len)[-1:]]
            key = ".".join(parts)
            raise KeyedError(key, f"{key}: {error}") from error
