"""Who competes: policies with the axes along which their numbers may be chosen.

1. A contestant is named by the scenario's policy, or by its kind.  Keys of the scenario's table
   that are not tuned stay as they are (``from_idle = true``).
2. ``tune.space`` narrows axes: a value fixes one, ``[low, high]`` bounds it.
3. The number of servers is an axis where ``tune.servers`` gives several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.contest import BASELINES
from experiments.rules import ParameterError, policy_of
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError, shown, suggestion
from policies import POLICIES
from policies.contract import NEVER, Policy, bind, expected_ns
from policies.space import Axis, Facts, Number, Space, axes_of, filled

SERVERS = "servers"
"""The axis of the number of servers."""

MOST_POINTS = 10**15
"""Beyond it the size of a space does not matter."""


@dataclass(frozen=True)
class Contestant:
    """A policy to tune."""

    name: str
    kind: str
    space: Space
    axes: tuple[Axis, ...]
    facts: Facts
    fixed: Mapping[str, Any]
    """Keys of the table that are not tuned."""
    servers: int
    """Where they are not tuned."""
    within_memory: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    """Makes a table's batches fit; see :meth:`experiments.scenario.Scenario.within_memory`."""

    @property
    def points(self) -> int:
        """How many settings there are."""
        return min(MOST_POINTS, math.prod(len(axis.values) for axis in self.axes))

    def setting(self, chosen: Mapping[str, Number]) -> Setting:
        """The setting at one point of the space."""
        numbers = filled(self.space, chosen, self.facts)
        table = {"kind": self.kind, **self.fixed, **numbers}
        servers = int(chosen.get(SERVERS, self.servers))
        return Setting(self.name, self.within_memory(table), servers)

    def chosen(self, places: Mapping[str, int]) -> dict[str, Number]:
        """Values of the axes from their places."""
        return {axis.name: axis.values[places[axis.name]] for axis in self.axes}


@dataclass(frozen=True)
class Setting:
    """A policy with its numbers, and the servers that it runs on."""

    name: str
    table: Mapping[str, Any]
    """As a scenario file writes it."""
    servers: int

    @property
    def policy(self) -> Policy:
        """Not yet bound."""
        return policy_of(self.table)

    @property
    def key(self) -> str:
        """Equal for settings that are the same."""
        return repr((sorted(self.table.items()), self.servers))


def contestants_of(scenario: Scenario) -> tuple[Contestant, ...]:
    """Everybody that the scenario's ``[tune]`` table asks for, or all that can be tuned.

    Raises:
        ScenarioError: a name or an axis is unknown, or a policy has nothing to tune.
    """
    tune, tables = scenario.spec.tune, scenario.to_dict()["scenario"]["policies"]
    facts = facts_of(scenario)
    if tune.policies is None:
        found = [one for name in tables if (one := _made(scenario, name, tables, facts))]
        have = {one.kind for one in found}
        missing = [kind for kind in BASELINES if kind not in have]
        found += [one for kind in missing if (one := _made(scenario, kind, {}, facts))]
    else:
        found = [_wanted(scenario, name, tables, facts) for name in tune.policies]
    unique = {repr((one.kind, sorted(one.fixed.items()))): one for one in reversed(found)}
    chosen = tuple(reversed(unique.values()))
    _check_space(scenario, chosen)
    return chosen


def facts_of(scenario: Scenario) -> Facts:
    """What search spaces may know of a scenario."""
    lengths = scenario.workload.pmf()
    service_ns = scenario.service_ns.max(axis=0)
    middle = lengths.quantile(0.5)
    return Facts(
        largest_batch=int(service_ns.shape[0]),
        alone_ns=int(expected_ns(service_ns, scenario.length_edges, 1, middle)),
        full_ns=int(service_ns[-1].max()),
        slo_ns=min((tier.slo_ns for tier in scenario.tiers), default=NEVER),
        length=lengths.length,
        probability=lengths.probability,
        tiers=len(scenario.tiers),
    )


