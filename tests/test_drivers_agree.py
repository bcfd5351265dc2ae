"""The SimPy model and the compiled kernel give the same trace, request for request."""

import numpy as np
import pytest
from random_runs import MS, differences, random_run

from policies import POLICIES
from policies.greedy import Greedy
from sim import kernel, model
from sim.service import Service
from sim.trace import EXPIRED, REJECTED, SERVED
from sim.workload import ClosedLoop, Workload

RUNS_PER_POLICY = 160
MANY_RUNS_PER_POLICY = 800


def disagreements(kind, seeds):
    found = []
    for seed in seeds:
        run = random_run(seed, kind, requests=60, ends=True)
        columns = differences(kernel.run(*run), model.run(*run))
        if columns:
            found.append((seed, columns))
    return found


@pytest.mark.parametrize("kind", POLICIES)
def test_both_drivers_give_the_same_trace(kind):
    assert disagreements(kind, range(RUNS_PER_POLICY)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", POLICIES)
def test_both_drivers_give_the_same_trace_in_ten_thousand_scenarios(kind):
    assert disagreements(kind, range(10_000, 10_000 + MANY_RUNS_PER_POLICY)) == []


def test_the_random_scenarios_serve_reject_and_expire_and_have_ties():
    traces = [kernel.run(*random_run(seed, "greedy")) for seed in range(60)]
    status = np.concatenate([trace.status for trace in traces])
    assert min(np.count_nonzero(status == kind) for kind in (SERVED, REJECTED, EXPIRED)) > 300
    ties = [np.isin(trace.arrival_ns, trace.batch_finish_ns).sum() for trace in traces]
    assert np.count_nonzero(ties) >= 15


def test_a_kernel_that_noises_the_wrong_batch_is_caught():
    runs = (random_run(seed, "greedy") for seed in range(99))
    run = next(run for run in runs if run.service.noise.draws.shape[2] > 5)
    noise = run.service.noise
    shifted = type(noise)(np.roll(noise.draws, 1, axis=2), noise.quantiles, noise.class_of_size)
    wrong = Service(**{**vars(run.service), "noise": shifted})
    assert differences(kernel.run(*run), model.run(run.policy, run.workload, wrong))


def table(*times_ms):
    return np.array([[[round(time * MS)] for time in times_ms]])


@pytest.mark.parametrize("driver", [kernel, model])
class TestTies:
    """The tie rule of the contract, at one instant."""

    def run(self, driver, service, **workload):
        length = np.ones(len(workload["arrival_ns"]), dtype=np.int32)
        made = Workload(length=length, **workload)
        return driver.run(Greedy(), made, service)

    def test_an_arrival_at_the_instant_of_a_completion_joins_the_next_batch(self, driver):
        service = Service(table(2, 3), np.array([1]))
        trace = self.run(driver, service, arrival_ns=np.array([0, 1, 2]) * MS)
        assert trace.batch.tolist() == [0, 1, 1]

    def test_a_request_that_reaches_its_limit_now_has_expired(self, driver):
        service = Service(table(2), np.array([1]))
        trace = self.run(
            driver,
            service,
            arrival_ns=np.array([0, 1]) * MS,
            timeout_ns=np.array([9, 1]) * MS,
        )
        assert trace.status.tolist() == [SERVED, EXPIRED]
        assert trace.finish_ns.tolist() == [2 * MS, 2 * MS]

    def test_the_server_idle_longest_is_asked_first_then_the_lowest(self, driver):
        service = Service(table(2), np.array([1]), servers=3)
        trace = self.run(driver, service, arrival_ns=np.array([0, 1, 5, 6, 7]) * MS)
        assert trace.server.tolist() == [0, 1, 2, 0, 1]

    def test_a_place_freed_now_is_taken_by_an_arrival_of_this_instant(self, driver):
        service = Service(table(2), np.array([1]), capacity=1, capacity_counts_in_system=True)
        trace = self.run(driver, service, arrival_ns=np.array([0, 1, 2]) * MS)
        assert trace.status.tolist() == [SERVED, REJECTED, SERVED]


@pytest.mark.parametrize("driver", [kernel, model])
def test_a_client_without_think_time_joins_the_batch_of_the_instant_of_its_answer(driver):
    workload = Workload(
        length=np.ones(6, dtype=np.int32), closed=ClosedLoop(np.zeros((2, 1), dtype=np.int64))
    )
    trace = driver.run(Greedy(), workload, Service(table(2, 3), np.array([1])))
    assert trace.arrival_ns.tolist() == [0, 0, 3 * MS, 3 * MS, 6 * MS, 6 * MS]
    assert trace.batch_size.tolist() == [2, 2, 2]
