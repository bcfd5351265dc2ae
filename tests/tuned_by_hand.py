"""Results of tuning to look at in tests: one that was run, and changes to it by hand."""

from __future__ import annotations

from dataclasses import replace

from experiments.capacity_rate import Limit
from experiments.config import load_scenario
from experiments.tune.contestants import Setting
from experiments.tune.goal import Goal, Measure
from experiments.tune.scores import Score
from experiments.tune.search import Tried
from experiments.tune.tuning import tune
from experiments.tune.words import word_of

STEPS = ", ".join(["4.8"] * 8 + ["7.6"] * 8)
"""Service in steps of eight: the winner is tuned, some settings fail, some are unstable."""

SCENARIO = f"""
name = "steps"
[workload]
requests = 20_000
arrivals = {{ process = "poisson", load = 0.6 }}
[[workload.tiers]]
name = "all"
slo = {{ percentile = 90, ms = 14.0 }}
[service]
model = {{ table_ms = [{STEPS}] }}
[policies.queue_depth_wait]
kind = "queue_depth_wait"
max_batch_size = 4
max_wait_ms = 5.0
[tune]
objective = "mean"
trials = 56
replications = 2
policies = ["queue_depth_wait", "greedy"]
"""


def run(folder, overrides=()):
    """A small tuning that was really run."""
    path = folder / "steps.toml"
    path.write_text(SCENARIO)
    return tune(load_scenario(path, overrides))


def measure(name, tier=None):
    return Measure(name, word_of(name), tier)


def trial(policy, place, value, *, feasible=True, servers=1, **numbers):
    """A setting that was tried; without a value it could not keep up."""
    table = {"kind": policy, **numbers}
    values = None if value is None else tuple(value) if isinstance(value, tuple) else (value,)
    violations = {
        "stable": 0.2 if value is None else -0.1,
        "p90 <= 14 ms": -0.1 if feasible else 0.3,
    }
    return Tried(Setting(policy, table, servers), Score(values, violations), place)


def with_objectives(found, *names):
    """The same settings with other objectives, measured on the same fresh runs."""
    goal = Goal(tuple(measure(name) for name in names), found.goal.constraints, found.goal.shares)

    def again(one):
        each = tuple(tuple(goal.values(o.measures, one.setting.servers)) for o in one.outcomes)
        return replace(one, objectives=each)

    judged = tuple(again(one) for one in found.judged)
    winner = next(one for one in judged if one.name == found.winner.name)
    return replace(found, goal=goal, judged=judged, winner=winner)


def renamed(found, name, new, **changes):
    """The same with another name for one judged setting."""
    judged = tuple(
        replace(one, name=new, **changes) if one.name == name else one for one in found.judged
    )
    return replace(found, judged=judged, winner=_winner(found, judged))


def over_loads(found, loads, regret):
    """As if every load had been judged, with given regrets; names without one keep up nowhere."""

    def again(one):
        many = len(loads)
        return replace(
            one, loads=tuple(loads), outcomes=one.outcomes * many, objectives=one.objectives * many
        )

    judged = tuple(again(one) for one in found.judged)
    each = {one.name: regret.get(one.name, [float("inf")] * len(loads)) for one in judged}
    return replace(found, judged=judged, winner=_winner(found, judged), regret=each)


def as_capacity(found, rates):
    """As if the goal had been the largest rate: rates with their ends, by name."""
    goal = Goal((measure("capacity"),), found.goal.constraints, found.goal.shares)

    def again(one):
        value, low, high, bound = rates.get(one.name, (None, 0.0, None, "nothing"))
        limit = Limit(
            value, low, high, 0.0, 900.0, bound, tier="all" if bound == "slo" else None,
            tail_ms=13.9, slo_ms=14.0, percentile=90.0,
            sections=() if value is None else tuple(value + k for k in range(10)),
        )  # fmt: skip
        return replace(one, objectives=(), limit=limit, violations={"SLO": -1.0 if low else 1.0})

    judged = tuple(again(one) for one in found.judged)
    return replace(found, goal=goal, judged=judged, winner=_winner(found, judged))


def _winner(found, judged):
    place = [one is found.winner for one in found.judged].index(True)
    return judged[place]
