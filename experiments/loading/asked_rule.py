"""Which rule decides at the server: named, or as the server itself says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.rules import ParameterError, policy_of
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError, suggestion

from .endpoint import Endpoint, Model, Told, told_by
from .predict import Rule


def rule_of(scenario: Scenario, endpoint: Endpoint, model: Model, named: str | None) -> Rule | None:
    """What is simulated; None: nobody says what.

    Raises:
        ScenarioError: there is no such policy, or the server is another than the scenario's.
    """
    tables = scenario.to_dict()["scenario"]["policies"]
    if named is not None and named not in tables:
        raise ScenarioError(
            f"scenario {scenario.name} has no policy {named!r}; {suggestion(named, tables)}"
        )
    told = told_by(endpoint) if model.ours else None
    if told is not None:
        _check(scenario, told, endpoint)
    if named is not None:
        capacity = None if told is None else told.capacity
        return Rule(named, scenario.policies[named], tables[named], capacity)
    return None if told is None else _told(told, tables, endpoint)


def _told(told: Told, tables: Mapping[str, Any], endpoint: Endpoint) -> Rule:
    """The rule of the server, by the name that the scenario has for it."""
    table = dict(told.table)
    names = [name for name, one in tables.items() if _same(one, table)]
    try:
        policy = policy_of(table)
    except (ParameterError, ValueError) as error:
        raise ScenarioError(
            f"{endpoint.url} serves with a policy that is not known here ({error}); name one of "
            "the scenario with --policy"
        ) from None
    return Rule(names[0] if names else str(table.get("kind")), policy, table, told.capacity,
                told=True)  # fmt: skip


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tables make the same policy."""
    return {key: str(value) for key, value in one.items()} == {
        key: str(value) for key, value in other.items()
    }


def _check(scenario: Scenario, told: Told, endpoint: Endpoint) -> None:
    if told.servers != scenario.servers:
        raise ScenarioError(
            f"{endpoint.url} has {told.servers} servers behind it, scenario {scenario.name} has "
            f"{scenario.servers}: give --set service.servers={told.servers}"
        )


__all__ = ["rule_of"]
