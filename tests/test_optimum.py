"""The best possible in a scenario: exact where it is known, a bound elsewhere, and as a policy."""

import subprocess
import sys

import numpy as np
import pytest

from experiments.bench_optimum import CASES, optimum_time
from experiments.compare import compare
from experiments.config import ScenarioError, load_scenario
from experiments.optimum import MEASURES, best_possible, distance, obstacle_of
from policies import Optimal
from sim import kernel, model
from sim.metrics import measure
from sim.theory_batch import greedy_table, solve_batches

BEST = "policies.best={ kind = 'optimal' }"


def scenario(name, *settings):
    return load_scenario(name, settings)


def table_of(*settings):
    return scenario(*settings).policies["best"].take.tolist()


EXACT = {  # by scenario: the least mean of any rule in ms, from the literature of the oracle
    "md1": 3.0,
    "mm1": 5.0,
    "mg1_lognormal": 1.0 + 2.916667,
    "staircase_pow2": 9.433380451,
}


@pytest.mark.parametrize("name", EXACT)
def test_where_the_optimum_is_known_it_is_given_exactly(name):
    floor = best_possible(scenario(name), "mean")
    assert floor.exact
    assert floor.name == "optimum"
    assert floor.value_ms == pytest.approx(EXACT[name], rel=2e-7)
    assert floor.optimum.take[-1] >= 1
    assert "solved exactly" in floor.why


def test_a_price_of_busy_time_is_part_of_the_optimum():
    load = "workload.arrivals={ process = 'poisson', load = 0.3 }"
    quiet = scenario(
        "greedy",
        load,
        "service.model={ base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }",
    )
    floor = best_possible(quiet, "mean+busy", busy_weight_ms=20.0)
    assert floor.exact
    assert floor.optimum.mean_latency == pytest.approx(6.64, abs=0.006)
    assert floor.value_ms == pytest.approx(6.6353 + 20 * 0.54005, abs=1e-3)
    assert best_possible(quiet, "mean", busy_weight_ms=20.0).value_ms == pytest.approx(4.339333)


def test_another_rate_and_other_servers_may_be_asked_about():
    base = scenario("staircase_pow2")
    slower = best_possible(base, "mean", rate_per_s=base.offered_rate_per_s * 0.3 / 0.7)
    assert slower.value_ms == pytest.approx(4.610025129, rel=1e-8)
    assert not best_possible(base, "mean", servers=2).exact
    assert best_possible(scenario("four_servers"), "mean", servers=1, rate_per_s=1000.0).exact


def test_a_percentile_has_a_bound_and_the_table_for_comparison():
    floor = best_possible(scenario("staircase_pow2"), "p99")
    assert not floor.exact
    assert floor.name == "no-wait bound"
    assert 0 < floor.value_ms < 20.0
    assert floor.optimum.mean_latency == pytest.approx(9.433380451)
    assert floor.why == "the rule with the least mean is known, the one with the least p99 is not"


OBSTACLES = [
    ("dm1", "workload.arrivals", "arrivals are not Poisson"),
    ("closed_loop", "workload.arrivals", "clients in a closed loop wait for answers"),
    ("four_servers", "service.servers", "4 servers share the queue"),
    ("md1k", "service.capacity", "a full queue turns requests away"),
    ("mm1_deadline", "service.timeout", "requests give up"),
    ("bert", "workload.lengths", "long requests take longer than short ones"),
]


@pytest.mark.parametrize(("name", "key", "reason"), OBSTACLES)
def test_where_the_optimum_is_not_known_a_bound_says_why(name, key, reason):
    found = scenario(name)
    assert obstacle_of(found).key == key
    for each in MEASURES:
        floor = best_possible(found, each)
        assert not floor.exact
        assert floor.optimum is None
        assert floor.value_ms > 0
        assert floor.why == f"{reason}, so the optimum is not known"


@pytest.mark.parametrize("name", ["bert", "bert-l4", "speech", "clumped", "azure-code", "mm1k"])
def test_runs_stay_above_the_floor(name):
    found = scenario(name, "workload.requests=60_000")
    draws = found.draw()
    for policy in found.policies.values():
        overall = measure(kernel.run(policy, *draws), draws[1]).overall
        for each in ("mean", "p50", "p99"):
            value = overall.latency_ms[each].value
            floor = best_possible(found, each, draws=[draws])
            assert value is None or distance(value, floor) > 0


def test_a_floor_of_a_service_that_is_too_slow_is_broken():
    """Negative control: the floor of a service that takes 20 % longer, nearly without load."""
    at = "workload.arrivals={ process = 'poisson', rate_per_s = 100 }"
    found = scenario("four_servers", at, "workload.requests=20_000")
    slow = scenario(
        "four_servers", at, "service.model.base_ms=2.4", "service.model.per_request_ms=0.42"
    )
    draws = found.draw()
    value = measure(kernel.run(found.policies["greedy"], *draws), draws[1]).overall
    mean = value.latency_ms["mean"].value
    assert 0 < distance(mean, best_possible(found, "mean")) < 0.01
    assert distance(mean, best_possible(slow, "mean")) < 0


