"""Which policies a validation runs: named ones, or the usual of a scenario and what was tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.scenario import Scenario
    from policies.contract import Policy

Winner = tuple["Policy", Mapping[str, Any]]
"""A policy, and as a scenario's table."""

TUNED = "tuned"
"""The winner of a tuning is called so beside the scenario's own policies."""
USUAL = (
    ("static",),
    ("aimd", "rate_aware", "queue_depth_wait", "greedy", "size_or_timeout"),
    ("length_bucketed", "nearest_lengths"),
)
"""Where no policy is named: the scenario's first of each of these groups of kinds."""


@dataclass(frozen=True)
class Asked:
    """What to hold against what."""

    scenario: Scenario
    policies: Mapping[str, Policy]
    tables: Mapping[str, Mapping[str, Any]]
    """The policies as scenario files write them."""


def asked_for(
    source: str, names: Sequence[str] | None, settings: Sequence[str] | None, root: Path
) -> Asked:
    """The scenario, and the policies to hold against each other.

    Raises:
        ScenarioError: the scenario, an override or a policy's name is wrong.
        RunError: the run cannot be read back.
    """
    from experiments.config import ScenarioError, load_scenario, scenario_names
    from experiments.rerun import scenario_of_run
    from experiments.runs import resolve_run

    folder = None
    if source in scenario_names() or Path(source).is_file():
        scenario = load_scenario(source, settings or ())
        folder = tuned_run(scenario, root)
    else:
        folder = resolve_run(source, root, commands=("tune", "compare", "simulate"))
        if settings:
            raise ScenarioError(f"--set changes a scenario, but {source} is a run: leave it out")
        scenario = scenario_of_run(folder)
    return asked_of(scenario, names, None if folder is None else winner_of(folder))


def asked_of(scenario: Scenario, names: Sequence[str] | None, winner: Winner | None) -> Asked:
    """The named policies of a scenario, or the usual ones.

    Raises:
        ScenarioError: there is no such policy.
    """
    from experiments.config import ScenarioError
    from experiments.sentences import suggestion

    policies = dict(scenario.policies)
    tables: dict[str, Any] = dict(scenario.to_dict()["scenario"]["policies"])
    if winner is not None:
        policies[TUNED], tables[TUNED] = winner
    chosen = names or usual(tables)
    for name in chosen:
        if name not in policies:
            raise ScenarioError(
                f"scenario {scenario.name} has no policy {name!r}; {suggestion(name, policies)}"
            )
    return Asked(
        scenario, {name: policies[name] for name in chosen}, {name: tables[name] for name in chosen}
    )


def usual(
    tables: Mapping[str, Mapping[str, Any]], groups: Sequence[Sequence[str]] = USUAL
) -> list[str]:
    """The first of each group of kinds as far as there are any, and the tuned."""
    chosen = []
    for kinds in groups:
        known = [
            name for kind in kinds for name, table in tables.items()
            if table["kind"] == kind and name != TUNED
        ]  # fmt: skip
        chosen += known[:1]
    if TUNED in tables:
        chosen.append(TUNED)
    return chosen or list(tables)


def tuned_run(scenario: Scenario, root: Path) -> Path | None:
    """The newest tuning of just this scenario, if there is one."""
    from experiments.rerun import read_manifest
    from experiments.runs import RunError, resolve_run

    try:
        folder = resolve_run(scenario.name, root, commands=("tune",))
        same = read_manifest(folder).get("hash") == scenario.hash
    except RunError:
        return None
    return folder if same and folder.name.startswith("tune-") else None


def winner_of(folder: Path) -> Winner | None:
    """What a run recommends, as a policy and as a scenario's table; None where it is no tuning."""
    from experiments.export.run import setting_of_run

    if not folder.name.startswith("tune-"):
        return None
    setting = setting_of_run(folder)
    return setting.policy, {"kind": setting.kind, **setting.parameters}
