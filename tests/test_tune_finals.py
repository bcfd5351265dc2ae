"""Finalists: who leaves the search, who is left after each round, and who cannot be beaten."""

from __future__ import annotations

import numpy as np
import pytest
from tune_scenarios import TILES, small

from experiments.tune.choice import regrets, renamed, winner_of
from experiments.tune.contestants import Setting, contestants_of
from experiments.tune.course import ROUNDS, loads_of
from experiments.tune.entries import best_at, entries_of
from experiments.tune.finals import field_of, front_of, halved, is_dominated, pooled
from experiments.tune.goal import goal_of
from experiments.tune.judging import judged
from experiments.tune.scores import Score
from experiments.tune.search import Tried, rank
from sim import kernel
from sim.theory_batch import greedy_table, service_times, solve_batches

SILENT = lambda *_: None  # noqa: E731 - a progress that nobody watches


def tried(name, size, *values, **violations):
    score = Score(values or None, violations)
    return Tried(Setting(name, {"kind": "greedy", "max_batch_size": size}, 1), score, size)


def test_feasible_settings_rank_before_others_and_the_least_broken_first(tmp_path):
    goal = goal_of(small(tmp_path, 'objective = "mean"'))
    slow, fast = Score((9.0,), {"slo": -0.1}), Score((5.0,), {"slo": -0.1})
    near, far = Score((4.0,), {"slo": 0.1}), Score((1.0,), {"slo": 0.5})
    unstable = Score(None, {"stable": 0.2})
    ranked = sorted([far, slow, unstable, near, fast], key=lambda score: rank(score, goal))
    assert ranked == [fast, slow, near, far, unstable]
    more = goal_of(small(tmp_path, 'objective = "goodput"'))
    assert rank(slow, more) < rank(fast, more)


def test_no_setting_leaves_the_search_twice_and_each_contestant_leaves_one(tmp_path):
    goal = goal_of(small(tmp_path, 'objective = "mean"'))
    everyone = [tried("a", size, float(size)) for size in range(1, 31)]
    everyone += [tried("a", 3, 2.9), tried("b", 99, 77.0), tried("c", 98)]
    found = field_of(everyone, goal)
    assert [one.table["max_batch_size"] for one in found] == [*range(1, 25), 99]


def test_rounds_pool_what_they_saw_and_unstable_once_is_unstable():
    both = pooled([Score((2.0,), {"slo": -0.2}), Score((4.0,), {"slo": 0.1})])
    assert both.values == (3.0,)
    assert both.violations["slo"] == pytest.approx(-0.05)
    assert pooled([Score((2.0,), {}), Score(None, {"stable": 0.1})]).values is None


