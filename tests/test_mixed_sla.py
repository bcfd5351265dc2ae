"""The scenario ``mixed_sla``: what people set by hand fails it, and what tuning finds does not."""

import json
import re
from functools import cache

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.compare import simulate
from experiments.config import SHIPPED, load_scenario
from experiments.spare import bounds_of
from experiments.tune import tune

SLO_MS = 200.0
TUNED = [
    "policies.headroom.max_block_ms=140",
    "policies.headroom.reserved=0.84",
    "policies.headroom.max_batch_size=11",
    "policies.headroom.max_fill_ms=95",
]


@cache
def measures(policy, *overrides):
    scenario = load_scenario("mixed_sla", overrides)
    return simulate(scenario, policy).outcomes[0].measures


def p99(policy, *overrides):
    return measures(policy, *overrides).group("interactive").latency_ms["p99"]


def share(policy, *overrides):
    return measures(policy, *overrides).group("offline").share_of_bound


def test_the_best_offline_batch_alone_takes_most_of_the_budget():
    service_ns = load_scenario("mixed_sla").service_ns[0]
    of_7_s = service_ns[:, 1]
    sizes = range(1, len(of_7_s) + 1)
    best = min(sizes, key=lambda size: of_7_s[size - 1] / size)
    assert best == 16
    assert of_7_s[best - 1] == pytest.approx(155.0e6, rel=0.001)
    assert of_7_s[best - 1] > 150e6


def test_one_queue_serves_no_caption_before_the_archive_is_through():
    found = simulate("mixed_sla", "one_queue")
    assert not found.outcomes[0].stable
    assert found.verdict.startswith(
        "one_queue (0/s, it serves none) is unstable: 26 requests/s arrive, more than it can serve "
        "beside the backlog of offline."
    )


@pytest.mark.parametrize("policy", ["priority", "priority_fill", "headroom"])
def test_what_people_set_by_hand_misses_the_target(policy):
    assert measures(policy).stability.stable
    assert p99(policy).low > SLO_MS


def test_small_batches_keep_the_target_and_give_a_third_of_the_archive_away():
    small = ["policies.priority.max_batch_size=8"]
    assert p99("priority", *small).high < SLO_MS
    assert share("priority", *small).high < 0.67


def test_tuned_headroom_keeps_the_target_and_nine_tenths_of_what_is_possible():
    assert p99("headroom", *TUNED).high < SLO_MS
    found = share("headroom", *TUNED)
    assert found.low >= 0.90
    assert found.high - found.low < 0.002
    assert measures("headroom", *TUNED).group("interactive").slo_attainment.value > 0.99


def test_what_is_possible_is_what_the_captions_leave_over_the_cheapest_piece():
    (bound,) = bounds_of(load_scenario("mixed_sla"))
    assert bound.per_s == pytest.approx((1 - 0.25) / (155.01 / 16) * 1e3, rel=1e-3)
    assert bound.formula == "(1 server - 0.25 for interactive) / 9.688 ms"
    assert bound.sentence.startswith("No rule at all can serve more than 77.41/s of offline: ")


def test_the_command_shows_the_bound_and_each_share(tmp_path):
    given = ["simulate", "mixed_sla", "--policy", "priority_fill", "--out", str(tmp_path), "-q"]
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.output.split())
    assert "25.8/s, load 0.25, beside a backlog of offline" in text
    assert "% of the 77.41/s that no rule can exceed, (1 server - 0.25 for interactive)" in text
    plain = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    found = plain["policies"]["priority_fill"]
    tiers = found["tiers"]
    assert plain["scenario"]["backlogs"]["offline"]["bound_per_s"] == pytest.approx(77.41, abs=0.01)
    assert tiers["offline"]["latency_ms"]["p99"]["reason"].startswith("a backlog that is always")
    assert 0.0 < tiers["offline"]["share_of_bound"] < 1.001
    assert found["stability"].startswith("stable: 25.8 requests/s arrive, this policy can serve")
    assert "share_of_bound" not in tiers["interactive"]


@pytest.mark.slow
def test_tuning_finds_a_setting_that_keeps_both_promises():
    found = tune("mixed_sla", load_curve=False)
    best = found.winner
    assert found.goal.title == "most throughput of offline with p99 of interactive <= 200 ms"
    assert best.setting.table["kind"] == "headroom"
    assert best.feasible
    group = best.outcomes[0].measures.group
    assert group("interactive").latency_ms["p99"].high < SLO_MS
    assert group("offline").share_of_bound.low >= 0.90
    text = (SHIPPED / "mixed_sla.toml").read_text()
    tail_ms, percent = re.search(r"keeps (\d+) ms and gets ([\d.]+) % of all", text).groups()
    tail = group("interactive").latency_ms["p99"].value
    assert tail == pytest.approx(float(tail_ms), abs=1.0)
    assert 100 * group("offline").share_of_bound.value == pytest.approx(float(percent), abs=0.1)
    for name in ("one_queue", "priority", "priority_fill", "headroom"):
        assert not found.of(name).feasible
    assert "The p99 of interactive is" in found.verdict
    assert "of the 77.41/s that no rule can exceed" in found.verdict


def test_a_tuning_draws_its_winner_beside_the_present_settings():
    goal = ["tune.trials=8", 'tune.policies=["priority_fill"]']
    found = tune(load_scenario("mixed_sla", goal), load_curve=False)
    names = {one.get_label() for one in found.plot.tiers().containers}
    assert names == {found.winner.name, "priority", "priority_fill", "headroom"}


@pytest.mark.slow
def test_the_front_of_throughput_against_latency_is_searched_whole():
    aims = 'tune.objective=["throughput of offline", "p99 of interactive"]'
    scenario = load_scenario("mixed_sla", [aims, "tune.slo=false", "tune.trials=80"])
    found = tune(scenario, load_curve=False)
    rates, tails = ([one.worth[k].value for one in found.front] for k in (0, 1))
    assert rates == sorted(rates, reverse=True)
    assert tails == sorted(tails, reverse=True)
    assert min(tails) < 150.0
    assert max(rates) > 77.0
    assert "With p99 of interactive <= 200 ms it is tuned_" in found.verdict
    labels = found.plot.front().get_legend_handles_labels()[1]
    assert "SLO 200 ms" in labels
    assert "no rule above 77.41/s" in labels
