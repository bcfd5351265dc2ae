"""What a trial says of its figures: inside or outside, and what tuning won."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from trial_by_hand import cell, trial

from experiments.plain import dumps
from experiments.stacks.outcome import TOLERANCE, Trial
from experiments.stacks.plots import figures_of
from experiments.stacks.shown import grouped, number, trial_tables


def test_a_figure_is_inside_within_its_tolerance():
    assert cell([10.0], [10.49]).inside
    assert cell([10.0], [9.51]).inside
    assert not cell([10.0], [10.51]).inside
    assert cell([10.0], [10.9], "client_p99_ms").inside
    assert not cell([10.0], [11.1], "client_p99_ms").inside


def test_a_figure_is_inside_in_the_spread_of_several_windows_and_not_of_one():
    assert cell([8.0, 12.0], [8.5, 8.5]).inside
    assert not cell([8.0, 12.0], [7.9, 7.9]).inside
    assert not cell([10.0], [8.5]).inside


def test_error_is_predicted_over_measured():
    assert cell([10.0, 30.0], [18.0, 18.0]).error == pytest.approx(-0.1)
    assert cell([10.0, 30.0], [18.0, 18.0]).spread == 10.0


def test_the_verdict_counts_and_names_what_is_outside():
    found = trial({"client_p50_ms": 0.9}, ("tuned",))
    assert found.verdict == (
        "18 of 20 figures are inside; outside: client p50 at load 0.3 (-10 %) and client p50 at "
        "load 0.6 (-10 %)."
    )


def test_the_verdict_says_what_tuning_won_and_whether_that_was_predicted():
    assert trial().verdict.splitlines()[1:] == [
        f"At load {load} the setting cuts the default's p99 by 17 %; predicted: cuts it by 17 %."
        for load in (0.3, 0.6)
    ]


def test_the_verdict_tells_of_windows_in_which_the_machine_stalled():
    assert "In 4 windows that count the machine stalled" in trial(stalled=7.0).verdict


def test_a_trial_comes_back_from_its_json():
    found = trial()
    again = Trial.of(json.loads(found.to_json()))
    assert dumps(again.to_dict()) == dumps(found.to_dict())


def test_a_frame_has_a_row_for_each_figure():
    frame = trial().to_frame()
    assert len(frame) == 2 * 2 * len(TOLERANCE)
    assert frame["inside"].all()


def test_tables_fit_100_columns_and_have_every_figure():
    screen = Console(width=100, record=True, file=None, highlight=False)
    with screen.capture() as printed:
        for part in trial_tables(trial({"client_p50_ms": 0.5})):
            screen.print(part)
    lines = printed.get().splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("OUTSIDE" in line for line in lines) == 4
    assert sum(" inside" in line for line in lines) >= 36
    assert any(line.split()[:2] == ["0.3", "measured"] for line in lines)


def test_a_trial_has_two_figures_with_a_panel_for_each_variant_and_load():
    drawn = figures_of(trial())
    assert set(drawn) == {"latency", "batch-sizes"}
    assert [len(each.axes) for each in drawn.values()] == [4, 4]


@pytest.mark.parametrize("most", [1, 8, 12, 13, 64])
def test_batch_sizes_are_grouped_without_gap(most):
    groups = grouped(most)
    assert len(groups) <= 12
    assert [low for low, _ in groups[1:]] == [high + 1 for _, high in groups[:-1]]
    assert (groups[0][0], groups[-1][1]) == (1, most)


def test_a_server_that_does_not_keep_up_is_told_and_one_that_does_is_not():
    behind = trial({"throughput_per_s": 1.2}, ("tuned",)).verdict
    assert "At load 0.3 the server answered" in behind
    assert "more come than its HTTP front takes on this machine" in behind
    for as_fast in (1.04, 0.8):
        found = trial({"throughput_per_s": as_fast}, ("tuned",)).verdict
        assert "HTTP front" not in found


def test_numbers_have_no_exponents():
    assert [number(value) for value in (0.1234, 12.3456, 9999.4, 10616.7)] == [
        "0.1234", "12.35", "9999", "10,617",
    ]  # fmt: skip