def test_the_halving_keeps_the_best_of_a_staircase(tmp_path):
    scenario = small(tmp_path, 'objective = "mean"', model=TILES, load=0.6, requests=50_000)
    goal = goal_of(scenario)
    sizes = [6, 8, 9, 12, 15, 16, 17, 20, 23, 24, 31, 32]
    settings = [Setting("greedy", {"kind": "greedy", "max_batch_size": k}, 1) for k in sizes]
    exact = {}
    rate = scenario.load * 32 / 13.2
    time = service_times([2 + 2.8 * -(-k // 8) for k in range(1, 33)])
    for size in sizes:
        if rate < size / time[size - 1]:
            found = solve_batches(rate, time[:size], greedy_table(size))
            exact[size] = found.mean_latency
    left = halved(scenario, goal, settings, loads_of(scenario), kernel.run, SILENT)
    best = min(exact, key=exact.__getitem__)
    assert next(one.table["max_batch_size"] for one in left) == best
    assert len(left) == 3


def test_the_halving_does_not_see_what_the_search_saw(tmp_path):
    seen = []

    def watching(policy, workload, service):
        seen.append(int(workload.arrival_ns[100]))
        return kernel.run(policy, workload, service)

    scenario = small(tmp_path, 'objective = "mean"', requests=5_000)
    settings = [Setting("greedy", {"kind": "greedy", "max_batch_size": k}, 1) for k in (30, 31, 32)]
    halved(scenario, goal_of(scenario), settings, (None,), watching, SILENT)
    fresh = {int(scenario.draw(ROUNDS + r)[0].arrival_ns[100]) for r in range(3)}
    assert fresh <= set(seen)
    for replication in (0, 1_000):
        assert int(scenario.draw(replication)[0].arrival_ns[100]) not in seen


def test_domination_agrees_with_brute_force():
    rng = np.random.default_rng(1)
    worth = rng.integers(0, 6, (60, 2)).astype(float)
    for k in range(len(worth)):
        beaten = any(
            all(other <= own for other, own in zip(worth[i], worth[k], strict=True))
            and any(other < own for other, own in zip(worth[i], worth[k], strict=True))
            for i in range(len(worth))
        )
        assert is_dominated(worth, k) == beaten


def test_the_front_holds_what_nothing_beats(tmp_path):
    goal = goal_of(small(tmp_path, 'objective = ["mean", "goodput"]'))
    a, b, beaten = tried("a", 1, 1.0, 5.0), tried("a", 2, 2.0, 9.0), tried("a", 3, 2.0, 8.0)
    broken = tried("a", 4, 0.5, 9.9, slo=0.1)
    found = front_of([a, b, beaten, broken], goal)
    assert [one.table["max_batch_size"] for one in found] == [1, 2]


@pytest.fixture(scope="module")
def staircase(tmp_path_factory):
    """Judged settings of a staircase, two of them alike."""
    scenario = small(
        tmp_path_factory.mktemp("staircase"), 'objective = "mean"\nreplications = 3',
        model=TILES, load=0.6, requests=50_000,
        tiers='[[workload.tiers]]\nname = "all"\nslo = { percentile = 50, ms = 60.0 }',
    )  # fmt: skip
    goal = goal_of(scenario)
    finalists = [
        Setting("waits", {"kind": "size_or_timeout", "max_batch_size": 16, "max_wait_ms": 0.1}, 1),
        Setting("greedy", {"kind": "greedy", "max_batch_size": 16}, 1),
        Setting("greedy", {"kind": "greedy", "max_batch_size": 32}, 1),
    ]
    entries = entries_of(scenario, goal, finalists, [], (None,), {})
    return goal, judged(scenario, goal, entries, (None,), kernel.run, SILENT)


def test_a_finalist_that_is_a_baseline_is_judged_once(staircase):
    _, found = staircase
    names = [one.name for one in found]
    assert names[:5] == ["tuned_waits", "tuned_greedy", "greedy", "snap", "balanced_cap"]
    assert names[5] == "waits"


def test_of_settings_that_tie_the_simplest_wins(staircase):
    goal, found = staircase
    waits, greedy = found[0], found[1]
    assert waits.worth[0].value == pytest.approx(greedy.worth[0].value, rel=0.005)
    assert winner_of(found, goal, baselines_compete=False).name == "tuned_greedy"


def test_a_baseline_wins_only_where_it_competes_and_is_not_worse(staircase):
    goal, found = staircase
    assert winner_of(found, goal, baselines_compete=True).name == "snap"
    without = [one for one in found if one.role != "tuned"]
    assert winner_of(without, goal, baselines_compete=False).name == "greedy"


def test_who_breaks_a_constraint_cannot_win(staircase):
    from dataclasses import replace

    goal, found = staircase
    broken = [
        replace(one, violations={"p50 <= 60 ms": 0.1}) if one.name != "tuned_waits" else one
        for one in found
    ]
    assert winner_of(broken, goal, baselines_compete=True).name == "tuned_waits"
    nobody = [replace(one, violations={"p50 <= 60 ms": 0.1}) for one in found]
    assert winner_of(nobody, goal, baselines_compete=True) is None


def test_regret_is_against_the_best_at_each_load(staircase):
    goal, found = staircase
    each = regrets(found, goal)
    assert min(regret[0] for regret in each.values()) == 0.0
    best = min(one.worth[0].value for one in found)
    (greedy,) = each["greedy"]
    (worth,) = (one.worth[0].value for one in found if one.name == "greedy")
    assert greedy == pytest.approx(worth / best - 1)


def test_the_best_of_each_load_is_found_among_what_was_tried(tmp_path):
    goal = goal_of(small(tmp_path, 'objective = "mean"\nloads = [0.3, 0.6]'))

    def at(size, *values):
        legs = [{"load": 0, "objectives": [{"value": value}]} for value in values]
        score = Score((1.0,), {}, None, legs)
        return Tried(Setting("a", {"kind": "greedy", "max_batch_size": size}, 1), score, 0)

    everyone = [at(1, 3.0, 9.0), at(2, 4.0, 5.0)]
    assert best_at(everyone, goal, 0).table["max_batch_size"] == 1
    assert best_at(everyone, goal, 1).table["max_batch_size"] == 2


def test_every_contestant_of_the_scenario_can_be_judged(tmp_path):
    scenario = small(tmp_path, 'objective = "mean"\nreplications = 1', requests=5_000)
    settings = [
        one.setting({axis.name: axis.values[-1] for axis in one.axes})
        for one in contestants_of(scenario)
    ]
    entries = entries_of(scenario, goal_of(scenario), settings, [], (None,), {})
    found = judged(scenario, goal_of(scenario), entries, (None,), kernel.run, SILENT)
    assert all(one.outcomes for one in found)


def test_the_winner_has_the_plain_name_of_its_policy(staircase):
    from dataclasses import replace

    _, found = staircase
    second = replace(found[1], name="tuned_waits_2", setting=found[0].setting)
    settings, winner = renamed([found[0], second, *found[2:]], second)
    assert winner.name == "tuned_waits"
    assert [one.name for one in settings][:2] == ["tuned_waits_2", "tuned_waits"]
    assert settings[1] is winner
    assert renamed(found, found[2])[1] is found[2]
    assert renamed(found, None) == (list(found), None)


def test_a_finalist_further_down_wins_where_the_fresh_runs_show_it_to_be_better(staircase):
    from dataclasses import replace

    goal, found = staircase
    worse = replace(next(one for one in found if one.name == "greedy"), name="x", role="tuned")
    better = next(one for one in found if one.name == "tuned_greedy")
    assert winner_of([worse, better], goal, baselines_compete=False) is better


def test_every_round_of_the_halving_counts(tmp_path, monkeypatch):
    rounds = iter([{1: 9.0, 2: 3.0}, {1: 1.0, 2: 3.0}, {1: 1.0, 2: 3.0}])

    class Told:
        def __init__(self, *_):
            self.values = next(rounds)

        def score(self, setting):
            return Score((self.values[setting.table["max_batch_size"]],), {})

    monkeypatch.setattr("experiments.tune.finals.Scorer", Told)
    scenario = small(tmp_path, 'objective = "mean"', requests=1_000)
    settings = [Setting("greedy", {"kind": "greedy", "max_batch_size": k}, 1) for k in (1, 2)]
    best, _ = halved(scenario, goal_of(scenario), settings, (None,), kernel.run, SILENT)
    assert best.table["max_batch_size"] == 2


@pytest.fixture(scope="module")
def short_search(tmp_path_factory):
    """Finalists of a search that has found nothing, beside a snap that the scenario has."""
    scenario = small(
        tmp_path_factory.mktemp("short"), 'objective = "mean"\nreplications = 3',
        model=TILES, load=0.6, requests=50_000,
    )  # fmt: skip
    goal = goal_of(scenario)
    slow = {"kind": "size_or_timeout", "max_batch_size": 16, "max_wait_ms": 40.0}
    finalists = [Setting("waits", slow, 1)]
    present = {"mine": {"kind": "size_or_timeout", "max_batch_size": 16, "max_wait_ms": 1.0}}
    entries = entries_of(scenario, goal, finalists, [], (None,), present)
    return goal, judged(scenario, goal, entries, (None,), kernel.run, SILENT)


def test_a_present_setting_that_is_better_than_all_that_was_found_is_kept(short_search):
    goal, found = short_search
    without = [one for one in found if one.role in ("tuned", "present")]
    best = winner_of(without, goal, baselines_compete=False)
    assert (best.name, best.role) == ("mine", "present")
    assert renamed(without, best)[1] is best


def test_a_present_setting_of_a_policy_that_does_not_compete_is_not_kept(short_search):
    from dataclasses import replace

    goal, found = short_search
    other = [
        replace(one, setting=replace(one.setting, table={**one.setting.table, "kind": "other"}))
        if one.role == "present"
        else one
        for one in found
        if one.role in ("tuned", "present")
    ]
    assert winner_of(other, goal, baselines_compete=False).role == "tuned"
    assert winner_of(other, goal, baselines_compete=True).role == "present"
