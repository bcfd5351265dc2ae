"""The alarm that says "tune again", on a virtual clock: it rings in time, and not without cause."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.config import load_scenario
from experiments.serving.drift import (
    FEWEST,
    SIGNALS,
    TOLERANCE,
    WINDOW_NS,
    Drift,
    Expected,
    Interval,
)
from experiments.serving.foretold import expected_of, foretold
from policies.contract import expected_ns
from sim import kernel
from sim.endless import Comer
from sim.service_times import Batch

SECOND = 10**9
MINUTES = 60 * SECOND
SCENARIO = """
name = "s"
[workload]
requests = 60_000
arrivals = {{ {arrivals} }}
lengths = {{ distribution = "lognormal", median = 60, sigma = 0.6, min = 8, max = 400 }}
[service]
model = {{ base_ms = 2.0, per_request_ms = 0.5, per_length_ms = 0.005, max_batch_size = 16, \
noise = {{ kind = "gamma", cv = 0.2 }} }}
[policies.greedy]
kind = "greedy"
"""
POISSON = 'process = "poisson", rate_per_s = 40.0'
BURSTS = 'process = "mmpp", rates_per_s = [10.0, 120.0], switch_per_s = [0.2, 0.6]'


@pytest.fixture(scope="module", params=[POISSON, BURSTS], ids=["poisson", "bursts"])
def scenario(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("drift") / "s.toml"
    path.write_text(SCENARIO.format(arrivals=request.param))
    return load_scenario(path)


@pytest.fixture(scope="module")
def expected(scenario):
    return foretold(scenario, scenario.policies["greedy"])


def lived(scenario, drift, replication, *, until_ns, faster=1.0, longer=1.0, slower=1.0,
          shift_ns=0):  # fmt: skip
    """Let a run of the simulator happen to a watch; from an instant on it is another one.

    Gives the instants at which each signal's alarm rang first, and whether it still does.
    """
    before = run_of(scenario, replication)
    after = run_of(scenario, replication + 1, faster)
    rang = {}
    table_ns, edges = scenario.service_ns.max(axis=0), scenario.length_edges
    for trace, origin_ns, begin_ns, end_ns, length, service in (
        (before, 0, 0, shift_ns, 1.0, 1.0), (after, shift_ns, shift_ns, until_ns, longer, slower),
    ):  # fmt: skip
        batches = [
            (int(finish), 1, (int(finish - start), int(size), int(longest)))
            for start, finish, size, longest in zip(
                trace.batch_start_ns, trace.batch_finish_ns, trace.batch_size, trace.batch_longest,
                strict=True,
            )
        ]  # fmt: skip
        came = [
            (int(at), 0, int(long)) for at, long in zip(trace.arrival_ns, trace.length, strict=True)
        ]
        for at, kind, what in sorted([*batches, *came]):
            now_ns = origin_ns + at
            if not begin_ns <= now_ns < end_ns:
                continue
            if kind == 0:
                drift.arrived(Comer(now_ns, max(1, round(what * length))))
            else:
                took_ns, size, longest = what
                usual_ns = round(expected_ns(table_ns, edges, size, longest))
                batch = Batch(0, 0, 0, (0,) * size, longest, 0, (0,), now_ns - took_ns, usual_ns)
                drift.finished(batch, [1] * size, round(took_ns * service), now_ns)
            for signal in SIGNALS:
                if drift.alarms[signal]:
                    rang.setdefault(signal, now_ns)
    drift.tick(until_ns)
    return rang


def run_of(scenario, replication, faster=1.0):
    workload, service = scenario.draw(replication)
    workload = replace(workload, arrival_ns=(workload.arrival_ns / faster).astype(np.int64))
    return kernel.run(scenario.policies["greedy"], workload, service)


def test_life_as_predicted_rings_nothing(scenario, expected):
    for replication in (3, 5, 7):
        drift = Drift(expected)
        assert lived(scenario, drift, replication, until_ns=20 * MINUTES) == {}
        values = drift.values
        assert set(values) == set(SIGNALS)
        for signal in SIGNALS:
            interval = drift.intervals[signal]
            assert interval.low <= values[signal] <= interval.high


@pytest.mark.parametrize(
    ("signal", "shift"),
    [
        ("arrivals", {"faster": 1.5}),
        ("arrivals", {"faster": 1 / 1.5}),
        ("lengths", {"longer": 1.5}),
        ("lengths", {"longer": 1 / 1.5}),
        ("service", {"slower": 1.5}),
        ("service", {"slower": 1 / 1.5}),
    ],
)
@pytest.mark.parametrize("shift_ns", [7 * MINUTES, 7 * MINUTES + 80 * SECOND])
def test_a_shift_of_half_as_much_again_rings_within_five_minutes(
    scenario, expected, signal, shift, shift_ns
):
    drift = Drift(expected)
    until_ns = shift_ns + 5 * MINUTES
    rang = lived(scenario, drift, 3, until_ns=until_ns, shift_ns=shift_ns, **shift)
    if signal == "arrivals" and expected.arrivals.high > 1.5 * expected.arrivals.usual:
        assert rang == {}  # bursts that are as wide as the shift hide it, and nothing else rings
        return
    assert set(rang) == {signal}
    assert shift_ns < rang[signal] <= until_ns


def test_the_bursts_are_wider_than_poisson(scenario, expected):
    wide = expected.arrivals.high / expected.arrivals.usual
    bursts = "mmpp" in str(scenario.spec.workload.arrivals)
    assert (wide > 1.3) == bursts
    assert wide >= 1 + TOLERANCE - 1e-9


FLAT = Expected(
    Interval(0.8, 1.0, 1.2), Interval(0.8, 1.0, 1.2), np.array([10, 20]), np.array([0.5, 1.0]), 1.0
)


def test_silence_is_a_drift_once_somebody_has_come():
    drift = Drift(FLAT)
    drift.tick(100 * WINDOW_NS)
    assert math.isnan(drift.values["arrivals"])
    drift.arrived(Comer(0, 10))
    drift.tick(2 * WINDOW_NS)
    assert drift.alarms == {"arrivals": True, "lengths": False, "service": False}
    assert drift.values["arrivals"] == 0.0


def windows(drift, *counts):
    for window, count in enumerate(counts):
        for at in range(count):
            drift.arrived(Comer(window * WINDOW_NS + at, 10 + 10 * (at % 2)))
        drift.tick((window + 1) * WINDOW_NS)
        yield drift.alarms["arrivals"]


def test_one_window_outside_is_no_alarm_and_two_inside_clear_it():
    seconds = WINDOW_NS // SECOND
    high, usual, low = 2 * seconds, seconds, seconds // 2
    rang = list(windows(Drift(FLAT), usual, high, usual, high, high, usual, high, usual, usual, low,
                        low))  # fmt: skip
    assert rang == [False] * 4 + [True, True, True, True, False, False, True]


def test_windows_outside_on_different_sides_are_no_alarm():
    seconds = WINDOW_NS // SECOND
    assert not any(windows(Drift(FLAT), 2 * seconds, seconds // 2, 2 * seconds, seconds // 2))


def test_too_few_requests_say_nothing_of_lengths():
    drift = Drift(FLAT)
    for window in range(3):
        for at in range(FEWEST - 1):
            drift.arrived(Comer(window * WINDOW_NS + at, 999))
    drift.tick(3 * WINDOW_NS)
    assert math.isnan(drift.values["lengths"])
    for at in range(FEWEST):
        drift.arrived(Comer(3 * WINDOW_NS + at, 999))
    drift.tick(4 * WINDOW_NS)
    assert drift.values["lengths"] == 1.0


def test_a_prediction_needs_somebody_to_arrive(scenario):
    trace = run_of(scenario, 0)
    _, service = scenario.draw()
    one = expected_of(trace, service)
    assert one.bins[-1] == trace.length.max()
    assert one.below[-1] == 1.0
    assert np.all(np.diff(one.below) > 0)
    assert one.service.usual == pytest.approx(1.0, abs=0.02)
