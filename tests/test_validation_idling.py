"""What an idle time costs, found again from calls that were made with a known cost."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.validation.idling import fitted_idling
from sim import model
from sim.recorded import RecordedTimes, idle_before_ns, profile_ns
from sim.service import Idling, Service
from sim.workload import Workload

MS = 1_000_000


def calls(idling, *, noise=0.08, count=1500, seed=1):
    """Shapes, times and idle times of calibrating calls; half of them come without a pause."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(0, 12, count)
    idle_ns = np.where(rng.random(count) < 0.5, 5_000, rng.exponential(4 * MS, count)).astype(int)
    usual = (1 + shape) * 0.5 * MS + idling.costs_ns(idle_ns)
    return shape, (usual * np.exp(noise * rng.standard_normal(count))).astype(np.int64), idle_ns


@pytest.mark.parametrize("extra_ms", [0.1, 0.3])
def test_a_known_cost_is_found(extra_ms):
    idling = fitted_idling(*calls(Idling(extra_ms * MS, 0.6 * MS)))
    # what matters is the cost itself, not how it is divided between the two numbers
    typical = np.array([0.3 * MS, 2 * MS, 8 * MS])
    true = Idling(extra_ms * MS, 0.6 * MS).costs_ns(typical)
    assert idling.costs_ns(typical) == pytest.approx(true, abs=0.04 * MS)


def test_half_of_the_cost_is_paid_after_the_half_time():
    costs = Idling(4.0 * MS, 2.0 * MS).costs_ns(np.array([0, 2 * MS, 6 * MS]))
    assert costs.tolist() == [0.0, 2.0 * MS, 3.0 * MS]


def test_no_cost_is_found_where_there_is_none():
    found = [fitted_idling(*calls(Idling(), seed=seed)) for seed in range(8)]
    assert sum(one.extra_ns > 0 for one in found) <= 1


def test_calls_that_were_never_idle_say_nothing():
    shape, took_ns, idle_ns = calls(Idling(0.3 * MS, 0.6 * MS))
    assert fitted_idling(shape, took_ns, np.zeros_like(idle_ns)) == Idling()


def simulated(idling, servers=1):
    from policies.greedy import Greedy

    table = np.arange(1, 5).reshape(1, 4, 1) * MS
    service = Service(table, np.array([1]), servers, idling=idling)
    gaps = np.random.default_rng(3).exponential(2 * MS, 300)
    workload = Workload(length=np.ones(300, np.int32), arrival_ns=gaps.cumsum().astype(np.int64))
    return model.run(Greedy(), workload, service), workload, service


def test_what_is_expected_of_a_batch_contains_the_cost_of_idling():
    for servers in (1, 2):
        trace, _, service = simulated(Idling(0.4 * MS, 0.5 * MS), servers)
        took_ns = trace.batch_finish_ns - trace.batch_start_ns
        assert np.abs(took_ns - profile_ns(trace, service)).max() <= 1
        assert idle_before_ns(trace).max() > 0


def test_a_replay_lends_slowdown_beyond_the_cost_of_idling():
    trace, workload, service = simulated(Idling(0.4 * MS, 0.5 * MS))
    from policies.static import Static

    times = RecordedTimes(trace, service)
    other = model.run(Static(3), workload, service, times)
    took_ns = other.batch_finish_ns - other.batch_start_ns
    unknown = took_ns - profile_ns(other, service)
    assert np.abs(unknown).max() <= 2