def test_the_arrivals_that_were_drawn_give_a_bound_of_their_own():
    heavy = "workload.arrivals.rate_per_s=2_400"
    found = scenario("clumped", heavy, "workload.requests=60_000")
    draws = [found.draw(), found.draw(1)]
    plain, own = best_possible(found, "mean"), best_possible(found, "mean", draws=draws)
    assert own.name == "fluid bound of these arrivals"
    assert own.value_ms > 1.2 * plain.value_ms
    for draw in draws:
        trace = kernel.run(found.policies["greedy"], *draw)
        assert measure(trace, draw[1]).overall.latency_ms["mean"].value > own.value_ms / 2


def test_more_than_the_servers_can_do_has_no_floor():
    floor = best_possible(scenario("greedy"), "p99", rate_per_s=1e6)
    assert floor.value_ms == np.inf
    assert "more requests arrive than the servers can do" in floor.why


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="measure = 'p98' must be one of mean, p50, p90"):
        best_possible(scenario("md1"), "p98")


def test_correlated_noise_is_not_called_exact(monkeypatch):
    from experiments import demand

    settings = ("workload.lengths={ constant = 128 }", "workload.requests=1000")
    found = scenario("bert", *settings)
    exact = best_possible(found, "mean")
    assert exact.exact
    real = demand.noise_table(found.profile)
    monkeypatch.setattr(demand, "noise_table", lambda profile: real._replace(lag1=0.6))
    floor = best_possible(found, "mean")
    assert not floor.exact
    assert "correlated from batch to batch" in floor.why
    assert floor.optimum.mean_latency == exact.value_ms
    assert floor.value_ms < exact.value_ms


def test_lengths_that_cost_the_same_are_no_obstacle():
    short = "workload.lengths={ distribution = 'uniform', min = 10, max = 120 }"
    assert obstacle_of(scenario("bert", short)) is None
    longer = "workload.lengths={ distribution = 'uniform', min = 10, max = 140 }"
    assert obstacle_of(scenario("bert", longer)).key == "workload.lengths"


def test_rejected_lengths_leave_a_smaller_rate():
    lengths = "workload.lengths={ distribution = 'uniform', min = 101, max = 500 }"
    rate = "workload.arrivals={ process = 'poisson', rate_per_s = 400 }"
    profile = "service.profile='bert-base-a100-tensorrt-fp16'"
    all_in = scenario("bert", lengths, rate, profile, "service.over_length='truncate'")
    some = scenario("bert", lengths, rate, profile, "service.over_length='reject'")
    floors = [best_possible(each, "mean").value_ms for each in (all_in, some)]
    assert floors[1] < floors[0]


def test_a_scenario_without_numbers_gets_the_table_of_its_own_optimum():
    found = scenario("staircase_pow2", BEST)
    assert isinstance(found.policies["best"], Optimal)
    assert np.array_equal(found.policies["best"].take, best_possible(found, "mean").optimum.take)
    assert list(found.policies)[-1] == "best"


def test_the_table_follows_rate_noise_and_price():
    base = table_of("greedy_gamma_noise", BEST)
    priced = "policies.best={ kind = 'optimal', busy_weight_ms = 20 }"
    assert table_of("greedy_gamma_noise", priced) != base
    assert table_of("staircase_pow2", BEST) != table_of(
        "staircase_pow2", BEST, "workload.arrivals.load=0.3"
    )
    noisy = "service.noise={ kind = 'gamma', cv = 1.0 }"
    assert table_of("staircase_pow2", BEST) != table_of("staircase_pow2", BEST, noisy)
    lognormal = "service.noise={ kind = 'lognormal', cv = 1.0 }"
    assert table_of("staircase_pow2", BEST, lognormal) != table_of("staircase_pow2", BEST)


def test_a_table_that_is_given_is_taken_as_it_is():
    given = "policies.best={ kind = 'optimal', take = [0, 0, 2] }"
    assert table_of("staircase_pow2", given) == [0, 0, 2]
    assert table_of("four_servers", given) == [0, 0, 2]


def test_both_drivers_run_it_and_agree():
    found = scenario("staircase_tile8", BEST, "workload.requests=20_000")
    draws = found.draw()
    one, other = (driver.run(found.policies["best"], *draws) for driver in (kernel, model))
    assert np.array_equal(one.finish_ns, other.finish_ns)
    assert np.array_equal(one.batch, other.batch)


