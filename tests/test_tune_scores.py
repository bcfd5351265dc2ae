"""Scores: what is out before it is run, what several loads make of a setting, and what is kept."""

from __future__ import annotations

import json
import math

import pytest
from tune_scenarios import LINE, TILES, small

from experiments.tune.contestants import Setting, contestants_of, facts_of
from experiments.tune.course import SEARCH, course_of, loads_of
from experiments.tune.goal import goal_of
from experiments.tune.scores import Score, Scorer, over_loads
from sim import kernel
from sim.theory_batch import linear_service, solve_batches

GREEDY = Setting("greedy", {"kind": "greedy"}, 1)


class Counting:
    """The kernel, counting runs and requests."""

    def __init__(self):
        self.runs = []

    def __call__(self, policy, workload, service):
        self.runs.append(len(workload))
        return kernel.run(policy, workload, service)


def scorer(scenario, run=kernel.run):
    course = course_of(scenario, loads_of(scenario), [SEARCH])
    return Scorer(scenario, goal_of(scenario), course, run)


def test_a_score_is_the_objective_with_its_interval(tmp_path):
    scenario = small(tmp_path, 'objective = "mean"', requests=200_000)
    found = scorer(scenario).score(GREEDY)
    exact = solve_batches(scenario.load * 32 / 13.2, linear_service(2.0, 0.35, 32)).mean_latency
    assert found.values[0] == pytest.approx(exact, rel=0.02)
    assert found.feasible
    (leg,) = found.by_load
    assert leg["objectives"][0]["low"] < found.values[0] < leg["objectives"][0]["high"]


def test_a_batch_that_is_too_small_is_out_before_anything_is_simulated(tmp_path):
    counting = Counting()
    found = scorer(small(tmp_path, 'objective = "mean"', load=0.6), counting).score(
        Setting("greedy", {"kind": "greedy", "max_batch_size": 2}, 1)
    )
    assert counting.runs == []
    assert found.values is None
    assert found.violations["stable"] > 0
    assert found.reason == "its largest batch is too small"


def test_a_backlog_that_grows_is_out_before_the_course_is_run(tmp_path):
    counting = Counting()
    lengths = '[workload.lengths]\ndistribution = "uniform"\nmin = 1\nmax = 100'
    model = "{ base_ms = 1.0, per_length_ms = 0.05, max_batch_size = 32 }"
    scenario = small(tmp_path, 'objective = "mean"', load=0.8, model=model, tiers=lengths)
    found = scorer(scenario, counting).score(GREEDY)
    assert counting.runs == [20_000]
    assert found.values is None
    assert found.reason == "a backlog grows"


def test_with_a_bounded_queue_nothing_is_unstable(tmp_path):
    scenario = small(
        tmp_path, 'objective = "mean"', load=0.9, service="capacity = { requests = 10 }"
    )
    found = scorer(scenario).score(Setting("greedy", {"kind": "greedy", "max_batch_size": 2}, 1))
    assert found.values is not None


def test_over_several_loads_the_geometric_mean_counts(tmp_path):
    scenario = small(tmp_path, 'objective = "mean"\nloads = [0.3, 0.6]', requests=50_000)
    both = scorer(scenario).score(GREEDY)
    each = [leg["objectives"][0]["value"] for leg in both.by_load]
    assert [leg["load"] for leg in both.by_load] == [0.3, 0.6]
    assert each[0] < each[1]
    assert both.values[0] == pytest.approx(math.sqrt(each[0] * each[1]))
    assert over_loads([0.0, 1.0]) == 0.5


def test_a_setting_has_to_keep_up_at_every_load(tmp_path):
    scenario = small(tmp_path, 'objective = "mean"\nloads = [0.1, 0.8]', requests=20_000)
    setting = Setting("greedy", {"kind": "greedy", "max_batch_size": 4}, 1)
    assert scorer(scenario).score(setting).values is None
    easy = small(tmp_path, 'objective = "mean"\nloads = [0.1, 0.3]', requests=20_000)
    assert scorer(easy).score(setting).values is not None


def test_all_loads_play_the_same_arrivals(tmp_path):
    scenario = small(tmp_path, "loads = [0.3, 0.6]")
    slow, fast = course_of(scenario, loads_of(scenario), [SEARCH])
    ratio = slow.draws[0][0].arrival_ns[1:] / fast.draws[0][0].arrival_ns[1:]
    assert ratio.min() == pytest.approx(2, rel=1e-3)
    assert ratio.max() == pytest.approx(2, rel=1e-3)
    again = course_of(scenario, loads_of(scenario), [SEARCH + 1])[0]
    assert (again.draws[0][0].arrival_ns != slow.draws[0][0].arrival_ns).any()


