"""Scenario files become exact numbers: units, overrides, loads, streams, hashes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import profiles
from experiments.config import load_scenario, parse_range
from policies.contract import NEVER, Tier

TEXT = """
# A model on which everything can be worked out by hand.
name = "hand"
[workload]
requests = 2000
arrivals = { process = "poisson", load = 0.5 }
lengths = { constant = 100 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 4 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 2.35
[policies.greedy]
kind = "greedy"
"""

PROFILE = "bert-base-a100-tensorrt-fp16"


@pytest.fixture
def load(tmp_path):
    """Loads the scenario above, or a text, with overrides."""

    def loaded(*overrides, text=TEXT):
        (tmp_path / "hand.toml").write_text(text)
        return load_scenario(tmp_path / "hand.toml", overrides)

    return loaded


def test_decimals_are_exact_in_nanoseconds(load):
    scenario = load("policies.waits.max_wait_ms=2.35")
    assert scenario.policies["waits"].max_wait_ns == 2_350_000
    assert scenario.service_ns[0, :, 0].tolist() == [2_350_000, 2_700_000, 3_050_000, 3_400_000]
    assert scenario.service_ns.dtype == np.int64


def test_an_endless_wait_is_never(load):
    assert load("policies.waits.max_wait_ms=inf").policies["waits"].max_wait_ns == NEVER


def test_the_largest_rate_is_that_of_the_most_efficient_batch(load):
    # Four requests in 3.4 ms: 4 / 0.0034 per second; half of it is offered.
    scenario = load()
    assert scenario.rate_max_per_s == pytest.approx(4 / 0.0034, rel=1e-12)
    assert scenario.offered_rate_per_s == pytest.approx(2 / 0.0034, rel=1e-12)
    assert scenario.load == pytest.approx(0.5, rel=1e-12)


def test_the_most_efficient_batch_need_not_be_the_largest(load):
    # 1 / 1 ms, 2 / 1.5 ms, 3 / 4 ms: pairs are best.
    scenario = load(
        "service.model={ table_ms = [1, 1.5, 4] }",
        "policies.waits.max_batch_size=3",
        "service.servers=2",
    )
    assert scenario.rate_max_per_s == pytest.approx(2 * 2 / 0.0015, rel=1e-12)


def test_load_and_rate_are_each_other_by_the_profile(load):
    # Constant 256 tokens lie half-way between the columns 128 and 384 of the profile.
    profile = profiles.load(PROFILE)
    table = profiles.table_ns(profile)
    between = (table[:, 0] + table[:, 1]) / 2
    most = 1e9 / (between / np.arange(1, 129)).min()
    by_load = load(f"service.profile={PROFILE}", "workload.lengths.constant=256")
    assert by_load.rate_max_per_s == pytest.approx(most, rel=1e-12)
    by_rate = load(
        f"service.profile={PROFILE}",
        "workload.lengths.constant=256",
        f"workload.arrivals.rate_per_s={most / 2}",
    )
    assert by_rate.load == pytest.approx(0.5, rel=1e-12)


def test_tiers_with_models_of_their_own_count_by_their_shares(load):
    # A quarter costs 1 ms, the rest 3 ms, one at a time: 2.5 ms on average.
    scenario = load(
        "service.model={ table_ms = [3] }",
        'workload.tiers=[{name="a",share=0.25,model={table_ms=[1]}},{name="b",share=0.75}]',
        "policies={ greedy = { kind = 'greedy' } }",
    )
    assert scenario.service_ns.tolist() == [[[1_000_000]], [[3_000_000]]]
    assert scenario.rate_max_per_s == pytest.approx(400.0, rel=1e-12)
    assert scenario.offered_rate_per_s == pytest.approx(200.0, rel=1e-12)


def test_loads_of_tiers_with_arrivals_of_their_own_add_up(load):
    tier = '{{name="{}",arrivals={{process="poisson",load={}}},lengths={{constant={}}}}}'
    tiers = ",".join([tier.format("a", 0.2, 10), tier.format("b", 0.3, 40)])
    text = TEXT.replace('arrivals = { process = "poisson", load = 0.5 }', "")
    scenario = load(
        f"workload.tiers=[{tiers}]",
        "service.model={ base_ms = 1, per_length_ms = 0.1, max_batch_size = 4 }",
        text=text,
    )
    assert scenario.load == pytest.approx(0.5, rel=1e-12)
    # At batches of four a request of length 10 costs 1.25 ms, one of 40 costs 4.25 ms.
    rates = scenario.workload.rates_per_s()
    assert rates == pytest.approx((0.2 / 0.00125, 0.3 / 0.00425), rel=1e-12)


def test_what_is_rejected_for_its_length_is_no_load(load):
    text = TEXT.replace("{ constant = 100 }", '{ distribution = "uniform", min = 383, max = 386 }')
    common = (f"service.profile={PROFILE}", "workload.arrivals.rate_per_s=1000")
    rejecting = load(*common, "service.over_length=reject", text=text)
    truncating = load(*common, "service.over_length=truncate", text=text)
    assert truncating.load / rejecting.load == pytest.approx(2.0, rel=0.01)
    assert rejecting.draw()[1].longest_admitted == 384
    assert truncating.draw()[1].longest_admitted == NEVER
    assert truncating.draw()[0].length.max() == 384


def test_a_model_that_grows_with_length_is_exact_between_its_edges(load):
    scenario = load(
        "service.model={ base_ms = 1, per_length_ms = 0.01, max_batch_size = 4 }",
        'workload.lengths={ distribution = "uniform", min = 1, max = 200 }',
    )
    assert scenario.length_edges.tolist() == [1, 200]
    assert scenario.service_ns[0, 3].tolist() == [1_040_000, 9_000_000]


def test_arrivals_draw_the_rate_that_is_asked_for(load):
    workload, _ = load("workload.requests=100000").draw()
    rate = len(workload) / (workload.arrival_ns[-1] / 1e9)
    assert rate == pytest.approx(2 / 0.0034, rel=0.02)  # 6 standard errors


@pytest.mark.parametrize(
    ("seed", "changed"),
    [
        ("arrivals", {"arrival_ns"}),
        ("lengths", {"length"}),
        ("timeouts", {"timeout_ns"}),
        ("service", {"draws"}),
        ("tuner", set()),
    ],
)
def test_changing_one_seed_changes_one_thing(load, seed, changed):
    overrides = (
        'workload.lengths={ distribution = "uniform", min = 1, max = 200 }',
        'service.timeout={ process = "exponential", mean_ms = 5 }',
        'service.noise={ kind = "gamma", cv = 0.5 }',
    )

    def drawn(*more):
        workload, service = load(*overrides, *more).draw()
        arrays = {key: getattr(workload, key) for key in ("arrival_ns", "length", "timeout_ns")}
        return arrays | {"draws": service.noise.draws}

    before, after = drawn(), drawn(f"seeds.{seed}=99")
    assert {key for key in before if not np.array_equal(before[key], after[key])} == changed


def test_replications_differ_in_everything_that_is_random(load):
    scenario = load('service.noise={ kind = "gamma", cv = 0.5 }')
    first, second = scenario.draw(0), scenario.draw(1)
    assert not np.array_equal(first[0].arrival_ns, second[0].arrival_ns)
    assert not np.array_equal(first[1].noise.draws, second[1].noise.draws)
    again = scenario.draw(0)
    assert np.array_equal(first[0].arrival_ns, again[0].arrival_ns)
    assert np.array_equal(first[1].noise.draws, again[1].noise.draws)


@pytest.mark.parametrize(("kind", "cv"), [("gamma", 1.0), ("gamma", 0.2), ("lognormal", 0.5)])
def test_noise_has_mean_one_and_the_variation_that_is_asked_for(load, kind, cv):
    noise = f'service.noise={{ kind = "{kind}", cv = {cv} }}'
    _, service = load(noise, "workload.requests=200000", "service.servers=2").draw()
    draws = service.noise.draws
    assert draws.shape == (1, 2, 200_000)
    assert draws.dtype == np.float32
    assert draws.mean() == pytest.approx(1.0, abs=6 * cv / np.sqrt(400_000))
    assert draws.std() == pytest.approx(cv, rel=0.02)


def test_a_profile_brings_its_noise_unless_the_scenario_says_none(load):
    own = (f"service.profile={PROFILE}", "workload.lengths.constant=128")
    _, service = load(*own).draw()
    assert service.noise.quantiles.shape[1] > 2
    assert service.noise.draws.mean() == pytest.approx(0.0, abs=0.2)
    _, silent = load(*own, "service.noise=none").draw()
    assert silent.noise.draws.shape[2] == 0


def test_correlated_noise_has_the_lag_of_the_profile_and_variance_one():
    from experiments.costs import correlated

    scores = np.random.default_rng(1).standard_normal((2, 200_000), dtype=np.float32)
    filtered = correlated(scores, 0.6)
    assert filtered.dtype == np.float32
    assert filtered.std() == pytest.approx(1.0, rel=0.02)
    for row in filtered:
        assert np.corrcoef(row[:-1], row[1:])[0, 1] == pytest.approx(0.6, abs=0.01)
    assert abs(np.corrcoef(filtered[0], filtered[1])[0, 1]) < 0.02
    short = correlated(np.random.default_rng(2).standard_normal((200_000, 2), np.float32), 0.6)
    assert np.corrcoef(short[:, 0], short[:, 1])[0, 1] == pytest.approx(0.6, abs=0.01)
    assert short[:, 1].std() == pytest.approx(1.0, rel=0.02)


def test_tiers_slo_capacity_and_timeout_reach_the_run(load):
    scenario = load(
        'workload.tiers=[{name="chat",share=0.5,slo={ms=50.5,percentile=95}},'
        '{name="bulk",share=0.5,timeout={ms=7}}]',
        'service.capacity={ requests = 10, counts = "in_system" }',
    )
    assert scenario.tiers == (Tier("chat", 50_500_000, 95.0), Tier("bulk"))
    workload, service = scenario.draw()
    assert (service.capacity, service.capacity_counts_in_system) == (10, True)
    assert set(workload.timeout_ns[workload.tier == 1].tolist()) == {7_000_000}
    assert set(workload.timeout_ns[workload.tier == 0].tolist()) == {NEVER}


def test_the_trace_beside_the_scenario_is_replayed(load, tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,tokens\n3.5,7\n3.75,9\n4.5,8\n")
    text = TEXT.replace("requests = 2000", "").replace(
        "{ constant = 100 }", '{ column = "tokens" }'
    )
    scenario = load('workload.arrivals={ process = "trace", file = "t.csv" }', text=text)
    workload, _ = scenario.draw()
    assert workload.arrival_ns.tolist() == [0, 250_000_000, 1_000_000_000]
    assert workload.length.tolist() == [7, 9, 8]
    faster = load(
        'workload.arrivals={ process = "trace", file = "t.csv", time_scale = 0.5 }', text=text
    )
    assert faster.offered_rate_per_s == pytest.approx(2 * scenario.offered_rate_per_s)
    before = scenario.hash
    (tmp_path / "t.csv").write_text("arrival_s,tokens\n3.5,7\n3.75,9\n4.5,9\n")
    again = load('workload.arrivals={ process = "trace", file = "t.csv" }', text=text)
    assert again.hash != before


def test_a_closed_loop_has_no_rate(load):
    scenario = load('workload.arrivals={ process = "closed", clients = 3, think_ms = 2 }')
    assert (scenario.offered_rate_per_s, scenario.load) == (None, None)
    assert scenario.draw()[0].closed.think_ns.shape[0] == 3
    assert "3 clients in a closed loop" in scenario.describe()


def test_the_hash_knows_content_and_nothing_else(load, tmp_path):
    scenario = load()
    assert len(scenario.hash) == 64
    assert load().hash == scenario.hash
    assert load("workload.arrivals.load=0.50").hash == scenario.hash
    assert load("service.servers=1", "run.replications=1").hash == scenario.hash
    assert load("name=other", 'description="words"').hash == scenario.hash
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(TEXT)
    assert load_scenario(elsewhere).hash == scenario.hash


@pytest.mark.parametrize(
    "override",
    [
        "workload.requests=2001",
        "workload.arrivals.load=0.51",
        "workload.lengths.constant=101",
        "service.model.base_ms=2.0001",
        "service.noise={ kind = 'gamma', cv = 1 }",
        "policies.waits.max_wait_ms=2.36",
        "policies.snap.kind=snap",
        "run.replications=2",
        "seeds.lengths=7",
    ],
)
def test_the_hash_sees_every_change(load, override):
    assert load(override).hash != load().hash


def test_a_manifest_is_plain_json(load):
    scenario = load("policies.waits.max_wait_ms=inf", f"service.profile={PROFILE}")
    manifest = json.loads(json.dumps(scenario.to_dict(), allow_nan=False))
    assert manifest["hash"] == scenario.hash
    assert manifest["scenario"]["seeds"] == {
        "arrivals": 1,
        "lengths": 2,
        "service": 3,
        "timeouts": 4,
        "tuner": 5,
    }
    assert manifest["scenario"]["policies"]["waits"]["max_wait_ms"] == "inf"
    assert manifest["profile"]["fingerprint"] == profiles.fingerprint(profiles.load(PROFILE))
    assert manifest["load"] == pytest.approx(0.5)


def test_overrides_take_any_toml_value_and_bare_words(load):
    scenario = load(
        "workload.requests=1e3",
        "policies.buckets={ kind = 'length_bucketed', boundaries = [50, 200] }",
        "policies.buckets.max_wait_ms=[1, 2.5, 0]",
        "service.noise.kind=none",
    )
    assert scenario.workload.requests == 1000
    assert scenario.policies["buckets"].boundaries.tolist() == [50, 200]
    assert scenario.policies["buckets"].max_wait_ns.tolist() == [1_000_000, 2_500_000, 0]


def test_an_override_replaces_its_alternative(load):
    assert load("workload.arrivals.rate_per_s=300").offered_rate_per_s == 300.0
    timed = load("workload.duration_s=0.5")
    assert (timed.workload.requests, timed.workload.duration_ns) == (None, 500_000_000)
    assert timed.draw()[0].arrival_ns.max() <= 500_000_000
    assert load(f"service.profile={PROFILE}").profile.name == PROFILE


def test_a_later_override_wins(load):
    assert load("service.servers=2", "service.servers=3").servers == 3


@pytest.mark.parametrize("tier", ["0", "chat"])
def test_a_tier_is_changed_by_its_place_or_its_name(load, tier):
    scenario = load(
        'workload.tiers=[{name="chat",slo={ms=50}}]', f"workload.tiers.{tier}.slo.ms=7.5"
    )
    assert scenario.tiers[0].slo_ns == 7_500_000


def test_ranges_are_lists_or_equal_steps():
    assert parse_range("1,2,4") == (1, 2, 4)
    assert parse_range("0.1:0.9:9") == tuple(Decimal(i) / 10 for i in range(1, 10))
    assert parse_range("greedy, snap") == ("greedy", "snap")
    assert parse_range("[1, 2],[3]") == ([1, 2], [3])


def test_steps_can_be_set_again_as_overrides(load):
    loads = [load(f"workload.arrivals.load={value}").load for value in parse_range("0.1:0.3:3")]
    assert loads == pytest.approx([0.1, 0.2, 0.3])


def test_a_shipped_name_wins_over_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mm1").write_text("not toml [")
    assert load_scenario("mm1").name == "mm1"


def test_the_description_says_what_arrives_and_what_serves(load):
    assert load("service.servers=2").describe() == (
        "hand\n"
        "2,000 requests, poisson arrivals at 1,176.47 per second (load 0.5)\n"
        "2 servers, a model of service times\n"
        "policies: waits, greedy"
    )