def test_a_comparison_finds_nothing_better():
    found = scenario("staircase_pow2", BEST, "workload.requests=200_000")
    comparison = compare(found, load_curve=False)
    means = {
        each.policy: each.measures.overall.latency_ms["mean"].value for each in comparison.outcomes
    }
    assert min(means, key=means.__getitem__) == "best"
    exact = best_possible(found, "mean")
    assert abs(distance(means["best"], exact)) < 0.02
    assert distance(means["greedy"], exact) > 0.5


NOISY = {
    "profile": ("bert-eager", "workload.lengths={ constant = 128 }"),
    "gamma": ("greedy_gamma_noise",),
    "lognormal": ("staircase_tile8", "service.noise={ kind = 'lognormal', cv = 0.5 }"),
}


@pytest.mark.parametrize("kind", NOISY)
def test_a_run_with_the_noise_of_the_scenario_has_the_mean_of_the_optimum(kind):
    found = scenario(*NOISY[kind], BEST, "workload.requests=300_000")
    draws = found.draw()
    overall = measure(kernel.run(found.policies["best"], *draws), draws[1]).overall
    mean, exact = overall.latency_ms["mean"], best_possible(found, "mean")
    assert exact.exact
    assert abs(mean.value - exact.value_ms) < 1.5 * (mean.high - mean.value)
    assert mean.high - mean.value < 0.05 * mean.value
    assert overall.utilisation.value == pytest.approx(exact.optimum.utilisation, rel=0.01)
    if kind == "lognormal":  # without noise the mean would be another one
        quiet = best_possible(scenario("staircase_tile8"), "mean").value_ms
        assert mean.low > 1.1 * quiet


def test_nothing_is_solved_for_a_scenario_without_such_a_rule():
    code = (
        "import sys; from experiments.config import load_scenario; load_scenario('bert');"
        "assert not {'sim.theory_smdp', 'experiments.optimum'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


REFUSED = [
    ("four_servers", '4 servers share the queue (service.servers); use kind = "balanced_cap"'),
    ("dm1", 'arrivals are not Poisson (workload.arrivals); use kind = "snap"'),
    ("closed_loop", "clients in a closed loop wait for answers (workload.arrivals); use"),
    ("md1k", "a full queue turns requests away (service.capacity); use"),
    ("mm1_abandon", "requests give up (service.timeout); use"),
    ("bert", 'long requests take longer than short ones (workload.lengths); use kind = "length_'),
]


@pytest.mark.parametrize(("name", "sentence"), REFUSED)
def test_a_scenario_without_a_known_optimum_is_refused_in_one_sentence(name, sentence):
    with pytest.raises(ScenarioError) as caught:
        scenario(name, BEST)
    start = f'{name}.toml, --set {BEST}: policies.best.kind = "optimal" needs a scenario whose '
    text = str(caught.value)
    assert text.startswith(f"{start}optimum is known, but {sentence}")
    assert text.endswith("or give take, how many to serve of 0, 1, 2, ... that wait")


def test_tiers_with_models_of_their_own_are_refused():
    tiers = (
        "workload.tiers=[{ name = 'a', share = 0.5 }, { name = 'b', share = 0.5, model = "
        "{ base_ms = 1.0 } }]"
    )
    with pytest.raises(ScenarioError, match="tiers have models of their own"):
        scenario("greedy", tiers, BEST)
    found = scenario("greedy", tiers)
    noise = "service.model.noise={ kind = 'gamma', cv = 0.3 }"
    for each in MEASURES:
        assert best_possible(found, each).value_ms > 0
        assert best_possible(scenario("greedy", tiers, noise), each).value_ms > 0


def test_a_load_above_one_is_refused_with_the_place():
    with pytest.raises(ScenarioError, match=r'policies.best.kind = "optimal": `load < 1'):
        scenario("greedy", "workload.arrivals.rate_per_s=5000", BEST)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("{ kind = 'optimal', take = [0, 3] }", r"policies.best.take: `0 <= take\[1\] <= 1, at"),
        ("{ kind = 'optimal', tak = [0, 1] }", "tak = .* is unknown; did you mean take"),
        ("{ kind = 'optimal', busy_weight_ms = -1 }", "busy_weight_ms = -1 must be milliseconds"),
    ],
)
def test_wrong_keys_of_the_rule_are_named(rule, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        scenario("staircase_pow2", f"policies.best={rule}")


def test_the_distance_is_a_share_of_the_floor():
    floor = best_possible(scenario("md1"), "mean")
    assert distance(3.3, floor) == pytest.approx(0.1)
    greedy = solve_batches(0.8, [1.0], greedy_table(1)).mean_latency
    assert distance(greedy, floor) == pytest.approx(0.0, abs=1e-9)


def test_the_bench_has_a_row_for_each_case():
    rows = optimum_time()
    assert len(rows) == len(CASES)
    for what, target, measured in rows:
        assert what.startswith("optimal rule")
        assert target.startswith("< ")
        assert measured.endswith("states)")
