"""What may be claimed of a live run: which windows count, coverage, rankings, and the verdict."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from windows_by_hand import (
    GOOD,
    LENGTHS,
    POLICIES,
    calibrated,
    device,
    rejected,
    validated,
    window,
    windows_of,
    workload_at,
)

from experiments.validation import Validation, Window, judged
from experiments.validation.cells import Cell
from experiments.validation.claims import Coverage, coverage, no_claim, ranking, worst_replay
from experiments.validation.summary import STATISTICS, distance, error, summary_of
from experiments.validation.verdict import percent
from policies.contract import bind
from policies.snap import Snap
from sim import kernel, model
from sim.workload import ClosedLoop, Workload

LATE = replace(GOOD, rejected="the generator was late")


@pytest.fixture(scope="module")
def found():
    return validated(loads=(0.2, 0.5), rounds=2, drift=1.02)


def judge(windows, workloads, service=None, **more):
    calibration = calibrated()
    return judged(
        {}, POLICIES, workloads, calibration, windows, service or calibration.service(),
        device={}, replications=20, **more,
    )  # fmt: skip


# the summary


def test_a_summary_is_of_the_whole_run_and_counts_from_the_intended_arrival():
    live = kernel.run(POLICIES["patient"], workload_at(0.3, 200), device(1))
    seen = summary_of(live).values
    waited = (live.finish_ns - live.arrival_ns) / 1e6
    span_ns = live.batch_finish_ns.max() - live.arrival_ns[0]
    busy_ns = (live.batch_finish_ns - live.batch_start_ns).sum()
    assert tuple(seen) == STATISTICS
    assert seen["mean"] == pytest.approx(waited.mean())
    assert seen["p95"] == pytest.approx(np.quantile(waited, 0.95))
    assert seen["mean_batch"] == pytest.approx(200 / len(live.batch_size))
    assert seen["busy"] == pytest.approx(busy_ns / span_ns)
    assert seen["throughput_per_s"] == pytest.approx(200 / span_ns * 1e9)
    assert seen["lost"] == 0.0


def test_busy_is_a_share_of_the_time_of_all_servers():
    live = kernel.run(POLICIES["greedy"], workload_at(0.6, 200), device(1, servers=2))
    span_ns = live.batch_finish_ns.max() - live.arrival_ns[0]
    busy_ns = (live.batch_finish_ns - live.batch_start_ns).sum()
    assert summary_of(live).values["busy"] == pytest.approx(busy_ns / span_ns / 2)


def test_requests_that_were_refused_are_lost_and_have_no_latency():
    service = replace(device(1), capacity=2)
    live = kernel.run(POLICIES["patient"], workload_at(1.5, 200), service)
    seen = summary_of(live)
    assert seen.values["lost"] == (live.status != 0).sum() > 0
    assert len(seen.latency_ms) == 200 - seen.values["lost"]


def test_distances_of_known_distributions():
    one = np.array([1.0, 2.0, 3.0])
    assert distance(one, one).w1_over_mean == distance(one, one).cdf_gap == 0.0
    shifted = distance(one, one + 0.5)
    assert shifted.w1_over_mean == pytest.approx(0.25)
    assert shifted.cdf_gap == pytest.approx(1 / 3)
    assert distance(one, one + 9.0).cdf_gap == 1.0
    assert distance(one, np.repeat(one, 5)).w1_over_mean == pytest.approx(0.0, abs=1e-12)
    assert distance(np.array([1.25, 2.75]), one).w1_over_mean == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(distance(one, one[:0]).cdf_gap)


def test_an_error_over_nothing_is_none_unless_nothing_was_foretold():
    assert error(2.0, 2.5) == 0.25
    assert error(0.0, 0.0) == 0.0
    assert error(0.0, 3.0) is None
    assert error(float("nan"), 3.0) is None


def test_windows_are_held_against_predictions_and_against_each_other(found):
    for match in found.matches:
        assert len(match.a_priori_distance) == 2
        assert len(match.live_distance) == 1
        for apart in (*match.a_priori_distance, *match.live_distance):
            assert 0.0 < apart.w1_over_mean < 0.5
            assert 0.0 < apart.cdf_gap < 0.5


# which windows count


def test_rejected_windows_do_not_count_whatever_their_latencies_are(found):
    workloads = {load: workload_at(load) for load in (0.2, 0.5)}
    slow = [
        window(name, load, workloads[load], 9, drift=3.0, condition=LATE, place=2)
        for name in POLICIES
        for load in workloads
    ]
    again = validated(loads=(0.2, 0.5), rounds=2, drift=1.02, change=lambda windows: windows + slow)
    assert again.matches == found.matches
    assert again.accepted == found.accepted == 8
    assert [one.condition for one in again.readings[8:]] == [LATE] * 4
    assert again.readings[8].drift == pytest.approx(3.0, rel=0.03)
    assert again.verdict.endswith("4 of 12 windows were rejected: 4 x the generator was late.")


def test_where_more_than_half_is_rejected_nothing_is_claimed():
    some = validated(loads=(0.2,), rounds=2, change=lambda w: rejected(w, (0, 1)), replications=5)
    most = validated(
        loads=(0.2,), rounds=2, change=lambda w: rejected(w, (0, 1, 3)), replications=5
    )
    assert some.no_claim == ""
    assert "Fed the measured service times" in some.verdict
    assert most.verdict == (
        "No claim: 3 of 4 windows were rejected, more than half: 3 x the generator was late."
    )
    assert no_claim([]) == "there is no window"


def test_reasons_that_differ_in_their_numbers_alone_are_told_once(found):
    texts = ("it was 3.5 ms late, above 0.5 ms", "it was 12 ms late, above 0.5 ms", "it stalled")
    late = [replace(found.readings[0], condition=replace(GOOD, rejected=text)) for text in texts]
    assert replace(found, readings=(*found.readings, *late)).verdict.endswith(
        " 3 of 11 windows were rejected: 2 x it was 3.5 to 12 ms late, above 0.5 ms; it stalled."
    )


def test_a_policy_without_accepted_windows_is_left_out():
    only = validated(loads=(0.3,), rounds=1, change=lambda w: rejected(w, (0,)), replications=5)
    assert only.policies == ("patient",)
    with pytest.raises(KeyError, match=r"no accepted window of 'greedy' at load 0\.3"):
        only.match("greedy", 0.3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"policy": "gready"},
            "window gready, load 0.3, round 0: its policy is none of greedy, patient",
        ),
        (
            {"load": 0.4},
            "window greedy, load 0.4, round 0: there is no workload of its load, only of 0.3",
        ),
        (
            {"trace": kernel.run(POLICIES["greedy"], workload_at(0.3, 50), device(1))},
            "window greedy, load 0.3, round 0: it counts, but 50 requests arrived in it and the "
            "workload has 60",
        ),
        (
            {"trace": kernel.run(POLICIES["greedy"], workload_at(0.3, 60, seed=6), device(1))},
            "window greedy, load 0.3, round 0: its requests are not those of the workload; "
            "arrivals must be the intended instants, and lengths in the order of arrival",
        ),
    ],
)
def test_a_window_that_cannot_be_compared_is_an_error(change, sentence):
    workloads = {0.3: workload_at(0.3, 60)}
    wrong = replace(window("greedy", 0.3, workloads[0.3], 1), **change)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        judge([wrong], workloads)


def test_a_replay_binds_the_policy_to_what_it_was_bound_to_live():
    """``snap`` prefers other sizes on another table."""
    workload, early, late = workload_at(0.4, 300), calibrated().service(), calibrated().service()
    staircase = early.service_ns.copy()
    staircase[0, 3:7] = staircase[0, 7]
    early = replace(early, service_ns=staircase)
    rule = Snap(max_batch_size=8)
    live = kernel.run_bound(
        bind(rule, staircase[0], early.length_edges), workload, device(3)
    )  # fmt: skip
    windows = [Window("snap", 0.4, 0, 0, live, GOOD)]
    found = [
        judged({}, {"snap": rule}, {0.4: workload}, calibrated(), windows, late, device={},
               replications=5, bound_to=services)
        for services in ([early], None)
    ]  # fmt: skip
    shared = [one.match("snap", 0.4).shared_batches for one in found]
    assert shared[0] == (1.0,)
    assert shared[1] < (1.0,)


def test_a_rejected_window_may_have_ended_early():
    workloads = {0.3: workload_at(0.3, 60)}
    early = kernel.run(POLICIES["greedy"], workload_at(0.3, 50), device(1))
    windows = [
        replace(window("greedy", 0.3, workloads[0.3], 1), trace=early, condition=LATE),
        window("greedy", 0.3, workloads[0.3], 2, attempt=1),
    ]
    assert judge(windows, workloads).accepted == 1


# other forms of runs


def test_a_closed_loop_is_judged_without_a_load():
    rng = np.random.default_rng(3)
    workload = Workload(
        length=rng.choice(LENGTHS, 300).astype(np.int32),
        closed=ClosedLoop(rng.integers(1, 30_000_000, (4, 90))),
    )
    live = model.run(POLICIES["greedy"], workload, device(8))
    closed = judge([Window("greedy", None, 0, 0, live, GOOD)], {None: workload})
    match = closed.match("greedy", None)
    assert match.cell("p99").replay_errors == (0.0,)
    assert abs(match.cell("mean").error) < 0.05
    assert Validation.of(json.loads(closed.to_json())) == closed


def test_lost_requests_are_foretold_too():
    workload = workload_at(1.3, 600)
    service = replace(calibrated().service(), capacity=6)
    live = kernel.run(POLICIES["patient"], workload, replace(device(2), capacity=6))
    lost = (
        judge([Window("patient", 1.3, 0, 0, live, GOOD)], {1.3: workload}, service)
        .match("patient", 1.3)
        .cell("lost")
    )
    assert lost.measured > 100
    assert lost.replay_error == 0.0
    assert abs(lost.error) < 0.05


def test_two_servers_are_replayed_and_foretold():
    workload = workload_at(0.6, 600)
    live = kernel.run(POLICIES["greedy"], workload, device(2, servers=2))
    match = judge(
        [Window("greedy", 0.6, 0, 0, live, GOOD)], {0.6: workload}, calibrated().service(2)
    ).match("greedy", 0.6)
    assert match.cell("p99").replay_error == 0.0
    assert abs(match.cell("busy").error) < 0.03


# claims


def cell(policy, live, foretold, statistic="mean", load=0.3):
    return Cell(load, policy, statistic, live, live, foretold, 0.9 * foretold, 1.1 * foretold, live)


def test_a_cell_says_mean_spread_errors_and_what_is_inside():
    one = Cell(0.3, "greedy", "p99", (9.0, 11.0), (9.09, 10.89), 10.5, 9.5, 12.0, (9.8, 10.0))
    assert one.measured == 10.0
    assert one.spread == pytest.approx(0.1)
    assert one.replay_errors == pytest.approx((0.01, -0.01))
    assert one.error == pytest.approx(0.05)
    assert one.corrected_error == pytest.approx(-0.01)
    assert (one.inside, one.is_inside) == (1, True)
    assert cell("greedy", (9.0,), 9.0).spread is None


def test_the_replay_error_is_that_of_the_worst_window_with_its_sign():
    one = Cell(0.3, "greedy", "p99", (10.0, 10.0), (10.2, 9.5), 10.0, 9.0, 11.0, (10.0, 10.0))
    assert one.replay_error == pytest.approx(-0.05)


def test_coverage_has_the_exact_binomial_interval(found):
    assert coverage([]) is None
    many = found.coverage
    assert many.total == 8 * 7
    assert Coverage(*many).share == many.inside / many.total
    assert many.low < many.share <= many.high
    nine = Coverage(9, 10, 0.5550, 0.9975)
    one = replace(found.matches[0])
    windows = tuple(1.0 if place < 9 else 5.0 for place in range(10))
    cells = tuple(
        replace(c, live=windows if c.statistic == "mean" else (), low=0.5, high=1.5)
        for c in one.cells
    )
    assert coverage([replace(one, cells=cells)]) == pytest.approx(nine, abs=1e-4)


def test_errors_are_claimed_up_to_60_percent_busy_alone(found):
    busy = {match.policy: match.busy for match in found.matches if match.load == 0.2}
    assert busy["patient"] < 0.6 < busy["greedy"]
    assert worst_replay(found.matches, ("mean",)).cell.policy == "patient"
    assert worst_replay([m for m in found.matches if m.load == 0.5], ("mean",)) is None


def test_a_ranking_compares_orders_and_ratios():
    right = ranking([cell("a", (10.0,), 11.0), cell("b", (20.0,), 22.0)])
    assert right.measured == right.foretold == ("a", "b")
    assert right.best_foretold
    assert right.ratio_error == pytest.approx(0.0)
    wrong = ranking([cell("a", (10.0,), 11.0), cell("b", (12.0,), 10.0)])
    assert (wrong.measured[0], wrong.foretold[0]) == ("a", "b")
    assert not wrong.best_foretold
    assert wrong.ratio_error == pytest.approx(11 / 10 / (10 / 12) - 1)


def test_the_best_is_foretold_if_windows_differ_more_than_the_best_two():
    near = ranking([cell("a", (9.8, 10.2), 11.0), cell("b", (9.9, 10.3), 10.0)])
    assert near.tie
    assert near.best_foretold
    far = ranking([cell("a", (9.99, 10.01), 11.0), cell("b", (10.09, 10.11), 10.0)])
    assert not far.best_foretold


def test_the_verdict_says_what_the_replay_gate_found(found):
    assert found.verdict.startswith(
        "Fed the measured service times, the simulator is within 0.1 % of the mean, p50, p90 and "
        "p99 of every window that is at most 0.6 busy (gate: 3 %). "
    )
    off = [
        replace(m, cells=tuple(replace(c, replay=tuple(1.04 * v for v in c.live)) for c in m.cells))
        for m in found.matches
    ]
    assert replace(found, matches=tuple(off)).verdict.startswith(
        "Fed the measured service times, the simulator is 4 % too high in the mean of patient at "
        "load 0.2, more than the gate of 3 %: its logic and that of the live run differ. "
    )


def test_the_verdict_names_a_best_policy_that_was_not_foretold(found):
    def swapped(match):
        times = 9.0 if match.policy == "greedy" else 1.0
        return replace(
            match, cells=tuple(replace(c, foretold=times * c.foretold) for c in match.cells)
        )

    verdict = replace(found, matches=tuple(map(swapped, found.matches))).verdict
    assert "The best policy is the foretold one, by mean and by p99, at every load." in (
        found.verdict
    )
    assert "By mean at load 0.2, greedy was best and patient was foretold." in verdict
    assert re.search(
        r"are off by up to \d{3,4} % \((mean|p99) at load 0\.\d\), more than 10 %\.", verdict
    )


def test_the_verdict_tells_of_drift_where_it_explains_an_error_and_only_there(found):
    def exact(match):
        cells = tuple(replace(c, foretold=c.measured) for c in match.cells)
        return replace(match, cells=cells)

    said = "With each window's drift of service times that becomes "
    assert said in found.verdict
    assert said not in replace(found, matches=tuple(map(exact, found.matches))).verdict


def test_the_verdict_says_what_was_seen_where_nothing_is_claimed(found):
    assert (
        "No error is claimed above 0.6 busy (greedy at load 0.2 and 0.5, patient at load 0.5), "
        f"where 1 % more service time moves the mean by up to "
        f"{percent(max(one.sensitivity for one in found.matches) / 100)}; "
    ) in found.verdict
    assert "; seen were up to 0.1 % in a replay, and " in found.verdict


def test_sensitivity_is_the_share_that_the_mean_moves_per_share_of_service_time(found):
    calm, near = (found.match("patient", load).sensitivity for load in (0.2, 0.5))
    assert 0.5 < calm < 1.5  # about half of the latency is a wait that no drift moves
    assert near > 5.0  # nearly saturated: it serves at most 4 at once


def test_windows_may_come_in_any_order(found):
    shuffled = validated(
        loads=(0.2, 0.5), rounds=2, drift=1.02, change=lambda windows: windows[::-1]
    )
    assert shuffled.matches == found.matches


def test_windows_of_all_are_made_by_hand():
    assert len(windows_of({0.3: workload_at(0.3, 20)}, rounds=2)) == 4
