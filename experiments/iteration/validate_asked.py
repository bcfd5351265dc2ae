"""Which rules of iterations run live: named ones, or two of a scenario and what was tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config import is_for_tokens
from experiments.rerun import read_manifest
from experiments.rules import build_rule
from experiments.runs import RunError, resolve_run
from experiments.sentences import ScenarioError, suggestion
from experiments.validation.asking import TUNED, usual
from policies.iteration import RULES
from policies.iteration.contract import Rule

from .config import load_scenario
from .scenario import TokenScenario
from .setting import is_of_tokens, scenario_of_run, setting_of_run

RUNS_OF = ("tune", "compare", "simulate")
USUAL = (
    ("vllm_like",),
    ("decode_first", "shortest_prompt_first", "sla_tiers", "prefill_first", "continuous"),
)
"""Where no rule is named: the scenario's first of each of these groups of kinds."""


@dataclass(frozen=True)
class TokensAsked:
    """What to hold against what."""

    scenario: TokenScenario
    rules: Mapping[str, Rule]
    """Not bound."""
    tables: Mapping[str, Mapping[str, Any]]
    """The rules as scenario files write them."""


def asked_for(
    source: str, names: Sequence[str] | None, settings: Sequence[str], root: Path
) -> TokensAsked | None:
    """The scenario and the rules to run; None where the source is of no model that generates.

    Raises:
        ScenarioError: the scenario, an override or a rule's name is wrong.
        RunError: the run cannot be read back.
    """
    if is_for_tokens(source):
        scenario = load_scenario(source, settings)
        return asked_of(scenario, names, tuned_run(scenario, root))
    try:
        folder = resolve_run(source, root, commands=RUNS_OF)
        if not is_of_tokens(folder):
            return None
    except RunError:
        return None  # who reads it says why
    if settings:
        raise ScenarioError(f"--set changes a scenario, but {source} is a run: leave it out")
    return asked_of(scenario_of_run(folder), names, folder)


def asked_of(
    scenario: TokenScenario, names: Sequence[str] | None, tuning: Path | None = None
) -> TokensAsked:
    """The named rules of a scenario, or the usual ones and what a tuning found.

    Raises:
        ScenarioError: there is no such rule.
    """
    rules: dict[str, Rule] = dict(scenario.policies)
    tables: dict[str, Any] = {name: dict(one) for name, one in scenario.spec.policies.items()}
    if tuning is not None and tuning.name.startswith("tune-"):
        setting = setting_of_run(tuning, None, None)
        tables[TUNED] = {"kind": setting.kind, **setting.parameters}
        rules[TUNED] = build_rule(tables[TUNED], RULES, "policy of iterations")
    chosen = list(names or usual(tables, USUAL))
    for name in chosen:
        if name not in rules:
            raise ScenarioError(
                f"scenario {scenario.name} has no policy {name!r}; {suggestion(name, rules)}"
            )
    return TokensAsked(
        scenario, {name: rules[name] for name in chosen}, {name: tables[name] for name in chosen}
    )


def tuned_run(scenario: TokenScenario, root: Path) -> Path | None:
    """The newest tuning of just this scenario that recommends something, if there is one."""
    try:
        folder = resolve_run(scenario.name, root, commands=("tune",))
        if not folder.name.startswith("tune-") or not is_of_tokens(folder):
            return None
        if read_manifest(folder).get("hash") != scenario.hash:
            return None
        setting_of_run(folder, None, None)
    except RunError:
        return None
    return folder
