"""Overheads are found again in windows that were simulated with known ones; so are predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.export.setting import Costs
from experiments.stacks.calibrate import (
    Overheads,
    bursts,
    cost_ns,
    nominal_ns,
    overheads_of,
    sizes_up_to,
)
from experiments.stacks.conditions import condition_of
from experiments.stacks.contract import Ruling
from experiments.stacks.fitting import Stream, fitted
from experiments.stacks.predict import StackTimes, simulated
from experiments.stacks.rig import Window
from experiments.stacks.rulings import policy_of
from experiments.stacks.timers import timer_of
from sim import model
from sim.service import Service
from sim.workload import Workload

MS = 1_000_000
COSTS = Costs(
    (np.arange(1, 9)[:, np.newaxis] * 500_000 + 5 * MS).astype(np.int64),
    np.array([1]),
    np.array([1]),
    np.array([1.0]),
)
RULINGS = {
    "greedy": Ruling({"kind": "greedy", "max_batch_size": 8}, 1),
    "oldest": Ruling({"kind": "size_or_timeout", "max_batch_size": 8, "max_wait_ms": 10}, 1),
    "ahead": Ruling({"kind": "formed_ahead", "max_batch_size": 8, "max_wait_ms": 10}, 1),
    "pick": Ruling(
        {"kind": "size_or_timeout", "max_batch_size": 8, "max_wait_ms": 10, "from_idle": True}, 1
    ),
    "window": Ruling({"kind": "collection_window", "max_batch_size": 8, "max_wait_ms": 10}, 1),
}
ENTER, TURNAROUND, EACH, OVERSHOOT, LEAVE = 300_000, 400_000, 50_000.0, 30_000, 600_000


def constant(value):
    return np.array([value], dtype=np.int64)


KNOWN = Overheads(
    constant(ENTER), constant(TURNAROUND), EACH, constant(OVERSHOOT), {1: constant(LEAVE)}
)


def served(ruling, planned_ns, overheads=KNOWN):
    """A window as a stack with these overheads would serve it."""
    workload = Workload(np.ones(len(planned_ns), dtype=np.int32), planned_ns + ENTER)
    times = StackTimes(COSTS, overheads, np.random.default_rng(0))
    service = Service(COSTS.service_ns[np.newaxis], COSTS.length_edges, ruling.servers)
    trace = model.run(policy_of(ruling), workload, service, times=times)
    size = trace.batch_size.astype(np.int64)
    begin_ns = trace.batch_start_ns + np.array([overheads.before_ns(n) for n in size.tolist()])
    end_ns = trace.batch_start_ns + np.array(times.model_ns)
    batch = trace.batch.astype(np.int64)
    return Window(
        planned_ns, planned_ns, end_ns[batch] + LEAVE, batch >= 0, workload.length, batch,
        begin_ns, end_ns, size, np.zeros(len(size), dtype=np.int64),
    )  # fmt: skip


def poisson(rate_per_s, count, seed=1):
    gaps = np.random.default_rng(seed).exponential(1e9 / rate_per_s, count)
    return np.cumsum(gaps).astype(np.int64)


def stream_of(planned_ns):
    return Workload(np.ones(len(planned_ns), dtype=np.int32), planned_ns)


@pytest.mark.parametrize("name", RULINGS)
def test_known_overheads_are_found_again_in_bursts(name):
    ruling = RULINGS[name]
    planned = bursts(ruling, COSTS, 8, 4_000 * MS, np.random.default_rng(3))
    found = overheads_of([served(ruling, planned)], ruling, COSTS)
    assert found.per_request_ns == pytest.approx(EACH, rel=1e-3)
    assert set(found.turnaround_ns.tolist()) <= {TURNAROUND - 1, TURNAROUND, TURNAROUND + 1}
    assert set(found.overshoot_ns.tolist()) == {OVERSHOOT}
    assert {each for of in found.leave_ns.values() for each in of.tolist()} == {LEAVE}
    assert not found.thin
    if name == "window":  # only the mean of U(0, wait) is known: 1.5 ms is 3 standard errors
        assert abs(float(found.enter_ns.mean()) - ENTER) < 1.5 * MS
    else:
        assert set(found.enter_ns.tolist()) == {ENTER}


def test_the_turnaround_of_a_policy_that_learns_grows_with_the_batch_before():
    ruling = Ruling({"kind": "cork", "max_batch_size": 8, "max_latency_ms": 1000}, 1)
    known = replace(KNOWN, per_request_ns=0.0, per_answer_ns=700_000.0)
    windows = [served(ruling, poisson(rate, 1500), known) for rate in (250, 500)]
    found = overheads_of(windows, ruling, COSTS)
    assert found.per_request_ns == 0.0
    assert found.per_answer_ns == pytest.approx(700_000, abs=50_000)
    median_ns = float(np.median(found.turnaround_ns))
    assert TURNAROUND - 100_000 < median_ns < TURNAROUND + MS + 100_000  # it looks once a ms
    assert not found.thin


@pytest.mark.parametrize("name", RULINGS)
@pytest.mark.parametrize("wrong_ns", [0, 900_000])
def test_a_stream_puts_a_wrong_way_in_right(name, wrong_ns):
    ruling = RULINGS[name]
    planned = poisson(400, 1500)
    stream = Stream(stream_of(planned), served(ruling, planned))
    start = replace(KNOWN, enter_ns=constant(wrong_ns))
    found = fitted(start, ruling, COSTS, [stream])
    assert float(found.enter_ns.mean()) == pytest.approx(ENTER, abs=60_000)


@pytest.mark.parametrize("name", RULINGS)
@pytest.mark.parametrize("rate_per_s", [250, 600])
def test_a_window_is_predicted_exactly_where_nothing_is_random(name, rate_per_s):
    ruling = RULINGS[name]
    planned = poisson(rate_per_s, 800)
    window = served(ruling, planned)
    found = simulated(ruling, COSTS, KNOWN, stream_of(planned), np.random.default_rng(0))
    assert np.sort(found.latency_ns).tolist() == np.sort(window.done_ns - planned).tolist()
    assert found.size.tolist() == window.size.tolist()


def test_a_window_is_not_predicted_by_overheads_that_are_not_its_own():
    planned = poisson(600, 800)
    window = served(RULINGS["greedy"], planned)
    less = replace(KNOWN, turnaround_ns=constant(0))
    found = simulated(RULINGS["greedy"], COSTS, less, stream_of(planned), np.random.default_rng(0))
    assert found.latency_ns.mean() < (window.done_ns - planned).mean() - TURNAROUND


def test_nothing_is_known_of_a_stack_that_never_had_two_batches_in_a_row():
    planned = np.arange(3, dtype=np.int64) * 100 * MS
    found = overheads_of([served(RULINGS["greedy"], planned)], RULINGS["greedy"], COSTS)
    assert found.thin
    assert found.turnaround_ns.tolist() == [0]


def test_bursts_have_every_size_and_time_to_idle():
    planned = bursts(RULINGS["oldest"], COSTS, 8, 1_000 * MS, np.random.default_rng(1))
    instants, counts = np.unique(planned, return_counts=True)
    assert sorted(set(counts.tolist())) == sizes_up_to(24)
    assert np.diff(instants).min() > 10 * MS


@pytest.mark.parametrize("most", [1, 2, 7, 64, 300])
def test_sizes_begin_with_one_and_end_with_the_largest(most):
    sizes = sizes_up_to(most)
    assert (sizes[0], sizes[-1]) == (1, most)
    assert sizes == sorted(set(sizes))


def test_a_batch_beyond_the_table_costs_its_parts():
    assert cost_ns(COSTS, 11, 1) == cost_ns(COSTS, 8, 1) + cost_ns(COSTS, 3, 1)


@pytest.mark.parametrize(
    ("name", "waits_ns"),
    [("greedy", 0), ("oldest", 6 * MS), ("ahead", 6 * MS), ("pick", 10 * MS), ("window", 10 * MS)],
)
def test_a_free_server_waits_as_its_timer_says(name, waits_ns):
    timer = timer_of(RULINGS[name])
    assert timer.free_server_waits_ns(3, 4 * MS) == waits_ns
    assert timer.free_server_waits_ns(8, 4 * MS) == 0


def test_a_stall_is_seen_wherever_it_was():
    window = served(RULINGS["greedy"], poisson(300, 100))
    assert not condition_of(window, COSTS).stalled
    late = window.sent_ns.copy()
    late[50] += 6 * MS
    assert condition_of(replace(window, sent_ns=late), COSTS).sent_late_ms == pytest.approx(6.0)
    long = window.end_ns.copy()
    long[7] += 20 * MS
    assert condition_of(replace(window, end_ns=long), COSTS).stalled
    assert (nominal_ns(window, COSTS) + OVERSHOOT == window.end_ns - window.begin_ns).all()
