"""The best setting of a finite space, by going through all of it: ``python -m experiments.truth``.

1. Every setting of the grid is run, on a short run; the best go on to longer ones, up to 3 million
   requests.  Each stage is a new draw that all see, with the scenario's own seeds and replications
   that nothing else uses.
2. Limits that are not known well yet may be exceeded a little: half of those who go on are the best
   of the settings that keep the limits, half those of the settings that nearly do.
3. Where one server with constant times meets Poisson arrivals, the mean of a rule without a timer
   is known exactly, and so is the least that any rule can reach: both stand beside what was
   measured.
4. ``truth.json`` keeps the answers, each with the fingerprint of its question.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policies.contract import FloatArray, IntArray
from sim.theory_batch import greedy_table, snap_table, solve_batches
from sim.theory_smdp import solve_optimum

from .contest import Draw, driver
from .known_answers import KNOWN_ANSWERS, KnownAnswer, known_answer
from .parallel import in_threads, nothing
from .plain import dumps
from .scenario import Scenario
from .sentences import ScenarioError
from .true_value import Worth, order_of, worth_of
from .tune.contestants import Setting, contestants_of
from .tune.goal import Goal, goal_of

TRUTH = Path(__file__).with_name("truth.json")
COMMAND = "python -m experiments.truth"


class Stage(NamedTuple):
    """One round of the settings that are left."""

    requests: int
    keep: int
    """Settings that go on."""
    slack: float
    """By how much limits may be exceeded, as a share."""
    replication: int
    """Of the draw."""


STAGES = (
    Stage(20_000, 1500, 0.05, 10_000),
    Stage(200_000, 150, 0.02, 10_001),
    Stage(1_000_000, 20, 0.005, 10_002),
    Stage(3_000_000, 1, 0.0, 10_003),
)
"""The best of 9,000 settings differ by less than the luck of 20,000 requests, which common random
numbers make a third as large; so a sixth of them goes on."""

FRESH = 20_000
"""The replication of runs that check a setting beside the best."""

NEAR = 0.01


class Truth(NamedTuple):
    """The answer of one scenario."""

    fingerprint: str
    """Of the question."""
    settings: int
    """Different ones in the grid."""
    best: Setting
    worth: Worth
    """Of the best, on the last stage's run."""
    greedy: Worth
    """Of the rule that has no number, on the same run."""
    near: int
    """Settings within 1 % of the best on the last run but one, where 150 are left."""
    exact: float | None
    """The best one's mean by theory, where it is known."""
    optimum: float | None
    """The least mean that any rule can reach, where it is known."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        best = {"name": self.best.name, "table": self.best.table, "servers": self.best.servers}
        return {
            **self._asdict(),
            "best": best,
            "worth": self.worth._asdict(),
            "greedy": self.greedy._asdict(),
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Truth:
        """What ``to_dict`` gave."""
        worth, greedy = (
            Worth(found[key]["value"], tuple(found[key]["limited"])) for key in ("worth", "greedy")
        )
        best = Setting(**found["best"])
        return cls(**{**found, "best": best, "worth": worth, "greedy": greedy})


def truths() -> dict[str, Truth]:
    """Every answer that is kept, by the name of its scenario."""
    kept = json.loads(TRUTH.read_text(encoding="utf-8"))["answers"]
    return {name: Truth.from_dict(found) for name, found in kept.items()}


def answer_of(known: KnownAnswer) -> Truth:
    """The answer of a scenario.

    Raises:
        ScenarioError: it is missing, or the scenario has changed since it was found.
    """
    found = truths().get(known.name)
    if found is None or found.fingerprint != known.fingerprint():
        raise ScenarioError(
            f"{known.name} has changed since its answer was found: run {COMMAND} --scenario "
            f"{known.name}"
        )
    return found


def grid_of(scenario: Scenario) -> list[Setting]:
    """Every setting that the tuner may choose, none twice."""
    found: dict[str, Setting] = {}
    for one in contestants_of(scenario):
        names = [axis.name for axis in one.axes]
        for point in itertools.product(*(axis.values for axis in one.axes)):
            setting = one.setting(dict(zip(names, point, strict=True)))
            found.setdefault(setting.key, setting)
    return list(found.values())


def all_worths(goal: Goal, settings: Sequence[Setting], draw: Draw) -> list[Worth]:
    """What every setting does on one draw."""
    run = driver("kernel")
    names = [setting.name for setting in settings]
    return in_threads(lambda one: worth_of(goal, one, draw, run), settings, names, nothing)


def find_truth(known: KnownAnswer, stages: Sequence[Stage] = STAGES) -> Truth:
    """Go through the whole space of a scenario."""
    scenario = known.scenario()
    goal, grid = goal_of(scenario), grid_of(scenario)
    left, worths, near = grid, [], 0
    for stage in stages:
        draw = known.scenario(requests=stage.requests).draw(stage.replication)
        worths = all_worths(goal, left, draw)
        chosen = _best(worths, goal, stage)
        first = goal.objectives[0].sign * worths[chosen[0]].value
        if stage is not stages[-1]:
            near = sum(_is_near(one, first, goal) for one in worths)
        left, worths = [left[k] for k in chosen], [worths[k] for k in chosen]
    greedy = Setting("greedy", {"kind": "greedy"}, scenario.servers)
    return Truth(
        fingerprint=known.fingerprint(),
        settings=len(grid),
        best=left[0],
        worth=worths[0],
        greedy=all_worths(goal, [greedy], draw)[0],
        near=near,
        exact=exact_mean(scenario, left[0], goal),
        optimum=least_mean(scenario, goal),
    )


def _best(worths: Sequence[Worth], goal: Goal, stage: Stage) -> list[int]:
    """Places of those that go on, the best first (rule 2)."""
    strict, lenient = order_of(goal), order_of(goal, stage.slack)
    places = range(len(worths))
    first = sorted(places, key=lambda k: strict(worths[k]))[: -(-stage.keep // 2)]
    second = sorted(places, key=lambda k: lenient(worths[k]))
    rest = [k for k in second if k not in set(first)]
    return [*first, *rest[: stage.keep - len(first)]]


def _is_near(worth: Worth, best: float, goal: Goal) -> bool:
    value = goal.objectives[0].sign * worth.value
    return worth.excess(goal) == 0.0 and value <= best + NEAR * abs(best)


def exact_mean(scenario: Scenario, setting: Setting, goal: Goal) -> float | None:
    """The mean latency of a rule without a timer in ms, by theory; None where it is not known."""
    if not _is_solvable(scenario, goal):
        return None
    take = _table(setting, _service_ms(scenario))
    return None if take is None else solve_batches(
        _rate_per_ms(scenario), _service_ms(scenario), take
    ).mean_latency  # fmt: skip


def least_mean(scenario: Scenario, goal: Goal) -> float | None:
    """The least mean latency in ms that any rule can reach; None where it is not known."""
    if not _is_solvable(scenario, goal):
        return None
    return solve_optimum(_rate_per_ms(scenario), _service_ms(scenario)).mean_latency


def _is_solvable(scenario: Scenario, goal: Goal) -> bool:
    """Whether theory knows the mean: one server, Poisson arrivals, constant times, one length."""
    arrivals = scenario.spec.workload.arrivals
    return (
        scenario.servers == 1
        and scenario.cluster is None
        and arrivals is not None
        and arrivals.process == "poisson"
        and scenario.profile is None
        and scenario.service_ns.shape[2] == 1
        and goal.objectives[0].name == "mean"
        and not goal.constraints
    )


def _service_ms(scenario: Scenario) -> FloatArray:
    """float64 (largest batch,)."""
    return np.asarray(scenario.service_ns[0, :, 0] / 1e6)


def _rate_per_ms(scenario: Scenario) -> float:
    assert scenario.offered_rate_per_s is not None, "arrivals are open"
    return scenario.offered_rate_per_s / 1e3


def _table(setting: Setting, service: FloatArray) -> IntArray | None:
    """How many of ``n`` that wait the rule serves; None where it has a timer."""
    table = setting.table
    largest = int(table.get("max_batch_size", len(service)))
    if table["kind"] == "snap":
        return snap_table(service[:largest])
    if table["kind"] == "greedy" or table.get("max_wait_ms") == 0.0:
        return greedy_table(largest)
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Find the answers again and keep them."""
    parser = argparse.ArgumentParser(description="Find the best settings by going through all.")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    chosen = parser.parse_args(arguments).scenario
    wanted = [known_answer(name) for name in chosen] if chosen else KNOWN_ANSWERS
    answers = {name: one.to_dict() for name, one in truths().items()} if TRUTH.exists() else {}
    for known in wanted:
        began = time.perf_counter()
        found = find_truth(known)
        answers[known.name] = found.to_dict()
        spent = time.perf_counter() - began
        print(f"{known.name}: {found.worth} of {found.best.table} in {spent:.0f} s", flush=True)
        ordered = {one.name: answers[one.name] for one in KNOWN_ANSWERS if one.name in answers}
        stages = [stage._asdict() for stage in STAGES]
        about = {"command": COMMAND, "stages": stages, "answers": ordered}
        TRUTH.write_text(dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main()
