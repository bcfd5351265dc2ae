"""A checked file made into a scenario: processes, lengths, engine, rules."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from experiments.resolve import (
    KeyedError,
    blaming,
    check_trace,
    lengths_of,
    located,
    process_of,
)
from experiments.rules import ParameterError, build_rule
from experiments.schema_arrivals import TraceFile
from experiments.schema_lengths import Column as ColumnTable
from experiments.schema_lengths import Histogram
from experiments.units import ms_to_ns, s_to_ns
from policies.contract import NEVER, Tier
from policies.iteration import RULES
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes
from sim.arrivals import Arrivals
from sim.closed import Closed
from sim.iteration.measures import Targets
from sim.lengths import Lengths
from sim.specs import TierSpec, WorkloadSpec

from .profiled import steps_of
from .scenario import TokenScenario
from .schema import EngineTable, TokenSlo, TokenSpec, TokenTier


def assembled(spec: TokenSpec, path: Path) -> TokenScenario:
    """The scenario of a checked file.

    Raises:
        KeyedError: a key names something that is not there or does not fit.
    """
    folder, table = path.parent, spec.workload
    own = tuple(table.tiers or ())
    names = tuple(tier.name for tier in own)
    arrivals: Any = None
    if table.arrivals is not None:
        arrivals = _process(table.arrivals, folder, names, table.prompts, "workload.arrivals")
    check_trace(table.requests, arrivals)
    tiers = tuple(_tier(tier, place, folder) for place, tier in enumerate(own))
    prompts = None
    if table.prompts is not None:
        with blaming("workload.prompts"):
            prompts = lengths_of(table.prompts, folder, arrivals)
    with blaming("workload"):
        workload = WorkloadSpec(
            lengths=prompts,
            arrivals=arrivals,
            requests=table.requests,
            duration_ns=None if table.duration_s is None else s_to_ns(table.duration_s),
            tiers=tiers or (TierSpec(),),
        )
        unit = workload.unit
    if unit not in (None, "tokens"):
        raise KeyedError("workload.prompts", f"workload.prompts are in {unit}, not in tokens")
    steps = steps_of(spec.engine, folder)
    scenario = TokenScenario(
        name=spec.name or path.stem,
        path=path,
        spec=spec,
        policies={name: _rule(name, found) for name, found in spec.policies.items()},
        workload=workload,
        outputs=_outputs(spec, folder, names),
        engine=engine_of(spec.engine),
        times=steps.times,
        targets=tuple(targets_of(tier.slo) for tier in own) or (Targets(),),
        service=steps.words,
        model=steps.model,
        noise=steps.noise,
        files=_digests(spec, folder),
    )
    _check_rules(scenario)
    return scenario


def _process(table: Any, folder: Path, names: tuple[str, ...], lengths: Any, key: str) -> Arrivals:
    with blaming(key):
        found = process_of(table, folder, names, lengths)
    assert not isinstance(found, Closed), "the table refuses it"
    return found


def _tier(table: TokenTier, place: int, folder: Path) -> TierSpec:
    key = f"workload.tiers.{place}"
    own, prompts = None, None
    if table.arrivals is not None:
        own = _process(table.arrivals, folder, (), table.prompts, f"{key}.arrivals")
    if table.prompts is not None:
        with blaming(f"{key}.prompts"):
            prompts = lengths_of(table.prompts, folder, own)
    share = 1.0 if table.share is None else float(table.share)
    slo = table.slo
    target = NEVER if slo is None or slo.latency_ms is None else max(1, ms_to_ns(slo.latency_ms))
    tier = Tier(table.name, target, 99.0 if slo is None else float(slo.percentile))
    return TierSpec(tier, share, own, prompts)


def _outputs(spec: TokenSpec, folder: Path, names: tuple[str, ...]) -> tuple[Lengths, ...]:
    """Of each tier: its own, or those of the workload; a column is read from the trace again."""
    found = []
    for place, tier in enumerate(spec.workload.tiers or (None,)):
        table, key = spec.workload.outputs, "workload.outputs"
        arrivals: Any = spec.workload.arrivals
        if tier is not None and tier.outputs is not None:
            table, key = tier.outputs, f"workload.tiers.{place}.outputs"
        if tier is not None and tier.arrivals is not None:
            arrivals = tier.arrivals
        source = None
        if isinstance(table, ColumnTable) and isinstance(arrivals, TraceFile):
            source = _process(arrivals, folder, names, table, key)
        with blaming(key):
            lengths = lengths_of(table, folder, source)
            if lengths.unit not in (None, "tokens"):
                raise KeyedError(key, f"{key} are in {lengths.unit}, not in tokens")
            found.append(lengths)
    return tuple(found)


def targets_of(slo: TokenSlo | None) -> Targets:
    """What a tier is promised."""
    if slo is None:
        return Targets()
    first, each, whole = (
        NEVER if limit is None else max(1, ms_to_ns(limit))
        for limit in (slo.ttft_ms, slo.tpot_ms, slo.latency_ms)
    )
    return Targets(first, each, whole, float(slo.percentile))


def engine_of(table: EngineTable) -> Engine:
    """The engine that a table describes."""
    memory = table.memory
    if memory is None:
        return Engine(table.max_num_seqs, longest=table.max_model_len)
    swap_ns = 0.0
    if table.preemption == "swap":
        assert memory.kv_bytes_per_token is not None, "the table asks for it"
        block = memory.kv_bytes_per_token * memory.block_tokens
        swap_ns = 1e9 * block / (float(table.swap_gib_per_s) * 2**30)
    return Engine(
        table.max_num_seqs,
        memory.count(),
        memory.block_tokens,
        table.max_model_len,
        table.preemption == "swap",
        swap_ns,
    )


def _rule(name: str, table: dict[str, Any]) -> Rule:
    try:
        found: Rule = build_rule(table, RULES, "policy of iterations")
    except ParameterError as error:
        key = f"policies.{name}.{error.key}"
        raise KeyedError(key, f"{key} {error}") from error
    return found


def _check_rules(scenario: TokenScenario) -> None:
    """Every rule can be bound to the engine."""
    tiers = tuple(tier.tier for tier in scenario.workload.tiers)
    for name, rule in scenario.policies.items():
        try:
            scenario.serving().bound(rule, tiers)
        except ValueError as error:
            raise KeyedError(f"policies.{name}", f"policies.{name}: {error}") from error


def _digests(spec: TokenSpec, folder: Path) -> dict[str, str]:
    """SHA-256 of the files that the workload names."""
    tables: list[Any] = [spec.workload, *(spec.workload.tiers or ())]
    names = {t.arrivals.file for t in tables if isinstance(t.arrivals, TraceFile)}
    for table in tables:
        for lengths in (table.prompts, table.outputs):
            if isinstance(lengths, Histogram):
                names.add(lengths.histogram)
    found = {}
    for name in sorted(names):
        with located(name, folder).open("rb") as given:
            found[name] = hashlib.file_digest(given, "sha256").hexdigest()
    return found


__all__ = ["StepTimes", "assembled", "engine_of", "targets_of"]
