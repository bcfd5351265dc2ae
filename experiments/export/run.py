"""A run's policy made into the setting that is exported, with the evidence of the run.

The numbers are those of ``result.json``, the rest is read back from the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.cpu_stages import described
from experiments.rerun import exact, read_manifest, read_result, run_name, scenario_of_run
from experiments.rules import ParameterError, build_policy
from experiments.runs import RunError, folder_name
from experiments.scenario import Scenario
from experiments.schema_service import ExponentialTimeout, FixedTimeout
from experiments.sentences import ScenarioError, suggestion
from experiments.units import ms_to_ns
from policies.contract import NEVER, Policy, bind

from .run_facts import replicas_of, replicas_remarks, traffic_of
from .setting import Costs, Evidence, Figure, Setting
from .tier_windows import DOES

FIGURES = ("mean", "p50", "p99")
"""Of latency: what every export carries."""


def setting_of_run(folder: Path, policy: str | None = None, model: str | None = None) -> Setting:
    """The setting that a run recommends.

    Args:
        folder: of a run of ``simulate``, ``compare`` or ``tune``.
        policy: another policy of the run; by default the winner, the best or the only one.
        model: what the stack shall call the model; by default the scenario's name.

    Raises:
        RunError: the run has no such policy, has none to recommend, or cannot be read back.
    """
    result = read_result(folder)
    try:
        return _setting(folder, result, chosen(result, folder, policy), model)
    except (RunError, ScenarioError):
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise RunError(
            f"run {run_name(folder)} is damaged, or of another version: result.json or "
            f"manifest.json has no such value ({type(error).__name__}: {error}); run it again"
        ) from error


def _setting(folder: Path, result: Mapping[str, Any], name: str, model: str | None) -> Setting:
    """The setting of one policy of a run."""
    scenario = scenario_of_run(folder)
    table = exact(result["policies"][name]["parameters"])
    servers = _servers(result, name, scenario)
    parameters = {key: value for key, value in table.items() if key != "kind"}
    limit = scenario.spec.service.capacity
    timeout_ns, impatience = _timeout(scenario, str(table["kind"]))
    remarks = (
        *impatience,
        *_lengths_remark(scenario),
        *_memory_remark(scenario),
        *_stages_remark(scenario),
        *replicas_remarks(scenario),
        *_stability(result["policies"][name]),
        *_first_load(result),
    )
    return Setting(
        name=name,
        model=model or folder_name(scenario.name),
        policy=_bound(folder, name, table, scenario, servers),
        kind=str(table["kind"]),
        parameters=parameters,
        servers=servers,
        largest_batch=_largest_batch(scenario),
        length_unit=scenario.workload.length_unit or "tokens",
        longest=int(scenario.length_edges[-1]),
        tiers=scenario.tiers,
        evidence=_evidence(folder, scenario, result, name, remarks),
        capacity=None if limit is None else limit.requests,
        capacity_counts_in_system=limit is not None and limit.counts == "in_system",
        timeout_ns=timeout_ns,
        over_length=scenario.spec.service.over_length,
        costs=_costs(scenario),
        replicas=replicas_of(scenario, servers),
        traffic=traffic_of(scenario),
    )


def chosen(result: Mapping[str, Any], folder: Path, policy: str | None) -> str:
    """The name of the policy to export.

    Raises:
        RunError: there is no such policy, or the run recommends none.
    """
    known = result.get("policies")
    if not known or not all("latency_ms" in one for one in known.values()):
        raise RunError(
            f"run {run_name(folder)} holds no single setting to export; "
            "give a run of compare, simulate or tune"
        )
    if policy is not None:
        if policy not in known:
            raise RunError(
                f"run {run_name(folder)} has no policy {policy!r}; {suggestion(policy, known)}"
            )
        return policy
    found = result.get("winner") or result.get("best")
    if found is None and len(known) == 1:
        found = next(iter(known))
    if found is None:
        why = "none that was searched keeps every limit" if "judged" in result else "none is stable"
        raise RunError(
            f"run {run_name(folder)} recommends no policy, as {why}; "
            f"choose one with --policy: {', '.join(known)}"
        )
    return str(found)


def _servers(result: Mapping[str, Any], name: str, scenario: Scenario) -> int:
    """How many servers a policy had: a tuning may choose them too."""
    for judged in result.get("judged") or ():
        if judged.get("name") == name:
            return int(judged["servers"])
    if name == result.get("winner"):
        return int(result.get("winner_servers") or scenario.servers)
    return scenario.servers


def _stages_remark(scenario: Scenario) -> tuple[str, ...]:
    """What is predicted with CPU stages, which a batching configuration does not set up."""
    stages = described(scenario.spec.service)
    if not stages:
        return ()
    return (f"The predicted latency includes stages outside this file: {'; '.join(stages)}",)


def _first_load(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Which load the figures are of, where there are several."""
    loads = list(result.get("loads") or [])
    if len(loads) < 2:
        return ()
    return (f"The predicted figures are those of the first load, {float(loads[0]['load']):.4g}",)


