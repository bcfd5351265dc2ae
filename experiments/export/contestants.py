"""Policies of stack files as contestants of a scenario: what does my present setting cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.assemble import assembled
from experiments.resolve import KeyedError
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError

from .reading import imported


def with_files(
    scenario: Scenario, files: Sequence[str | Path], tell: Callable[[str], None]
) -> tuple[Scenario, list[str]]:
    """A scenario with the policies of files, each named after its file, and their names.

    Args:
        scenario: loaded.
        files: of stacks.
        tell: told how each differs from its stack, one line a note.

    Raises:
        ExportError: a file cannot be read as one of a stack.
        ScenarioError: its policy does not fit the scenario.
    """
    found = imported(files, scenario.policies)
    for (name, one), path in zip(found.items(), files, strict=True):
        servers = one.imported.servers
        notes = list(one.imported.notes)
        if servers is not None and servers not in known_servers(scenario):
            notes.append(
                f"the file asks for {servers} servers, the scenario has {scenario.servers}"
            )
        tiers, levels = len(scenario.tiers), one.imported.tiers
        if levels is not None and levels != tiers:
            notes.append(
                f"the file has {levels} levels of priority, the scenario has {tiers} "
                f"{'tier' if tiers == 1 else 'tiers'}"
            )
        for note in notes:
            tell(f"note: {path} as {name}: {note}")
    tables = {name: one.imported.table for name, one in found.items()}
    return with_policies(scenario, tables, dict(zip(found, files, strict=True))), list(found)


def known_servers(scenario: Scenario) -> set[int]:
    """How many servers a file may ask for: all of them, or behind a router those of a replica."""
    plan = scenario.cluster
    if plan is None or plan.router is None:
        return {scenario.servers}
    return {scenario.servers, plan.instances, scenario.servers // plan.instances}


def with_policies(
    scenario: Scenario, tables: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str | Path]
) -> Scenario:
    """A scenario with more policies, checked as if its file had named them.

    Args:
        scenario: loaded.
        tables: what ``[policies.NAME]`` would hold, by name.
        sources: the file that each comes from.

    Raises:
        ScenarioError: a policy does not fit the scenario's profile.
    """
    added = {name: dict(table) for name, table in tables.items()}
    spec = scenario.spec.model_copy(update={"policies": {**scenario.spec.policies, **added}})
    try:
        return replace(assembled(spec, scenario.path), name=scenario.name)
    except KeyedError as error:
        parts = str(error.key).split(".")
        source = sources.get(parts[1]) if len(parts) > 1 else None
        place = scenario.name if source is None else source
        raise ScenarioError(f"{place}: {error}") from error