def test_a_server_has_the_same_luck_whatever_the_number_of_servers(tmp_path):
    noisy = 'noise = { kind = "gamma", cv = 0.3 }'
    scenario = small(tmp_path, "servers = [1, 3]", service=noisy)
    (leg,) = course_of(scenario, (None,), [SEARCH])
    one, three = (leg.on(servers)[0][1] for servers in (1, 3))
    assert one.servers == 1
    assert three.servers == 3
    assert (one.noise.draws[:, 0] == three.noise.draws[:, 0]).all()


def test_more_servers_are_faster_and_cost_more(tmp_path):
    tune = 'objective = ["mean", "cost"]\nservers = [1, 2]\nprice = { per_server_hour = 1 }'
    scenario = small(tmp_path, tune, load=0.7)
    one, two = (scorer(scenario).score(Setting("greedy", {"kind": "greedy"}, n)) for n in (1, 2))
    assert two.values[0] < one.values[0]
    assert two.values[1] == pytest.approx(2 * one.values[1], rel=0.02)


def test_capacity_is_scored_by_what_may_be_claimed(tmp_path):
    tiers = '[[workload.tiers]]\nname = "all"\nslo = { percentile = 99, ms = 15.0 }'
    scenario = small(tmp_path, 'objective = "capacity"', tiers=tiers, requests=150_000)
    found = scorer(scenario).score(GREEDY)
    most = scenario.rate_max_per_s
    assert found.values[0] == pytest.approx(0.709 * most, rel=0.05)
    assert found.by_load[0]["objectives"][0]["low"] == found.values[0]
    hopeless = scorer(
        small(
            tmp_path, 'objective = "capacity"', tiers=tiers.replace("15.0", "1.0"), requests=150_000
        )
    ).score(GREEDY)
    assert not hopeless.feasible


def test_a_score_survives_json(tmp_path):
    found = scorer(small(tmp_path, 'objective = "mean"')).score(GREEDY)
    assert Score.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_contestant_keeps_the_keys_that_are_not_tuned(tmp_path):
    own = '[policies.pick]\nkind = "size_or_timeout"\nmax_batch_size = 8\nmax_wait_ms = 1.0\n'
    scenario = small(tmp_path, 'policies = ["pick"]', policies=own + "from_idle = true")
    (one,) = contestants_of(scenario)
    setting = one.setting({axis.name: axis.values[0] for axis in one.axes})
    assert setting.table["from_idle"] is True
    assert setting.policy.from_idle is True


def test_by_default_the_policies_of_the_scenario_and_the_baselines_compete(tmp_path):
    names = [one.name for one in contestants_of(small(tmp_path))]
    assert names == ["waits", "greedy", "snap", "balanced_cap"]


def test_a_space_can_be_narrowed_and_fixed(tmp_path):
    narrow = "space = { waits = { max_batch_size = [4, 8], max_wait_ms = 2.5 } }"
    waits = contestants_of(small(tmp_path, narrow))[0]
    axes = {axis.name: axis.values for axis in waits.axes}
    assert axes["max_batch_size"] == (4, 5, 6, 7, 8)
    assert axes["max_wait_ms"] == (2.5,)
    assert waits.points == 5 * 9


def test_facts_are_those_of_the_profile_and_the_lengths(tmp_path):
    facts = facts_of(small(tmp_path))
    assert facts.largest_batch == 32
    assert facts.alone_ns == 2_350_000
    assert facts.full_ns == 13_200_000
    assert facts_of(small(tmp_path, model=TILES)).alone_ns == 4_800_000
    assert LINE.startswith("{ base_ms")


def test_a_constraint_has_to_hold_at_every_load(tmp_path):
    loads = 'objective = "busy"\nloads = [0.2, 0.7]'
    limit = 'constraints = [{ measure = "mean", at_most = 6.0 }]'
    found = scorer(small(tmp_path, f"{loads}\n{limit}", requests=50_000)).score(GREEDY)
    assert found.violations["mean latency <= 6 ms"] > 0.2
    assert not found.feasible


def test_a_setting_that_sheds_nearly_everybody_is_out_and_does_not_end_the_search(
    tmp_path,
):
    scenario = small(tmp_path, 'objective = "p95"', requests=30_000)
    table = {"kind": "cork", "max_batch_size": 32, "max_latency_ms": 3.0}
    found = scorer(scenario).score(Setting("cork", table, 1))
    assert found.values is None
    assert not found.feasible
    assert found.reason == "too many requests go unserved"
    roomy = Setting("cork", table | {"max_latency_ms": 1000.0}, 1)
    assert scorer(scenario).score(roomy).feasible