def _bound(
    folder: Path, name: str, table: Mapping[str, Any], scenario: Scenario, servers: int
) -> Policy:
    """The policy of a result's table, with what it knows of the profile.

    Where it is the scenario's own, it is taken from there: a kind may be solved for the scenario.
    """
    own = scenario.policies.get(name)
    if scenario.spec.policies.get(name) != table:
        own = None
    slowest_ns = scenario.service_ns.max(axis=0)
    try:
        built = build_policy(table) if own is None else own
        return bind(built, slowest_ns, scenario.length_edges, scenario.tiers, servers)
    except ParameterError as error:
        raise RunError(f"run {run_name(folder)}: the policy's {error.key} {error}") from error
    except ValueError as error:
        raise RunError(f"run {run_name(folder)}: {error}") from error


def _evidence(
    folder: Path,
    scenario: Scenario,
    result: Mapping[str, Any],
    name: str,
    remarks: tuple[str, ...],
) -> Evidence:
    manifest, about = read_manifest(folder), result["scenario"]
    latency = result["policies"][name]["latency_ms"]
    profile = manifest.get("profile") or {}
    loads = [at.get("load") for at in result.get("loads") or [about]]
    rate = about.get("offered_rate_per_s")
    return Evidence(
        scenario=scenario.name,
        scenario_hash=scenario.hash,
        run=run_name(folder),
        profile=profile.get("name"),
        device=profile.get("device"),
        arrivals=_process(scenario),
        rate_per_s=None if rate is None else float(rate),
        loads=tuple(float(load) for load in loads if load is not None),
        requests=int(about["requests"]),
        replications=int(about.get("replications", 1)),
        seeds={key: int(seed) for key, seed in (about.get("seeds") or manifest["seeds"]).items()},
        latency_ms={each: _figure(latency[each]) for each in FIGURES if each in latency},
        version=str(manifest.get("versions", {}).get("batchwright", "")),
        command=tuple(map(str, manifest.get("command_line", ()))),
        remarks=remarks,
    )


def _figure(found: Mapping[str, Any]) -> Figure:
    """A value with its interval, as ``result.json`` has it."""
    ends = (found.get("value"), found.get("low"), found.get("high"))
    return Figure(*(None if end is None else float(end) for end in ends))


def _process(scenario: Scenario) -> str:
    """What arrives: one word, or one for each tier."""
    table = scenario.spec.workload
    if table.arrivals is not None:
        return str(table.arrivals.process)
    own = [tier.arrivals.process for tier in table.tiers or () if tier.arrivals is not None]
    return ", ".join(dict.fromkeys(own))


def _timeout(scenario: Scenario, kind: str) -> tuple[int | None, tuple[str, ...]]:
    """The one time-out of all requests, or a remark on why there is not one.

    Rules that know tiers may be written with a time-out for each.
    """
    shared = scenario.spec.service.timeout
    own = [tier.timeout or shared for tier in scenario.spec.workload.tiers or ()] or [shared]
    if any(isinstance(each, ExponentialTimeout) for each in own):
        remark = "In the simulation clients gave up after exponentially distributed times"
        return None, (f"{remark}, which is theirs to do: no time-out is written",)
    limits = {ms_to_ns(each.ms) if isinstance(each, FixedTimeout) else NEVER for each in own}
    if len(limits) > 1 and kind in DOES:
        return None, ()
    if len(limits) > 1:
        remark = "In the simulation the tiers had different time-outs, and one queue has one"
        return None, (f"{remark}: no time-out is written",)
    (limit_ns,) = limits
    return (None if limit_ns == NEVER else limit_ns), ()


def _lengths_remark(scenario: Scenario) -> tuple[str, ...]:
    """What happens to requests that are longer than the profile knows."""
    does = {"truncate": "truncated to it", "reject": "rejected"}.get(
        scenario.spec.service.over_length
    )
    longest = int(scenario.length_edges[-1])
    lengths = (scenario.workload.lengths_of(tier).pmf() for tier in scenario.workload.tiers)
    if does is None or all(pmf.longest <= longest for pmf in lengths):
        return ()
    unit = scenario.workload.length_unit
    remark = f"In the simulation requests longer than {longest} {unit} were {does}"
    return (f"{remark}, which has to be done before the batcher",)


def _largest_batch(scenario: Scenario) -> int:
    """What any batch may have: with a limit of memory, what fits at the longest length."""
    memory = scenario.memory
    return scenario.service_ns.shape[1] if memory is None else memory.at_longest


def _memory_remark(scenario: Scenario) -> tuple[str, ...]:
    """What the sizes were held to."""
    return () if scenario.memory is None else (f"Sizes are held to the {scenario.memory.line()}",)


def _stability(found: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning where the policy could not keep up."""
    if found.get("stable", True):
        return ()
    return (f"The policy does not keep up with these arrivals: {found.get('stability')}",)


def _costs(scenario: Scenario) -> Costs:
    """The medians of the slowest model, and the lengths that reach a batch, of all tiers."""
    lengths = scenario.workload.pmf()
    slowest_ns = scenario.service_ns.max(axis=0)
    return Costs(slowest_ns, scenario.length_edges, lengths.length, lengths.probability)
