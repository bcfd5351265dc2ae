"""What may be claimed: errors, coverage, rankings, and the verdict that says so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from windows_by_hand import validated

from experiments.validation.cells import Cell
from experiments.validation.claims import Coverage, coverage, ranking, worst_replay
from experiments.validation.verdict import percent


@pytest.fixture(scope="module")
def found():
    return validated(loads=(0.2, 0.5), rounds=2, drift=1.02)


def cell(policy, live, predicted, statistic="mean", load=0.3):
    return Cell(
        load, policy, statistic, live, live, predicted, 0.9 * predicted, 1.1 * predicted, live
    )


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
    assert right.measured == right.predicted == ("a", "b")
    assert right.best_predicted
    assert right.ratio_error == pytest.approx(0.0)
    wrong = ranking([cell("a", (10.0,), 11.0), cell("b", (12.0,), 10.0)])
    assert (wrong.measured[0], wrong.predicted[0]) == ("a", "b")
    assert not wrong.best_predicted
    assert wrong.ratio_error == pytest.approx(11 / 10 / (10 / 12) - 1)


def test_the_best_is_predicted_if_windows_differ_more_than_the_best_two():
    near = ranking([cell("a", (9.8, 10.2), 11.0), cell("b", (9.9, 10.3), 10.0)])
    assert near.tie
    assert near.best_predicted
    far = ranking([cell("a", (9.99, 10.01), 11.0), cell("b", (10.09, 10.11), 10.0)])
    assert not far.best_predicted


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


def test_the_verdict_names_a_best_policy_that_was_not_predicted(found):
    def swapped(match):
        times = 9.0 if match.policy == "greedy" else 1.0
        return replace(
            match, cells=tuple(replace(c, predicted=times * c.predicted) for c in match.cells)
        )

    verdict = replace(found, matches=tuple(map(swapped, found.matches))).verdict
    assert "The best policy is the predicted one, by mean and by p99, at every load." in (
        found.verdict
    )
    assert "By mean at load 0.2, greedy was best and patient was predicted." in verdict
    assert re.search(
        r"are off by up to \d{3,4} % \((mean|p99) at load 0\.\d\), more than 10 %\.", verdict
    )


def test_the_verdict_tells_of_drift_where_it_explains_an_error_and_only_there(found):
    def exact(match):
        cells = tuple(replace(c, predicted=c.measured) for c in match.cells)
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
