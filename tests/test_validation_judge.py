"""A live run judged: which windows count, what cannot be compared, and runs of other forms."""

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
    workload_at,
)

from experiments.validation import Validation, Window, judged
from experiments.validation.claims import no_claim
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


def test_lost_requests_are_predicted_too():
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


def test_two_servers_are_replayed_and_predicted():
    workload = workload_at(0.6, 600)
    live = kernel.run(POLICIES["greedy"], workload, device(2, servers=2))
    match = judge(
        [Window("greedy", 0.6, 0, 0, live, GOOD)], {0.6: workload}, calibrated().service(2)
    ).match("greedy", 0.6)
    assert match.cell("p99").replay_error == 0.0
    assert abs(match.cell("busy").error) < 0.03


def test_windows_may_come_in_any_order(found):
    shuffled = validated(
        loads=(0.2, 0.5), rounds=2, drift=1.02, change=lambda windows: windows[::-1]
    )
    assert shuffled.matches == found.matches