def _made(
    scenario: Scenario, name: str, tables: Mapping[str, Any], facts: Facts
) -> Contestant | None:
    """A contestant by the name of a policy or kind; None where there is nothing to tune."""
    table = dict(tables.get(name, {"kind": name}))
    kind = str(table["kind"])
    own = getattr(POLICIES[kind], "space", None)
    if own is None:
        return None
    space: Space = own()
    if scenario.memory is not None:
        largest = scenario.memory.searched(kind)
        full_ns = scenario.service_ns.max(axis=0)[scenario.memory.at_longest - 1].max()
        facts = facts._replace(largest_batch=largest, full_ns=int(full_ns))
    axes = axes_of(space, facts)
    tuned = filled(space, {axis.name: axis.values[0] for axis in axes}, facts)
    fixed = {key: value for key, value in table.items() if key != "kind" and key not in tuned}
    tune = scenario.spec.tune
    servers = tune.servers or (scenario.servers,)
    if len(servers) > 1:
        axes = (*axes, Axis(SERVERS, servers))
    axes = tuple(_narrowed(axis, name, kind, scenario) for axis in axes)
    return Contestant(name, kind, space, axes, facts, fixed, servers[0], scenario.within_memory)


def _wanted(scenario: Scenario, name: str, tables: Mapping[str, Any], facts: Facts) -> Contestant:
    """A contestant that was asked for by name.

    Raises:
        ScenarioError: the name is unknown, there is nothing to tune, or it does not fit.
    """
    if name not in tables and name not in POLICIES:
        raise ScenarioError(
            f"{scenario.name}: tune.policies names {name!r}, which is neither a policy of the "
            f"scenario nor a kind; {suggestion(name, [*tables, *POLICIES])}"
        )
    made = _made(scenario, name, tables, facts)
    if made is None:
        raise ScenarioError(f"{scenario.name}: tune.policies: {name} has no number to tune")
    first = made.setting({axis.name: axis.values[0] for axis in made.axes})
    try:
        slowest_ns = scenario.service_ns.max(axis=0)
        bind(first.policy, slowest_ns, scenario.length_edges, scenario.tiers, first.servers)
    except (ParameterError, ValueError) as error:
        raise ScenarioError(f"{scenario.name}: tune.policies: {name}: {error}") from error
    return made


def _narrowed(axis: Axis, name: str, kind: str, scenario: Scenario) -> Axis:
    """The axis as ``tune.space`` leaves it; a table for the name goes before one for the kind."""
    space = scenario.spec.tune.space
    for table in (space.get(name, {}), space.get(kind, {})):
        if axis.name not in table:
            continue
        given = table[axis.name]
        low, high = (given[0], given[-1]) if isinstance(given, list | tuple) else (given, given)
        ends = [int(end) if axis.whole else float(end) for end in (low, high)]
        least, most = axis.values[0], axis.values[-1]
        narrowed = axis.within(ends[0], ends[1])
        if low == high and not axis.whole and least <= ends[0] <= most:
            narrowed = narrowed._replace(values=(ends[0],))
        if not narrowed.values or not least <= ends[0] <= ends[1] <= most:
            raise ScenarioError(
                f"{scenario.name}: tune.space.{name}.{axis.name} = {shown(given)} must lie within "
                f"{least:g} to {most:g}"
            )
        return narrowed
    return axis


def _check_space(scenario: Scenario, chosen: tuple[Contestant, ...]) -> None:
    """Every table and key of ``tune.space`` has to be one of a contestant."""
    for name, table in scenario.spec.tune.space.items():
        meant = [one for one in chosen if name in (one.name, one.kind)]
        if not meant:
            known = sorted({word for one in chosen for word in (one.name, one.kind)})
            raise ScenarioError(
                f"{scenario.name}: tune.space.{name} is for no policy that competes; "
                f"{suggestion(name, known)}"
            )
        names = [axis.name for one in meant for axis in one.axes]
        for key in table:
            if key not in names:
                raise ScenarioError(
                    f"{scenario.name}: tune.space.{name}.{key} is unknown; "
                    f"{suggestion(key, dict.fromkeys(names))}"
                )


def largest_size(policy: Policy) -> int | None:
    """The largest batch that a bound policy fires, as far as its fields say."""
    for field in ("max_batch_size", "batch_size"):
        value = getattr(policy, field, None)
        if value is not None:
            return int(np.max(value))
    return None
