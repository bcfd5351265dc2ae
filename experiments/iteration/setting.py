"""A run's rule of continuous batching made into the setting that is exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.export.comment import NOT_EXACT, commented
from experiments.rerun import exact, read_manifest, read_result, run_name
from experiments.runs import RunError, folder_name
from experiments.sentences import suggestion
from policies.iteration.contract import Engine

from .assemble import assembled, engine_of
from .scenario import TokenScenario
from .schema import TokenSpec

KIND = "iterations"
"""How results of scenarios with an ``[engine]`` begin their ``kind``."""

FIGURES = (
    ("ttft_ms", "mean", "time to first token, mean"),
    ("ttft_ms", "p99", "time to first token, p99"),
    ("tpot_ms", "mean", "time per output token, mean"),
    ("latency_ms", "mean", "latency, mean"),
)


@dataclass(frozen=True)
class TokenSetting:
    """What is exported, with the evidence of the run."""

    name: str
    """Of the policy."""
    kind: str
    parameters: Mapping[str, Any]
    engine: Engine
    scenario: str
    run: str
    tiers: tuple[str, ...]
    evidence: tuple[str, ...]
    """Sentences for the comment of a file."""
    model: str

    def number(self, key: str, default: int) -> int:
        """A whole number of the rule; 0 and what is not there stand for the default."""
        return int(self.parameters.get(key) or default)

    @property
    def most(self) -> int:
        """Sequences at once."""
        return self.number("max_num_seqs", self.engine.sequences)

    def comment(self, differences: tuple[str, ...], notes: tuple[str, ...]) -> str:
        """The comment that every file carries."""
        warning = (NOT_EXACT, *(f"What differs: {each}." for each in differences))
        told = (*self.evidence, *(warning if differences else ()), *(f"Note: {n}." for n in notes))
        return commented(told)


def is_of_tokens(folder: Path) -> bool:
    """Whether a run is of a scenario with an ``[engine]``."""
    return str(read_result(folder).get("kind", "")).startswith(KIND)


def setting_of_run(folder: Path, policy: str | None, model: str | None) -> TokenSetting:
    """The setting that a run recommends.

    Raises:
        RunError: the run has no such policy, has none to recommend, or is damaged.
    """
    result, manifest = read_result(folder), read_manifest(folder)
    if result.get("kind") not in (KIND, f"{KIND}-tuning"):
        raise RunError(
            f"run {run_name(folder)} holds no single setting to export; "
            "give a run of compare, simulate or tune"
        )
    try:
        return _setting(folder, result, manifest, policy, model)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(
            f"run {run_name(folder)} is damaged, or of another version: result.json or "
            f"manifest.json has no such value ({type(error).__name__}: {error}); run it again"
        ) from error


def _setting(
    folder: Path,
    result: Mapping[str, Any],
    manifest: Mapping[str, Any],
    policy: str | None,
    model: str | None,
) -> TokenSetting:
    known = result["policies"]
    name = policy or result.get("winner") or result.get("best")
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name is None:
        raise RunError(
            f"run {run_name(folder)} recommends no policy, as none is stable; "
            f"choose one with --policy: {', '.join(known)}"
        )
    if name not in known:
        raise RunError(
            f"run {run_name(folder)} has no policy {name!r}; {suggestion(str(name), known)}"
        )
    spec = TokenSpec.model_validate(exact(manifest["scenario"]))
    table = dict(known[name]["parameters"])
    kind = str(table.pop("kind"))
    scenario = str(manifest["name"])
    return TokenSetting(
        name=str(name),
        kind=kind,
        parameters=table,
        engine=engine_of(spec.engine),
        scenario=scenario,
        run=run_name(folder),
        tiers=tuple(tier.name for tier in spec.workload.tiers or ()),
        evidence=_evidence(folder, result, str(name), kind, table, scenario),
        model=model or folder_name(scenario),
    )


def _evidence(
    folder: Path,
    result: Mapping[str, Any],
    name: str,
    kind: str,
    table: Mapping[str, Any],
    scenario: str,
) -> tuple[str, ...]:
    """The sentences of a file's comment."""
    numbers = ", ".join(f"{key} = {value}" for key, value in table.items())
    found, facts = result["policies"][name], result["scenario"]
    said = [f"Written by batchwright from run {run_name(folder)}, scenario {scenario}."]
    said.append(f"Policy {name}: {kind}" + (f" with {numbers}." if numbers else "."))
    parts = []
    for group, key, words in FIGURES:
        one = found[group][key]
        if one.get("value") is not None:
            parts.append(f"{words} {float(one['value']):.4g} ms")
    rate = float(facts["offered_rate_per_s"])
    if parts:
        said.append(f"Predicted at {rate:.4g} requests/s: {', '.join(parts)}.")
    if "slo_attainment" in found and found["slo_attainment"].get("value") is not None:
        share = 100.0 * float(found["slo_attainment"]["value"])
        said.append(f"{share:.1f} % of the requests keep their targets.")
    return tuple(said)


def scenario_of_run(folder: Path) -> TokenScenario:
    """The scenario that a run was made of, with its overrides.

    Raises:
        RunError: the manifest is damaged, or what the scenario names has changed or gone since.
    """
    manifest = read_manifest(folder)
    try:
        spec = TokenSpec.model_validate(exact(manifest["scenario"]))
        scenario = assembled(spec, Path(str(manifest["path"])))
        known = manifest["hash"]
    except (LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"run {run_name(folder)} cannot be read back: {error}; run it again"
        ) from error
    if scenario.hash != known:
        raise RunError(
            f"run {run_name(folder)} was made of other data: what its scenario names has changed "
            "since; run it again"
        )
    return scenario
