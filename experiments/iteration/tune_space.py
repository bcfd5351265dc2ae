"""Who competes when a scenario with an ``[engine]`` is tuned: kinds of rules, with their grids.

1. A contestant is named by its kind, or by the policy of the scenario that was asked for.  Keys of
   the scenario's table that are not tuned stay as they are (``padded = false``).
2. By default every kind competes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.rules import ParameterError, build_rule, exact
from experiments.sentences import ScenarioError, suggestion
from experiments.tune.contestants import MOST_POINTS, Setting
from policies.contract import NEVER
from policies.iteration import RULES
from policies.iteration.contract import Rule
from policies.iteration.space import TokenFacts, TokenSpace
from policies.iteration.times import step_ns
from policies.space import Axis, Number

from .scenario import TokenScenario


@dataclass(frozen=True)
class TokenContestant:
    """A rule to tune."""

    name: str
    kind: str
    space: TokenSpace
    axes: tuple[Axis, ...]
    facts: TokenFacts
    fixed: Mapping[str, Any]
    """Keys of the table that are not tuned."""

    @property
    def points(self) -> int:
        """How many settings there are."""
        return min(MOST_POINTS, math.prod(len(axis.values) for axis in self.axes))

    def setting(self, chosen: Mapping[str, Number]) -> Setting:
        """The setting at one point of the space."""
        table: dict[str, Any] = {"kind": self.kind, **self.fixed}
        for dimension in self.space:
            table |= dimension.fill(chosen, self.facts)
        return Setting(self.name, table, 1)

    def chosen(self, places: Mapping[str, int]) -> dict[str, Number]:
        """Values of the axes from their places."""
        return {axis.name: axis.values[places[axis.name]] for axis in self.axes}


def rule_of(table: Mapping[str, Any]) -> Rule:
    """A rule from plain numbers, as JSON or Python has them.

    Raises:
        ParameterError: an unknown kind or key, or a value of the wrong type.
    """
    given = {key: exact(value) for key, value in table.items()}
    rule: Rule = build_rule(given, RULES, "policy of iterations")
    return rule


def facts_of(scenario: TokenScenario) -> TokenFacts:
    """What search spaces may know of a scenario."""
    engine = scenario.engine
    return TokenFacts(
        sequences=engine.sequences,
        longest=engine.longest,
        blocks=engine.blocks,
        shortest_ns=max(1, math.ceil(step_ns(scenario.times, 1.0, 0.0, 0.0, 1.0))),
        ttft_ns=min((one.ttft_ns for one in scenario.targets), default=NEVER),
        tiers=len(scenario.workload.tiers),
    )


def contestants_of(scenario: TokenScenario) -> tuple[TokenContestant, ...]:
    """Everybody that the scenario's ``[tune]`` table asks for, or every kind.

    Raises:
        ScenarioError: a name is neither a policy of the scenario nor a kind.
    """
    tables, facts = tables_of(scenario), facts_of(scenario)
    wanted = scenario.spec.tune.policies or tuple(RULES)
    found = []
    for name in wanted:
        if name not in tables and name not in RULES:
            raise ScenarioError(
                f"{scenario.name}: tune.policies names {name!r}, which is neither a policy of the "
                f"scenario nor a kind; {suggestion(name, [*tables, *RULES])}"
            )
        own = next((table for table in tables.values() if table["kind"] == name), {"kind": name})
        found.append(_made(name, tables.get(name, own), facts))
    return tuple({one.name: one for one in found}.values())


def tables_of(scenario: TokenScenario) -> dict[str, dict[str, Any]]:
    """The tables of the scenario's policies as plain JSON values."""
    found: dict[str, dict[str, Any]] = scenario.to_dict()["scenario"]["policies"]
    return found


def _made(name: str, table: Mapping[str, Any], facts: TokenFacts) -> TokenContestant:
    kind = str(table["kind"])
    space: TokenSpace = RULES[kind].space()  # type: ignore[attr-defined]
    tuned = {"kind", *(dimension.key for dimension in space)}
    fixed = {key: value for key, value in table.items() if key not in tuned}
    axes = tuple(axis for dimension in space for axis in dimension.axes(facts))
    return TokenContestant(name, kind, space, axes, facts, fixed)


__all__ = [
    "ParameterError",
    "TokenContestant",
    "contestants_of",
    "facts_of",
    "rule_of",
    "tables_of",
]
