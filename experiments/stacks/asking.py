"""What is tried: a setting of a run, or of a scenario's policy, and the requests that it meets."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments import compare
from experiments.config import load_scenario, scenario_names
from experiments.export.run import setting_of_run
from experiments.export.run_facts import replicas_of
from experiments.export.setting import Costs, Setting
from experiments.export.tier_windows import knows_tiers
from experiments.places import is_file
from experiments.plain import dumps
from experiments.rerun import run_name, scenario_of_run
from experiments.runs import MANIFEST, RESULT, folder_name, resolve_run, versions, write_atomic
from experiments.scenario import Scenario
from sim.workload import Workload

from . import Row
from .choosing import first_exact
from .contract import MODEL, StackError, Wish

RUNS = ("tune", "compare", "simulate")
"""The commands whose runs hold a setting."""


@dataclass(frozen=True)
class Asked:
    """What to try."""

    scenario: Scenario
    wish: Wish
    source: str
    """The run, or the scenario's policy."""

    @property
    def name(self) -> str:
        """Of the policy."""
        return self.wish.setting.name


def asked_for(
    source: str,
    policy: str | None,
    settings: Sequence[str],
    root: Path,
    row: Row,
    *,
    nearest: bool,
) -> Asked:
    """The setting of a run, or of a policy of a scenario: by default the first that a stack does.

    Raises:
        RunError: there is no such run, or it recommends nothing.
        ScenarioError: the scenario, an override or the policy's name is wrong.
        StackError: the scenario is of a kind that is not tried.
    """
    if source in scenario_names() or is_file(Path(source)) or source.endswith(".toml"):
        scenario = load_scenario(source, settings)
        _check(scenario)
        setting, told = _of_scenario(scenario, policy, row, nearest=nearest)
    else:
        if settings:
            raise StackError(f"--set changes a scenario, but {source} is a run: leave it out")
        folder = resolve_run(source, root, commands=RUNS)
        scenario = scenario_of_run(folder)
        _check(scenario)
        setting, told = setting_of_run(folder, policy, MODEL), f"run {run_name(folder)}"
    _check_setting(scenario, setting)
    costs = setting.costs
    assert costs is not None, "setting_of_run gives them"
    return Asked(scenario, Wish(setting, costs, nearest), told)


def _of_scenario(
    scenario: Scenario, policy: str | None, row: Row, *, nearest: bool
) -> tuple[Setting, str]:
    """The setting of a policy of a scenario, and what to say of it."""
    if policy is not None:
        return _simulated(scenario, policy), f"policy {policy} of scenario {scenario.name}"
    setting, why = first_exact(
        scenario.name, scenario.policies, partial(_simulated, scenario), row, nearest=nearest
    )
    return setting, f"policy {setting.name} of scenario {scenario.name}: {why}"


def _simulated(scenario: Scenario, policy: str) -> Setting:
    """The setting of a policy of a scenario, with what is simulated of it as its evidence."""
    found = compare.simulate(scenario, policy)
    manifest = {
        **scenario.to_dict(),
        "seeds": asdict(scenario.seeds),
        "command_line": ["batchwright", "simulate", scenario.name],
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory() as nowhere:
        folder = Path(nowhere) / folder_name(scenario.name) / "simulate"
        folder.mkdir(parents=True)
        write_atomic(folder / RESULT, found.to_json())
        write_atomic(folder / MANIFEST, dumps(manifest))
        return setting_of_run(folder, None, MODEL)


def _check(scenario: Scenario) -> None:
    """Refuse what one server with one queue, and requests sent at instants, do not show.

    Raises:
        StackError: the scenario has it.
    """
    why = None
    if scenario.workload.closed is not None:
        why = "its clients wait for answers, and try sends requests at instants of their own"
    elif scenario.spec.workload.sequences is not None:
        why = "its requests belong to sequences, and try sends requests that belong to none"
    elif scenario.workload.backlogs:
        why = "it has a backlog that is always there"
    elif replicas_of(scenario, scenario.servers) is not None:
        why = "it has several servers with queues of their own, and try runs one"
    if why is not None:
        raise StackError(f"scenario {scenario.name} cannot be tried: {why}")


def _check_setting(scenario: Scenario, setting: Setting) -> None:
    """Refuse what requests of one tier do not show.

    Raises:
        StackError: the setting has it.
    """
    if knows_tiers(setting):
        raise StackError(
            f"scenario {scenario.name} cannot be tried: policy {setting.name} tells tiers apart, "
            "and try sends requests of one"
        )


def drawn(scenario: Scenario, costs: Costs, window: int) -> Workload:
    """The requests of one window: every window has others.

    Lengths beyond the profile are those of its end, as the model takes them.
    """
    workload, _ = scenario.draw(window)
    longest = np.int32(min(int(costs.length_edges[-1]), np.iinfo(np.int32).max))
    return replace(workload, length=np.minimum(workload.length, longest))


def burst_lengths(wish: Wish, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """int32 (count,): of the requests of calibrating bursts.

    A model that sleeps is told the longest length; how far a real one is off its profile is asked
    at the lengths that come.
    """
    costs = wish.costs
    longest = int(costs.length_edges[-1])
    if wish.real is None:
        return np.full(count, longest, dtype=np.int32)
    drawn_lengths = rng.choice(costs.length, count, p=costs.probability)
    found: NDArray[np.int32] = np.minimum(drawn_lengths, longest).astype(np.int32)
    return found
