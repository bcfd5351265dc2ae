"""A result or a run as files of a serving stack: ``export(tune("bert"), "triton")``.

A result knows its scenario by name and hash.  It is loaded again, and one that has another hash, as
with overrides, has to be given: the files carry the evidence of what was simulated.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.plain import dumps
from experiments.results import Comparison, Simulation
from experiments.runs import MANIFEST, RESULT, folder_name, resolve_run, versions, write_atomic

from .contract import Exported, ExportError
from .reading import module_of, stack_called
from .run import setting_of_run

if TYPE_CHECKING:
    from experiments.scenario import Scenario
    from experiments.tune.result import Tuning

EXPORTED = ("tune", "compare", "simulate")
"""The commands whose runs hold a setting."""


def export(
    source: Simulation | Comparison | Tuning | str | Path,
    to: str,
    policy: str | None = None,
    *,
    nearest: bool = False,
    name: str | None = None,
    scenario: Scenario | None = None,
    folder: str | Path | None = None,
) -> Exported:
    """Write the setting that a result or a run recommends as files of a serving stack.

    Args:
        source: a result; or a run's folder, a scenario's name (its newest run) or ``latest``.
        to: a stack, a key of :data:`experiments.export.STACKS`.
        policy: another policy of the result; by default the winner, the best or the only one.
        nearest: write the nearest where the stack cannot do it.
        name: what the stack shall call the model; by default the scenario's name.
        scenario: of a result, where it was not one of the shipped as it stands.
        folder: where the files go; by default nowhere, they are in the answer.

    Returns:
        The files by name, with notes, and whether they mean what was simulated.

    Raises:
        NotExpressible: the stack cannot do what the policy does.
        ExportError: there is no such stack, or the scenario is missing.
        RunError: there is no such run, it has no such policy, or none to recommend.
    """
    row = stack_called(to)
    if isinstance(source, str | Path):
        setting = setting_of_run(resolve_run(source, commands=EXPORTED), policy, name)
    else:
        with tempfile.TemporaryDirectory() as nowhere:
            kept = _kept(source, _scenario_of(source, scenario), Path(nowhere))
            setting = setting_of_run(kept, policy, name)
    found: Exported = module_of(row).export(setting, nearest=nearest)
    for file, text in found.files.items() if folder is not None else ():
        path = Path(folder or "") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    return found


def _kept(found: Simulation | Comparison | Tuning, scenario: Scenario, root: Path) -> Path:
    """A result as the folder of a run that an export reads."""
    command = command_of(found)
    folder = root / folder_name(scenario.name) / command
    folder.mkdir(parents=True)
    write_atomic(folder / RESULT, found.to_json())
    manifest = {
        **scenario.to_dict(),
        "seeds": asdict(scenario.seeds),
        "command_line": ["Python", command, scenario.name],
        "versions": versions(),
    }
    write_atomic(folder / MANIFEST, dumps(manifest))
    return folder


def command_of(found: Simulation | Comparison | Tuning) -> str:
    """The function that a result comes from, as the files name it."""
    if isinstance(found, Comparison):
        return "compare"
    return "simulate" if isinstance(found, Simulation) else "tune"


def _scenario_of(found: Simulation | Comparison | Tuning, given: Scenario | None) -> Scenario:
    """The scenario that a result is about.

    Raises:
        ExportError: it is another one.
    """
    from experiments.config import load_scenario, scenario_names

    name = str(found.scenario["name"])
    known = given or (load_scenario(name) if name in scenario_names() else None)
    if known is not None and known.hash == found.scenario["hash"]:
        return known
    if given is not None:
        raise ExportError(
            f"scenario = {given.name}: must be the scenario of the result, {name} with hash "
            f"{found.scenario['hash'][:12]}, but its hash is {given.hash[:12]}"
        )
    raise ExportError(
        f"the result is of {name} with settings of its own: give the scenario that was loaded, "
        "as in export(found, to, scenario=loaded)"
    )
