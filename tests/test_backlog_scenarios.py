"""A scenario with a backlog: what it may ask for, what tuning makes of it, and what is refused."""

import numpy as np
import pytest

from experiments.capacity import capacity
from experiments.capacity_rate import largest_rate
from experiments.compare import compare, sweep
from experiments.config import load_scenario
from experiments.contest import about, draw_all
from experiments.load_curve import at_pace, first_requests
from experiments.rate_search import LEAST_BESIDE
from experiments.sentences import ScenarioError
from experiments.spare import bounds_of
from experiments.terminal import lost_table, tier_table
from experiments.tune.goal import goal_of
from policies.contract import NEVER
from sim import kernel
from sim.backlog import without
from sim.errors import WorkloadError

TEXT = """
name = "s"

[workload]
requests = 6_000
lengths = { distribution = "uniform", min = 1, max = 9 }

[[workload.tiers]]
name = "online"
arrivals = { process = "poisson", rate_per_s = 50.0 }
slo = { percentile = 90, ms = 60.0 }

[[workload.tiers]]
name = "offline"
arrivals = { process = "backlog" }

[service]
model = { base_ms = 8.0, per_request_ms = 2.0, max_batch_size = 4 }
timeout = { ms = 900.0 }

[policies.filled]
kind = "priority_fill"

[policies.shared]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 1.0
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(TEXT)
    return path


def mistake(source, *overrides):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(source, overrides)
    return str(caught.value).split(": ", 1)[1]


def test_load_and_rate_are_those_of_the_tiers_that_arrive(source):
    scenario = load_scenario(source)
    assert scenario.offered_rate_per_s == 50.0
    assert scenario.load == pytest.approx(50.0 / 250.0)
    assert "offline: a backlog that is always there" in scenario.describe()


def test_requests_and_patience_are_those_of_the_tiers_that_arrive(source):
    workload, _ = load_scenario(source).draw()
    assert len(without(workload)) == 6_000
    assert (workload.timeout_ns[workload.tier == 0] == 900_000_000).all()
    assert (workload.timeout_ns[workload.tier == 1] == NEVER).all()


def test_a_backlog_is_as_large_as_the_servers_need(source):
    for servers in (1, 4):
        scenario = load_scenario(source, [f"service.servers={servers}"])
        workload, _ = scenario.draw()
        most = servers * 250.0 * workload.until_ns / 1e9
        assert 1.2 * most < np.count_nonzero(workload.tier == 1) < 1.3 * most + 1_000 * servers + 1


def test_the_bound_is_said_with_its_formula(source):
    (bound,) = bounds_of(load_scenario(source))
    assert bound.per_s == pytest.approx((1 - 0.2) / 0.004)
    assert bound.formula == "(1 server - 0.2 for online) / 4 ms"
    facts = about(scenario := load_scenario(source), draw_all(scenario))
    assert facts["requests"] == 6_000
    assert facts["backlogs"]["offline"] == bound.to_dict()


def test_a_comparison_says_what_the_backlog_gets_and_blames_it_for_nothing(source):
    found = compare(source, load_curve=False)
    filled, shared = (found.outcome(name) for name in ("filled", "shared"))
    assert filled.measures.group("offline").share_of_bound.value > 0.99
    assert "offline gets most within the SLO under filled: " in found.verdict
    assert "of the 200/s that no rule can exceed, (1 server - 0.2 for online)" in found.verdict
    assert shared.measures.group("online").expired == 6_000
    heads = [column.header for column in tier_table(found).columns]
    assert heads[-2:] == ["rate, /s", "of bound\n%"]
    lost = lost_table(found)
    assert list(lost.columns[1].cells) == ["6,000"] * len(found.outcomes)


def test_no_loss_is_shown_where_only_the_backlog_is_left(source):
    found = compare(load_scenario(source), ["filled"], load_curve=False)
    kept = [outcome for outcome in found.outcomes if outcome.policy == "filled"]
    assert lost_table(type(found)(found.scenario, "kernel", tuple(kept), "", 0.0)) is None


def test_a_sweep_goes_over_the_load_beside_the_backlog(source):
    found = sweep(source, {"workload.tiers.online.arrivals.rate_per_s": [20.0, 100.0]}, ["filled"])
    shares = [step.outcomes[0].measures.group("offline") for step in found.steps]
    rates = [one.throughput_per_s.value for one in shares]
    assert rates == pytest.approx([230.0, 150.0], rel=0.03)


def test_the_largest_rate_is_found_beside_the_backlog(source):
    longer = load_scenario(source, ["workload.requests=20_000"])
    found = capacity(longer, ["filled"]).of("filled").limit
    assert 150.0 < found.low <= found.value <= 250.0


def test_no_run_beside_a_backlog_is_so_slow_that_it_would_need_millions_of_it(source):
    longest = []

    def watched(policy, workload, service):
        longest.append(np.count_nonzero(workload.tier == 1))
        return kernel.run(policy, workload, service)

    never = ["workload.tiers.online.slo.ms=0.1", "workload.requests=12_000"]
    scenario = load_scenario(source, never)
    draw = scenario.draw()
    found = largest_rate(
        scenario.policies["filled"], draw, watched, scenario.tiers, base_rate_per_s=50.0
    )
    assert found.bound == "nothing"
    slowest = LEAST_BESIDE * found.saturation_per_s
    assert max(longest) <= 1.01 * np.count_nonzero(draw[0].tier == 1) * 50.0 / slowest


def test_a_load_curve_plays_as_much_of_the_backlog_as_each_load_lasts(source):
    workload, _ = load_scenario(source).draw()
    slow, fast = (at_pace(first_requests(workload, 900), pace) for pace in (0.5, 2.0))
    assert slow.until_ns == pytest.approx(4 * fast.until_ns, rel=1e-6)
    counts = [np.count_nonzero(one.tier == 1) for one in (slow, fast)]
    assert counts[0] == pytest.approx(4 * counts[1], abs=4)


def test_of_rules_that_keep_the_slo_the_one_that_gets_most_done_is_named(source):
    slower = "policies.halves={kind='priority_fill', max_batch_size=2}"
    found = compare(load_scenario(source, [slower]), ["halves", "filled"], load_curve=False)
    assert found.outcome("halves").slo_met
    assert "offline gets most within the SLO under filled: " in found.verdict


def test_servers_are_not_counted_beside_a_backlog(source):
    with pytest.raises(ScenarioError, match=r"^s\.toml: servers are counted for a rate of arriv"):
        capacity(source, ["filled"], rate_per_s=100.0)


def test_a_backlog_that_is_too_small_is_refused_with_what_to_do(source):
    scenario = load_scenario(source, ["workload.tiers.offline.arrivals.requests=1000"])
    with pytest.raises(WorkloadError, match=r"^the backlog of tier 'offline' ran dry: its 1000 "):
        compare(scenario, ["filled"], load_curve=False)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["workload.tiers.offline.slo={ms=5}"],
            "workload.tiers.1: a backlog waits from the beginning to the end: leave out slo",
        ),
        (
            ["workload.tiers.offline.timeout={ms=5}"],
            "workload.tiers.1: a backlog waits from the beginning to the end: leave out timeout",
        ),
        (
            ['workload.tiers=[{name="a",arrivals={process="backlog"}}]'],
            "workload: every tier is a backlog: at least one needs requests that arrive, which say "
            "when the run ends",
        ),
        (
            ["service.capacity.requests=9"],
            "service.capacity is one queue for all tiers, and the backlog of offline would fill "
            "it: leave it out, or give that tier arrivals",
        ),
        (
            ['workload.arrivals={process="backlog"}'],
            'workload.arrivals = "backlog" must be the arrivals of a tier: a backlog waits beside '
            'others, as in [[workload.tiers]] name = "offline", arrivals = { process = "backlog" }',
        ),
        (
            ["workload.tiers.offline.arrivals.rate_per_s=5"],
            "unknown key workload.tiers.1.arrivals.rate_per_s = 5; known are process, requests",
        ),
    ],
)
def test_what_a_backlog_cannot_have_is_refused_in_one_sentence(source, overrides, sentence):
    assert mistake(source, *overrides).removeprefix(": ").endswith(sentence)


# tuning


def goal(source, *overrides):
    return goal_of(load_scenario(source, overrides))


def test_a_backlog_beside_an_slo_is_what_tuning_aims_at(source):
    assert goal(source).title == "most throughput of offline with p90 of online <= 60 ms"
    said = "least p90 of online with share served of online >= 0.9"
    assert goal(source, "tune.slo=false").title == said, "requests of it may give up"


def test_an_objective_may_name_its_tier_in_words(source):
    one = 'tune.objective=["throughput of offline", "p90 of online"]'
    assert [m.title for m in goal(source, one).objectives] == [
        "throughput of offline",
        "p90 of online",
    ]


@pytest.mark.parametrize("word", ["p99", "wait_mean", "attainment", "in_system"])
def test_a_backlog_has_no_latency_to_tune(source, word):
    with pytest.raises(ScenarioError, match="but offline is a backlog, whose requests wait from"):
        goal(source, f'tune.objective="{word} of offline"')


def test_only_a_backlog_has_a_share_of_the_bound(source):
    assert goal(source, 'tune.objective="bound_share of offline"').objectives[0].sign == -1.0
    with pytest.raises(ScenarioError, match="which only a backlog has; give a tier with arrivals"):
        goal(source, 'tune.objective="bound_share of online"')
