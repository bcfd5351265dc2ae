"""Comparisons: the same luck for all, honest ties, honest refusals, baselines beside every rule."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from experiments.compare import BASELINES, compare, simulate, sweep
from experiments.config import ScenarioError, load_scenario
from experiments.contest import draw_all, driver, entrants
from experiments.load_curve import CURVE_LOADS, at_pace, first_requests
from experiments.outcome import leaders
from experiments.parallel import Interrupted, in_threads, nothing
from experiments.wording import amount, short, with_interval
from sim.intervals import Estimate

SCENARIO = """
name = "three"
[workload]
requests = 150_000
arrivals = { process = "poisson", rate_per_s = 1200.0 }
[[workload.tiers]]
name = "all"
slo = { percentile = 99, ms = 10.0 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 5.0
[policies.single]
kind = "greedy"
max_batch_size = 1
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "three.toml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture(scope="module")
def found(path):
    return compare(path)


def test_the_baselines_stand_beside_every_policy(found):
    assert [o.policy for o in found.outcomes] == ["waits", "single", *BASELINES]
    assert [o.baseline for o in found.outcomes] == [False, False, True, True, True]


def test_a_baseline_that_the_scenario_has_is_not_added_again(path):
    scenario = load_scenario(path, ["policies.mine.kind=greedy", "policies.snap.kind=snap"])
    names = [each.name for each in entrants(scenario, None, baselines=True)]
    assert names == ["waits", "single", "mine", "snap", "balanced_cap"]


def test_a_greedy_with_a_cap_is_not_the_greedy_baseline(path):
    names = [each.name for each in entrants(load_scenario(path), ["single"], baselines=True)]
    assert names == ["single", *BASELINES]


def test_greedy_is_as_fast_as_theory_says(found):
    mean = found.outcome("greedy").estimate("latency_ms.mean")
    assert mean.low <= 5.674756 <= mean.high
    p99 = found.outcome("greedy").estimate("latency_ms.p99")
    assert p99.low <= 9.740254 <= p99.high


def test_equal_rules_tie_exactly_because_they_see_the_same_luck(found):
    gap = found.difference("balanced_cap", "greedy")
    assert gap.ms.value == 0.0
    assert gap.tie
    assert set(found.tied) == set(BASELINES)
    assert found.best == "greedy"


def test_a_needless_wait_is_told_in_ms_and_not_called_a_tie(found):
    gap = found.difference("waits", "greedy", "mean")
    assert gap.ms.verdict == "higher"
    assert 1.5 < gap.ms.value < 2.5
    assert (
        f"the 5 ms wait of waits costs {amount(gap.ms.value)} ms of mean latency" in found.verdict
    )


def test_paired_intervals_are_narrower_than_those_of_the_policies(found):
    gap = found.difference("waits", "greedy", "mean").ms
    alone = found.outcome("waits").estimate("latency_ms.mean")
    assert gap.high - gap.low < 0.5 * (alone.high - alone.low)


def test_an_unstable_policy_has_no_latency_and_is_named_with_how_much_is_missing(found):
    single = found.outcome("single")
    assert not single.stable
    assert single.value("latency_ms.p99") is None
    assert "single (426/s, 182 % too many) is unstable: 1,200 requests/s arrive" in found.verdict
    assert all("single" not in (gap.policy, gap.against) for gap in found.differences)


def test_load_and_busy_are_both_said(found):
    assert "The load is 0.5 of the largest possible rate" in found.verdict
    assert "under greedy the servers are 99." in found.verdict


def test_only_those_that_meet_the_slo_are_said_to(found):
    assert "Only greedy, snap and balanced_cap meet the SLO of 10 ms." in found.verdict
    assert found.outcome("greedy").slo_met
    assert not found.outcome("waits").slo_met


@pytest.mark.parametrize(("policy", "said"), [("waits", "misses"), ("greedy", "meets")])
def test_a_policy_alone_is_not_every_policy(path, policy, said):
    assert f"It {said} the SLO of 10 ms." in simulate(path, policy).verdict


def test_a_short_run_refuses_its_p99_and_says_how_many_requests_it_needs(path):
    short_run = compare(load_scenario(path, ["workload.requests=5000"]), load_curve=False)
    assert short_run.outcome("greedy").value("latency_ms.p99") is None
    assert "A p99 needs 111,112 requests" in short_run.verdict
    assert "lowest mean latency" in short_run.verdict
    assert "p99 (" not in short_run.verdict


def test_the_load_curve_plays_the_same_arrivals_and_leaves_out_the_unstable(found):
    curve = found.load_curve
    assert [step.load for step in curve.steps] == list(CURVE_LOADS)
    means = [point.value for point in curve.line(curve.keys[0], "greedy", "mean")]
    assert means == sorted(means)
    single = curve.line(curve.keys[0], "single", "mean")
    assert [point.stable for point in single] == [x * 2424.24 < 425.6 for x in CURVE_LOADS]
    assert all((point.value is None) != point.stable for point in single)


def test_the_load_curve_agrees_with_a_scenario_at_that_load(found, path):
    other = load_scenario(path, ["workload.arrivals.load=0.8", "workload.requests=120000"])
    direct = compare(other, ["waits"], load_curve=False).outcome("waits")
    (point,) = (
        p for p in found.load_curve.line(found.load_curve.keys[0], "waits", "mean") if p.x == 0.8
    )
    assert point.value == pytest.approx(direct.value("latency_ms.mean"), rel=1e-3)


def test_a_faster_pace_keeps_order_and_scales_time(path):
    workload, _ = load_scenario(path).draw()
    first = first_requests(workload, 1000)
    faster = at_pace(first, 2.0)
    assert len(faster) == 1000
    assert np.abs(2 * faster.arrival_ns - first.arrival_ns).max() <= 1


def test_both_engines_give_the_same_result(path):
    scenario = load_scenario(path, ["workload.requests=3000"])
    kernel, simpy = (compare(scenario, engine=e, load_curve=False) for e in ("kernel", "simpy"))
    one, other = kernel.to_dict(), simpy.to_dict()
    for each in (one, other):
        del each["engine"], each["seconds"]
    assert one == other


def test_replications_are_pooled_into_one_estimate(path):
    scenario = load_scenario(path, ["workload.requests=3000", "run.replications=4"])
    outcome = simulate(scenario, "greedy").outcomes[0]
    assert outcome.counts.requests == 12_000
    assert len(draw_all(scenario)) == 4


def test_simulate_takes_the_first_policy_by_default(path):
    scenario = load_scenario(path, ["workload.requests=2000"])
    result = simulate(scenario)
    assert [o.policy for o in result.outcomes] == ["waits"]
    assert result.to_frame().loc["waits", "requests"] == 2000


def test_a_policy_of_ones_own_takes_part(path):
    from policies import Greedy

    scenario = load_scenario(path, ["workload.requests=3000"])
    result = compare(scenario, {"mine": Greedy(4)}, load_curve=False)
    assert [o.policy for o in result.outcomes] == ["mine", *BASELINES]
    assert result.outcome("mine").parameters == {"kind": "Greedy", "max_batch_size": 4}


def test_an_unknown_engine_or_policy_is_a_scenario_error(path):
    with pytest.raises(ScenarioError, match="must be kernel or simpy"):
        driver("fast")
    with pytest.raises(ScenarioError, match="no policy 'nope'; there are waits, single, greedy"):
        compare(path, ["nope"])


def test_a_sweep_finds_every_wrong_step_before_it_runs_any(path):
    told = []
    with pytest.raises(ScenarioError, match="servers"):
        sweep(path, {"service.servers": [1, 0]}, progress=lambda *what: told.append(what))
    assert told == []


def test_a_sweep_says_who_leads_where_and_who_is_unstable(path):
    result = sweep(
        path,
        {"workload.arrivals.load": [0.1, 0.3, 0.5]},
        ["single"],
        settings=["workload.requests=3000"],
    )
    assert "Unstable at load 0.3 and load 0.5: single." in result.verdict
    assert [round(step.load, 6) for step in result.steps] == [0.1, 0.3, 0.5]
    frame = result.to_frame()
    assert len(frame) == 12
    assert frame.groupby("policy")["stable"].all()["greedy"]


def test_a_frame_has_values_with_their_ends(found):
    frame = found.to_frame()
    row = frame.loc["greedy"]
    assert row["latency_ms_p99_low"] < row["latency_ms_p99"] < row["latency_ms_p99_high"]
    assert np.isnan(frame.loc["single", "latency_ms_p99"])
    assert not frame.loc["single", "stable"]


def test_a_notebook_sees_a_table_and_the_verdict(found):
    page = found._repr_html_()
    assert page.count("<tr>") == 6
    assert "unstable" in page
    assert found.verdict[:40] in page


def test_leaders_of_nothing_stable_are_nobody(found):
    assert leaders([found.outcome("single")]) == ()


def test_progress_counts_every_policy(path):
    told = []
    scenario = load_scenario(path, ["workload.requests=2000"])
    compare(scenario, progress=lambda *what: told.append(what), load_curve=False)
    assert told[-1][1:] == (5, 5)
    assert {name for name, _, _ in told} <= {
        "drawing the workload", "waits", "single", *BASELINES
    }  # fmt: skip


def test_an_interrupt_keeps_the_jobs_that_are_done():
    def work(job):
        if job == 2:
            raise KeyboardInterrupt
        return job * 10

    with pytest.raises(Interrupted) as caught:
        in_threads(work, [0, 1, 2, 3], list("abcd"), lambda *_: None, at_once=1)
    assert caught.value.done[:2] == [0, 10]


def test_an_interrupt_while_jobs_are_handed_out_drops_those_that_were_not(monkeypatch):
    begun, submit = [], ThreadPoolExecutor.submit

    def interrupted(pool, work, job):
        if job == 2:
            raise KeyboardInterrupt
        return submit(pool, work, job)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(Interrupted) as caught:
        in_threads(lambda job: begun.append(job) or job, [0, 1, 2, 3], list("abcd"), nothing)
    assert set(begun) <= {0, 1}
    assert caught.value.done == sorted(begun)


def test_a_job_that_fails_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda job: 1 / job, [1, 0, 2], list("abc"), lambda *_: None)


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (14.6234, 14.54, 14.70, "14.62 ± 0.08"),
        (5.0, 4.0, 6.0, "5 ± 1"),
        (1234.0, 1200.0, 1268.0, "1234 ± 34"),
        (26.238, 26.233, 26.243, "26.24 ± 0.01"),
        (0.25, None, None, "0.25"),
    ],
)
def test_a_number_has_as_many_digits_as_its_interval_supports(value, low, high, text):
    assert with_interval(Estimate(value, low, high, 1000)) == text


def test_a_refused_number_says_what_it_needs():
    assert with_interval(Estimate(None, None, None, 10, 100_000)) == "needs 112k"
    assert with_interval(Estimate(None, None, None, 10, None, "unstable")) == "-"
    assert [short(n) for n in (900, 111_112, 1_111_112)] == ["900", "112k", "1.2M"]
