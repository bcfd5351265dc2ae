"""Capacities of a scenario: paired differences, servers, words, JSON, the figure, the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import capacity as jobs
from experiments.bench_capacity import capacity_time
from experiments.capacities import rate_difference
from experiments.capacity import capacity, with_servers
from experiments.capacity_rate import Limit, largest_rate
from experiments.capacity_words import per_second
from experiments.cli import app
from experiments.config import ScenarioError, load_scenario
from experiments.contest import BASELINES, driver
from experiments.fleet import first_enough, least_servers
from experiments.lateness import check, targets_of
from experiments.load_curve import at_pace
from experiments.parallel import Interrupted
from policies import Greedy

SCENARIO = """
name = "small"
[workload]
requests = 120_000
arrivals = { process = "poisson", rate_per_s = 1200.0 }
[[workload.tiers]]
name = "all"
slo = { percentile = 99, ms = 15.0 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
noise = { kind = "gamma", cv = 0.1 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 5.0
[policies.full]
kind = "static"
batch_size = 6
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "small.toml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture(scope="module")
def found(path):
    return capacity(path, rate_per_s=5000.0)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in a folder that holds ``small.toml``."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SCENARIO)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_baselines_stand_beside_every_policy(found):
    assert [one.policy for one in found.capacities] == ["waits", "full", *BASELINES]
    assert [one.baseline for one in found.capacities] == [False, False, True, True, True]


def test_equal_rules_tie_exactly_and_others_do_not(found):
    assert set(found.tied) == set(BASELINES)
    gaps = {gap.policy: gap.per_s for gap in found.differences}
    assert gaps["balanced_cap"].value == gaps["balanced_cap"].low == 0.0
    assert gaps["full"].verdict == "lower"
    assert gaps["full"].low < gaps["full"].value < gaps["full"].high < 0.0
    assert "greedy, snap and balanced_cap tie for the most with p99 <= 15 ms" in found.verdict
    assert "Slow arrivals miss it: full below " in found.verdict


def test_every_number_stands_beside_the_limit(found):
    greedy = found.of("greedy")
    p99 = greedy.outcome.estimate("latency_ms.p99")
    assert p99.value == pytest.approx(greedy.limit.tail_ms, rel=1e-9)
    assert 14.8 < p99.value <= 15.0
    assert greedy.outcome.value("utilisation") > 0.99
    assert found.share(greedy) == pytest.approx(greedy.value / 2424.24, rel=1e-4)


def test_a_paired_difference_covers_a_true_one_and_is_narrower_than_one_of_strangers(path):
    """Greedy against greedy with batches of up to 12; the truth is the mean of long runs.

    With a true coverage of 0.95 fewer than 18 of 24 cover with probability 1e-5.
    """
    run = driver("kernel")

    def limits(seed, requests):
        more = [f"seeds.arrivals={seed}", f"workload.requests={requests}"]
        scenario = load_scenario(path, ["service.noise={ kind = 'none' }", *more])
        drawn = scenario.draw()
        return [
            largest_rate(policy, drawn, run, scenario.tiers, base_rate_per_s=1200.0, lowest=False)
            for policy in (Greedy(), Greedy(12))
        ]

    truth = np.mean([one.value - two.value for one, two in (limits(n, 600_000) for n in (50, 51))])
    pairs = [limits(seed, 112_000) for seed in range(24)]
    gaps = [rate_difference(*pair) for pair in pairs]
    strangers = [rate_difference(*(replace(one, sections=()) for one in pair)) for pair in pairs]
    assert truth > 50.0
    assert sum(gap.low <= truth <= gap.high for gap in gaps) >= 18
    assert sum(gap.verdict == "higher" for gap in gaps) >= 18
    widths = [np.mean([gap.high - gap.low for gap in each]) for each in (gaps, strangers)]
    assert widths[0] < 0.8 * widths[1]


def test_a_limit_by_stability_differs_by_its_interval():
    steady = Limit(100.0, 100.0, 100.0, 0.0, 100.0, "stability")
    by_slo = Limit(90.0, 85.0, 95.0, 0.0, 120.0, "slo")
    assert rate_difference(by_slo, steady).verdict == "lower"
    assert rate_difference(steady, by_slo).low == pytest.approx(5.0 - 0.475)
    near = Limit(99.0, 97.0, 101.0, 0.0, 120.0, "slo")
    assert rate_difference(near, steady).verdict == "tie"


def enough(scenario, policy, servers, rate_per_s):
    """Whether so many servers are enough, the slow way: load, draw, run, look."""
    other = with_servers(scenario, servers)
    workload, service = other.draw()
    paced = at_pace(workload, rate_per_s / scenario.offered_rate_per_s)
    trace = driver("kernel")(policy, paced, service)
    return check(rate_per_s, [trace], targets_of(other.tiers, paced)).surely <= 0.0


@pytest.mark.parametrize("name", ["greedy", "balanced_cap", "snap"])
def test_the_fewest_servers_are_those_of_a_count_upwards(found, path, name):
    scenario = load_scenario(path)
    policy = jobs.entrants(scenario, [name], baselines=False)[0].policy
    slowly = next(n for n in range(found.of(name).fleet.least, 65)
                  if enough(scenario, policy, n, 5000.0))  # fmt: skip
    fleet = found.of(name).fleet
    assert fleet.servers == slowly
    assert fleet.least == 3
    assert fleet.saturation_per_s > 5000.0
    assert found.of(name).fleet_outcome.slo_met


def test_a_rule_that_waits_too_long_is_not_helped_by_servers(found):
    assert found.of("waits").fleet.servers is None
    assert "waits does not meet it with up to 64 servers" in found.verdict


def test_other_numbers_of_servers_see_the_same_arrivals_and_each_server_its_own_luck(path):
    scenario = load_scenario(path)
    (one, few), (other, many) = with_servers(scenario, 2).draw(), with_servers(scenario, 5).draw()
    assert np.array_equal(one.arrival_ns, other.arrival_ns)
    assert np.array_equal(few.noise.draws, many.noise.draws[:, :2])
    assert (few.servers, many.servers) == (2, 5)


@pytest.mark.parametrize("answer", [1, 2, 3, 7, 8, 9, 31, 63, 64])
def test_the_first_number_that_is_enough_is_found_in_few_questions(answer):
    asked = []

    def question(number):
        asked.append(number)
        return number >= answer

    assert first_enough(question, 1, 64) == answer
    assert len(asked) <= 14
    assert max(asked) <= 64


def test_no_number_is_enough():
    assert first_enough(lambda _: False, 3, 64) is None
    assert first_enough(lambda _: True, 65, 64) is None


def test_the_useful_work_bounds_the_servers():
    assert least_servers(2424.0, 2424.0) == 1
    assert least_servers(2425.0, 2424.0) == 2
    assert least_servers(1.0, 2424.0) == 1


def test_rates_have_four_digits():
    rates = [0.0, 4.617, 63.998, 58.4, 999.4, 999.96, 2322.6, 12345.6]
    assert [per_second(rate) for rate in rates] == [
        "0", "4.617", "64.00", "58.40", "999.4", "1,000", "2,323", "12,346",
    ]  # fmt: skip


def test_policies_of_ones_own_take_part(path):
    both = capacity(path, {"mine": Greedy(max_batch_size=4)})
    assert [one.policy for one in both.capacities] == ["mine", *BASELINES]


def test_what_is_wrong_is_said_in_a_sentence(path):
    with pytest.raises(ScenarioError) as wrong:
        capacity(path, rate_per_s=float("nan"))
    assert str(wrong.value) == "rate = nan: must be a positive number of requests/s"
    with pytest.raises(ScenarioError) as wrong:
        capacity(path, max_servers=0)
    assert str(wrong.value) == "max_servers = 0: must be at least 1"
    with pytest.raises(ScenarioError) as wrong:
        capacity("closed_loop")
    assert str(wrong.value) == (
        "closed_loop.toml: workload.arrivals is a closed loop, which has no arrival rate that "
        'could be largest; give open arrivals, such as { process = "poisson", load = 0.6 }'
    )


def test_an_slo_below_one_request_alone_is_said_with_its_time(path):
    tiers = "workload.tiers=[{ name = 'all', slo = { percentile = 99, ms = 2.3 } }]"
    quiet = "service.noise={ kind = 'none' }"
    verdict = capacity(load_scenario(path, [tiers, quiet]), ["greedy"]).verdict
    assert "No rate meets p99 <= 2.3 ms of all: one request alone takes 2.35 ms (p99)." in verdict


def test_a_short_run_says_how_many_requests_it_needs(path):
    found = capacity(load_scenario(path, ["workload.requests=5000"]), ["greedy"])
    assert found.verdict == "That needs 114,000 requests: --set workload.requests=114000."
    assert found.best is None
    assert json.loads(found.to_json())["policies"]["greedy"]["capacity_per_s"]["needs"] == 114_000


def test_json_holds_every_policy_with_its_interval_and_no_nan(found):
    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    plain = json.loads(found.to_json(), parse_constant=refuse)
    assert plain["best"] == "greedy"
    assert plain["slos"] == [{"tier": "all", "percentile": 99.0, "ms": 15.0}]
    greedy = plain["policies"]["greedy"]
    limit = greedy["capacity_per_s"]
    assert limit["low"] < limit["value"] < limit["high"] < limit["saturation_per_s"]
    assert limit["bound"] == "slo"
    assert "sections" not in limit
    assert set(greedy["at_capacity"]["latency_ms"]["p99"]) == {"value", "low", "high"}
    assert greedy["servers"]["servers"] == found.of("greedy").fleet.servers
    assert plain["policies"]["full"]["capacity_per_s"]["from_per_s"] > 0.0
    assert {gap["policy"] for gap in plain["differences"]} == {
        "waits", "full", "snap", "balanced_cap",
    }  # fmt: skip


def test_a_frame_has_one_row_a_policy(found):
    frame = found.to_frame()
    assert list(frame.index) == [one.policy for one in found.capacities]
    assert (frame.capacity_per_s_low < frame.capacity_per_s).all()
    assert frame.loc["greedy", "servers"] == found.of("greedy").fleet.servers
    assert frame.loc["full", "from_per_s"] > 0.0


def test_a_notebook_shows_a_table_and_the_verdict(found):
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found.capacities)
    assert "tie for the most" in html


def test_the_figure_has_a_bar_an_interval_and_a_mark_for_each_policy(found):
    import matplotlib as mpl

    axes = found.plot.rates()
    bars = [patch for patch in axes.patches if abs(patch.get_height() - 0.6) < 1e-9]
    ranked = sorted(found.capacities, key=lambda one: one.value)
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx(
        [one.value for one in ranked]
    )
    assert "requests/s" in axes.get_xlabel()
    marks = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
    drawn_at = {float(line.get_xdata()[0]) for line in marks}
    assert {one.limit.saturation_per_s for one in ranked} <= drawn_at
    own = mpl.figure.Figure().add_subplot()
    assert found.plot.rates(own) is own


def test_the_command_prints_tables_within_100_columns(run):
    result = run("capacity", "small.toml", "--rate", 5000, "--policy", "waits")
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    for name in ("waits", r"greedy \*", "snap =", "balanced_cap ="):
        assert re.search(rf"^ {name} ", result.stdout, re.MULTILINE), name
    assert "fewest servers for 5,000/s with p99 <= 15 ms" in result.stdout
    folder = Path("runs/small/capacity-1")
    assert (folder / "capacity.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "capacity.svg").read_text().startswith("<?xml")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["command"], manifest["rate_per_s"]) == ("capacity", 5000.0)
    assert json.loads((folder / "result.json").read_text())["rate_per_s"] == 5000.0
    assert Path("runs/latest").read_text() == "small/capacity-1\n"


def test_json_is_one_object_and_nothing_else(run):
    result = run("capacity", "small.toml", "--policy", "waits", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    plain = json.loads(result.stdout)
    assert plain["figures"] == ["capacity.png", "capacity.svg"]
    assert plain["policies"]["waits"]["servers"] is None


def test_a_scenario_without_an_slo_is_one_sentence_and_code_2(run):
    result = run("capacity", "mm1")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "error: mm1.toml: workload.tiers has no SLO, and capacity is the largest rate that meets "
        "the SLOs; give a tier one, such as slo = { percentile = 99, ms = 50.0 }\n"
    )
    assert not list(Path("runs").glob("*/capacity-*"))


def test_an_interruption_keeps_what_is_done(run, monkeypatch):
    threads = jobs.in_threads

    def stopped(work, todo, names, progress, at_once):
        raise Interrupted(threads(work, todo[:1], names[:1], progress, at_once))

    monkeypatch.setattr(jobs, "in_threads", stopped)
    result = run("capacity", "small.toml")
    assert result.exit_code == 130
    plain = json.loads(Path("runs/small/capacity-1/result.json").read_text())
    assert plain["interrupted"]
    assert list(plain["policies"]) == ["waits"]


def test_an_interruption_before_any_policy_is_done_leaves_no_folder(run, monkeypatch):
    def stopped(*_):
        raise Interrupted([])

    monkeypatch.setattr(jobs, "in_threads", stopped)
    result = run("capacity", "small.toml")
    assert result.exit_code == 130
    assert not list(Path("runs").glob("*/capacity-*"))


@pytest.mark.slow
def test_the_bench_has_a_target_for_each_row():
    for what, target, measured in capacity_time():
        assert what
        assert target.startswith("<")
        assert measured
