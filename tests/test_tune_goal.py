"""Objectives and constraints: what they take from the measures of a run, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tune_scenarios import small

from experiments.sentences import ScenarioError
from experiments.tune.goal import goal_of
from experiments.tune.unserved import may_refuse
from experiments.tune.words import percentile_name, share_of, word_of
from policies import Greedy, SizeOrTimeout
from sim.kernel import run
from sim.metrics import SHARES, measure

TIERS = '[[workload.tiers]]\nname = "all"\nslo = { percentile = 99, ms = 30.0 }'
TWO = """
[[workload.tiers]]
name = "fast"
share = 0.5
slo = { percentile = 95, ms = 12.0 }
[[workload.tiers]]
name = "slow"
share = 0.5
"""


def measured(scenario, policy=None, goal=None):
    workload, service = scenario.draw()
    trace = run(policy or Greedy(), workload, service)
    shares = SHARES if goal is None else SHARES | goal.shares
    return measure(trace, service, shares=shares)


def test_words_name_percentiles_waits_and_rates():
    assert word_of("p99").statistic == "latency_ms.p99"
    assert word_of("p97.5").statistic == "latency_ms.p97.5"
    assert word_of("p999").statistic == word_of("p99.9").statistic == "latency_ms.p999"
    assert word_of("wait_p95").statistic == "wait_ms.p95"
    assert word_of("busy").statistic == "utilisation"
    assert word_of("goodput").more_is_better
    for nothing in ("p100", "p0", "q99", "latency", "p99.", ""):
        assert word_of(nothing) is None, nothing
    assert share_of("p97.5") == pytest.approx(0.975)
    assert percentile_name(0.975) == "p97.5"


def test_the_default_goal_is_the_percentile_of_the_slo_under_it(tmp_path):
    goal = goal_of(small(tmp_path, tiers=TIERS))
    assert goal.title == "least p99 with p99 <= 30 ms"
    assert goal_of(small(tmp_path)).title == "least p99"
    assert goal_of(small(tmp_path, "slo = false", tiers=TIERS)).title == "least p99"


def test_the_slo_of_each_tier_is_a_constraint(tmp_path):
    goal = goal_of(small(tmp_path, 'objective = "mean"', tiers=TWO))
    assert goal.title == "least mean latency with p95 of fast <= 12 ms"
    assert goal.shares == {"p95": pytest.approx(0.95)}


def test_a_constraint_is_about_the_confidence_bound(tmp_path):
    scenario = small(tmp_path, requests=200_000)
    found = measured(scenario)
    p99 = found.overall.latency_ms["p99"]
    middle = (p99.value + p99.high) / 2
    limits = f'constraints = [{{ measure = "p99", at_most = {middle} }}]'
    (violation,) = goal_of(small(tmp_path, limits)).violations(found, 1)
    assert violation == pytest.approx(p99.high / middle - 1)
    assert violation > 0 > p99.value / middle - 1
    busy = found.overall.utilisation
    limits = f'constraints = [{{ measure = "busy", at_least = {busy.value} }}]'
    (violation,) = goal_of(small(tmp_path, limits)).violations(found, 1)
    assert violation == pytest.approx(1 - busy.low / busy.value)
    assert violation > 0


def test_a_number_that_was_refused_breaks_its_constraint(tmp_path):
    limits = 'constraints = [{ measure = "p99", at_most = 1000 }]'
    scenario = small(tmp_path, limits, requests=2_000)
    assert goal_of(scenario).violations(measured(scenario), 1) == [math.inf]


def test_a_bounded_queue_gains_nothing_by_refusing(tmp_path):
    tiers = TIERS.replace("30.0", "60.0")
    full = small(
        tmp_path, tiers=tiers, requests=150_000, load=0.9, service="capacity = { requests = 20 }"
    )
    found = measured(full)
    assert found.overall.rejected > 0.02 * found.overall.requests
    assert found.overall.latency_ms["p99"].high < 60
    assert max(goal_of(full).violations(found, 1)) > 0
    free = small(tmp_path, tiers=tiers, requests=150_000, load=0.9)
    assert max(goal_of(free).violations(measured(free), 1)) < 0


BOUNDED = "capacity = { requests = 20 }"


@pytest.mark.parametrize(
    ("tune", "says"),
    [
        ("", "least p99 with share served >= 0.99"),
        ('objective = "p95"', "least p95 with share served >= 0.95"),
        ('objective = ["p90", "wait_p99.9"]', "with share served >= 0.999"),
        ('objective = "mean"', "least mean latency with share served >= 0.99"),
        ('objective = "throughput"', "most throughput"),
        (
            'objective = "busy"\nconstraints = [{ measure = "p99", at_most = 30.0 }]',
            "with p99 <= 30 ms, share served >= 0.99",
        ),
        (
            'constraints = [{ measure = "served", at_least = 0.9 }]',
            "least p99 with share served >= 0.9",
        ),
    ],
)
def test_who_aims_at_latency_has_to_serve_as_many_as_it_counts(tmp_path, tune, says):
    assert goal_of(small(tmp_path, tune, service=BOUNDED)).title.endswith(says)
    assert "share served" not in goal_of(small(tmp_path)).title, "everybody is served there"


def test_an_slo_of_the_percentile_says_already_how_many_have_to_be_served(tmp_path):
    def title(tune, tiers=TIERS):
        return goal_of(small(tmp_path, tune, tiers=tiers, service=BOUNDED)).title

    assert title("") == "least p99 with p99 <= 30 ms"
    assert title('objective = "p99.9"').endswith("p99 <= 30 ms, share served >= 0.999")
    assert title("slo = false") == "least p99 with share served >= 0.99"
    two = title('objective = { measure = "p99", tier = "slow" }', TWO)
    assert two == "least p99 of slow with p95 of fast <= 12 ms, share served of slow >= 0.99"


@pytest.mark.parametrize(
    "parts",
    [
        {"service": "timeout = { ms = 50.0 }"},
        {"tiers": TWO.replace('name = "slow"', 'name = "slow"\ncapacity = { requests = 9 }')},
        {"tiers": TWO.replace('name = "slow"', 'name = "slow"\ntimeout = { ms = 9.0 }')},
        {"policies": '[policies.learned]\nkind = "cork"\nmax_latency_ms = 100.0'},
        {"tune": 'policies = ["cork", "greedy"]'},
    ],
)
def test_whatever_may_let_requests_go_unserved_is_noticed(tmp_path, parts):
    tune = f'slo = false\nobjective = "p99"\n{parts.get("tune", "")}'
    scenario = small(tmp_path, **{**parts, "tune": tune})
    assert may_refuse(scenario)
    assert goal_of(scenario).title == "least p99 with share served >= 0.99"


def test_refusing_makes_a_percentile_of_the_served_small_and_breaks_the_goal(tmp_path):
    def bounded(requests):
        service = f"capacity = {{ requests = {requests} }}"
        return small(tmp_path, requests=150_000, load=0.9, service=service)

    few, many = bounded(10), bounded(1000)
    tight, wide = measured(few), measured(many)
    assert tight.overall.latency_ms["p99"].high < wide.overall.latency_ms["p99"].low
    share = 1 - tight.overall.rejected / tight.overall.requests
    assert tight.overall.estimate("served_share").value == pytest.approx(share, abs=0.01)
    (violation,) = goal_of(few).violations(tight, 1)
    low = tight.overall.served_share.low
    assert violation == pytest.approx((0.99 - low) / 0.99)
    assert violation > 0
    (holds,) = goal_of(many).violations(wide, 1)
    assert holds < 0


def test_of_a_tier_those_who_were_served_are_its_own(tmp_path):
    tiers = TWO.replace('name = "slow"', 'name = "slow"\ncapacity = { requests = 5 }')
    found = measured(small(tmp_path, tiers=tiers, load=0.9))
    fast, slow = found.group("fast"), found.group("slow")
    assert fast.served_share.value == 1.0
    assert slow.rejected > 0
    assert slow.served_share.value == pytest.approx(slow.served / slow.requests, abs=0.02)
    assert slow.served_share.value < found.overall.served_share.value < 1.0


def test_energy_and_cost_follow_from_busy_time(tmp_path):
    facts = "power = { busy_w = 300, idle_w = 100 }\nprice = { per_server_hour = 3.6 }"
    scenario = small(tmp_path, f'objective = ["energy", "cost"]\n{facts}')
    goal, found = goal_of(scenario), measured(scenario, SizeOrTimeout(32, 10_000_000))
    energy, cost = goal.values(found, 2)
    busy = found.overall.utilisation.value
    pace = found.overall.throughput_per_s.value
    assert 0 < busy < 1
    assert energy.value == pytest.approx(2 * (100 + 200 * busy) / pace)
    assert cost.value == pytest.approx(2 * 0.001 / pace * 1e6)
    assert energy.low < energy.value < energy.high
    billed = facts.replace("3.6 }", '3.6, billed = "busy" }')
    (only,) = goal_of(small(tmp_path, f'objective = "cost"\n{billed}')).values(found, 2)
    assert only.value == pytest.approx(cost.value * busy)


def test_more_is_better_of_goodput_and_less_of_padding(tmp_path):
    goal = goal_of(small(tmp_path, 'objective = ["goodput", "padding"]'))
    assert [one.sign for one in goal.objectives] == [-1.0, 1.0]
    assert goal.title.startswith("most goodput and least share of padding")


REFUSED = [
    ('objective = "energy"', "tune: energy needs power = { busy_w = ..., idle_w = ... }"),
    ('objective = "cost"', "tune: cost needs price = { per_server_hour = ... }"),
    ('objective = ["p99", "p99"]', "tune: every objective may stand once"),
    ('objective = ["p99", "capacity"]', "tune: capacity is the only objective"),
    ('objective = "capacity"\nloads = [0.5]', "tune: capacity is the only objective"),
    ("loads = [0.5, 1.0]", "tune.loads = [0.5, 1.0] must be a list of at most 20 different"),
    ("loads = [0.5, 0.5]", "tune.loads = [0.5, 0.5] must be a list of at most 20 different"),
    ("servers = [0]", "tune.servers = [0] must be a list of whole numbers from 1 to 4096"),
    ("trials = 0", "tune.trials = 0 must be a whole number of at least 1"),
    ('policies = ["greedi"]', "tune.policies names 'greedi'"),
    ('constraints = [{ measure = "p99" }]', "tune.constraints.0: give exactly one of at_most and"),
    ('constraints = [{ measure = "capacity", at_most = 1 }]', "capacity is an objective, not a"),
    ('objective = { measure = "p99", tier = "fst" }', "tune names the tier 'fst'"),
    ("space = { greedy = { max_batch_size = [8, 4] } }", "tune.space ="),
    ("space = { static = { batch_size = [1, 4] } }", "tune.space.static is for no policy that"),
    ("space = { waits = { max_size = [1, 4] } }", "tune.space.waits.max_size is unknown"),
    ("space = { waits = { max_batch_size = [1, 64] } }", "must lie within 1 to 32"),
    ('objective = "capacity"', "needs a tier with an SLO"),
]


@pytest.mark.parametrize(("table", "sentence"), REFUSED, ids=[table for table, _ in REFUSED])
def test_a_mistake_gets_one_sentence(table, sentence, tmp_path):
    from experiments.tune.tuning import check_tuning

    with pytest.raises(ScenarioError) as error:
        check_tuning(small(tmp_path, table, requests=200_000))
    assert sentence in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


def test_too_few_requests_for_a_percentile_are_refused_with_how_many_it_takes(tmp_path):
    from experiments.tune.tuning import check_tuning

    with pytest.raises(ScenarioError, match=r"give at least 111112, as --set workload\.requests"):
        check_tuning(small(tmp_path, requests=100_000))
    check_tuning(small(tmp_path, requests=111_112))


def test_the_table_of_tuning_does_not_change_what_a_run_is(tmp_path):
    assert small(tmp_path).hash == small(tmp_path, "trials = 7").hash
    assert replace(small(tmp_path), name="x").hash == small(tmp_path).hash
