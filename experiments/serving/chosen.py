"""Which scenario and which of its policies are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config import load_scenario, scenario_names, token_scenario_names
from experiments.export.run import setting_of_run
from experiments.rerun import scenario_of_run
from experiments.runs import resolve_run
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError, suggestion
from policies.contract import Policy


class Chosen(NamedTuple):
    """What is served."""

    scenario: Scenario
    name: str
    policy: Policy
    """Not bound."""
    table: Mapping[str, Any]
    """As a scenario writes it."""


def chosen(source: str, policy: str | None, settings: Sequence[str] | None, root: Path) -> Chosen:
    """A scenario's policy, or the winner of a run.

    Args:
        source: a scenario's name or file, or a run.
        policy: its name; None: the only one, or what the run recommends.
        settings: overrides of a scenario, as ``--set`` takes them.
        root: the folder that holds all runs.

    Raises:
        ScenarioError: the scenario, an override or the policy's name is wrong.
        RunError: the run cannot be read back.
    """
    if source in (*scenario_names(), *token_scenario_names()) or Path(source).is_file():
        scenario = load_scenario(source, settings or ())
        name = policy or _only(scenario)
        if name not in scenario.policies:
            raise ScenarioError(
                f"scenario {scenario.name} has no policy {name!r}; "
                f"{suggestion(name, scenario.policies)}"
            )
        tables = scenario.to_dict()["scenario"]["policies"]
        return Chosen(scenario, name, scenario.policies[name], tables[name])
    folder = resolve_run(source, root, commands=("tune", "compare", "simulate"))
    if settings:
        raise ScenarioError(f"--set changes a scenario, but {source} is a run: leave it out")
    setting = setting_of_run(folder, policy)
    table = {"kind": setting.kind, **setting.parameters}
    return Chosen(scenario_of_run(folder), setting.name, setting.policy, table)


def _only(scenario: Scenario) -> str:
    if len(scenario.policies) > 1:
        raise ScenarioError(
            f"scenario {scenario.name} has several policies; choose one with --policy: "
            f"{', '.join(scenario.policies)} (or serve the run of `batchwright tune`)"
        )
    return next(iter(scenario.policies))


__all__ = ["Chosen", "chosen"]
