"""Which windows count, and at what level the device was around them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from windows_by_hand import GOOD, POLICIES, calibrated, window, workload_at

from experiments.validation import judged
from experiments.validation.guard import condition_of
from experiments.validation.predict import drift_spread
from sim.wall import Readings

MS = 1_000_000


def condition(before=1.0, after=1.0, lag_ms=0.1, late_ms=0.05, single_ms=1.0):
    readings = Readings([int(lag_ms * MS)] * 100, [int(late_ms * MS)] * 100, [], 10_000 * MS)
    return condition_of(readings, [before] * 9, [after] * 9, single_ms * MS, None)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (condition(), ""),
        (condition(before=1.05, after=0.97), ""),
        (condition(lag_ms=0.6), "the load generator was 0.6 ms late at p99, above 0.5 ms"),
        (condition(lag_ms=0.6, single_ms=10.0), ""),
        (condition(late_ms=60.0), "the scheduler stood still for 65 ms"),
        (condition(late_ms=2.0), "the scheduler stood still for 2.0% of the window"),
        (condition(1.2, 1.2), "the server took 1.20 times its calibrated time beside it"),
        (condition(0.95, 1.08), "the server took 1.14 times as long after it as before"),
    ],
)
def test_a_window_counts_by_what_was_read_beside_it(found, reason):
    assert found.rejected == reason


def test_a_prediction_is_made_at_the_level_that_was_read():
    workload = workload_at(0.2, 400)
    read = replace(GOOD, sentinel=1.08, before=1.08, after=1.08)
    for seen, error in ((read, 0.0), (GOOD, -0.08)):
        live = [
            window("greedy", 0.2, workload, seed, place=seed, drift=1.08, condition=seen)
            for seed in range(3)
        ]
        found = judged(
            {"name": "by hand"}, {"greedy": POLICIES["greedy"]}, {0.2: workload},
            calibrated(), live, calibrated().service(), device={}, replications=40,
        )  # fmt: skip
        cell = found.match("greedy", 0.2).cell("mean")
        assert cell.error == pytest.approx(error, abs=0.03), seen


def test_what_two_readings_differ_by_is_the_spread_of_a_prediction():
    workload = workload_at(0.2, 50)
    changes = (1.03, 0.96)
    live = [
        window("greedy", 0.2, workload, 1, condition=replace(GOOD, before=1.0, after=after))
        for after in changes
    ]
    expected = math.sqrt(sum(math.log(one) ** 2 for one in changes) / 2 / 2)
    assert drift_spread(calibrated(), live) == pytest.approx(expected)
    # one window that does not tell them apart, and the blocks of the calibration decide
    live.append(window("greedy", 0.2, workload, 1))
    assert drift_spread(calibrated(blocks=(1.0,)), live) == 0.0
