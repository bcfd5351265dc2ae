"""The live driver on a virtual clock: the SimPy model's trace, request for request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS, differences, random_run

from policies import POLICIES
from policies.contract import NEVER, PolicyError, fire
from policies.greedy import Greedy
from policies.size_or_timeout import SizeOrTimeout
from sim import live, model
from sim.errors import WorkloadError
from sim.service import Service
from sim.service_times import Batch, DrawnTimes
from sim.station import Station
from sim.trace import EXPIRED, SERVED
from sim.virtual import VirtualWorld
from sim.workload import Workload

RUNS_PER_POLICY = 40


def lived(policy, workload, service):
    return live.run(policy, workload, service, VirtualWorld(workload, DrawnTimes(service)))


@pytest.mark.parametrize("kind", POLICIES)
def test_the_live_driver_equals_the_simpy_model_on_a_virtual_clock(kind):
    found = []
    for seed in range(RUNS_PER_POLICY):
        run = random_run(seed, kind, requests=60)
        columns = differences(lived(*run), model.run(*run))
        if columns:
            found.append((seed, columns))
    assert not found


@pytest.mark.parametrize(
    ("kind", "router", "scaler"),
    [("snap", "least_loaded", "ray_serve"), ("size_or_timeout", "power_of_two", "knative")],
)
def test_the_live_driver_routes_and_scales_as_the_simpy_model(kind, router, scaler):
    found, grown = [], 0
    for seed in range(RUNS_PER_POLICY):
        run = random_run(seed, kind, requests=60, router=router, scaler=scaler)
        if run.workload.closed is not None:
            continue
        steady = replace(run.service.cluster, outages_ns=np.zeros((0, 0, 2), dtype=np.int64))
        run = run._replace(service=replace(run.service, cluster=steady))
        one, other = lived(*run), model.run(*run)
        grown += len(one.changes.replicas) > 2
        if not one.equals(other):
            found.append(seed)
    assert not found
    assert grown >= 5


def test_a_live_run_cannot_let_replicas_fail():
    run = random_run(1, "greedy", requests=60, router="random", scaler="none")
    outages = np.array([[[5, 9]]] * run.service.cluster.replicas) * MS
    failing = replace(run.service.cluster, outages_ns=outages)
    with pytest.raises(WorkloadError, match="no outages in a live run"):
        lived(run.policy, run.workload, replace(run.service, cluster=failing))


def test_a_live_trace_keeps_the_invariants():
    for seed in range(60):
        policy, workload, service = random_run(seed, requests=60)
        lived(policy, workload, service).check(service, workload)


def test_the_comparison_would_see_a_batch_that_ends_one_nanosecond_late():
    run = random_run(3, "greedy", requests=60)
    drawn = DrawnTimes(run.service)

    def late(batch: Batch) -> int:
        return drawn(batch) + (batch.place == 5)

    other = live.run(*run, VirtualWorld(run.workload, late))
    assert "batch_finish_ns" in differences(other, model.run(*run))


def test_waking_up_too_often_changes_nothing():
    class Restless(VirtualWorld):
        """Wakes up every 0.1 ms, as a scheduler with a heartbeat does."""

        def wait(self, until_ns):
            beat_ns = self.now_ns + MS // 10
            running_ns = self._running[0][0] if self._running else NEVER
            next_ns = min(until_ns, running_ns, self.schedule.next_ns)
            if beat_ns < next_ns < NEVER:
                self.now_ns = beat_ns
                return beat_ns, []
            return super().wait(until_ns)

    for seed in range(40):
        policy, workload, service = random_run(seed, requests=60)
        world = Restless(workload, DrawnTimes(service))
        often = live.run(policy, workload, service, world)
        assert not differences(often, model.run(policy, workload, service)), seed


def one_by_one(arrival_ns, timeout_ns=()):
    return Workload(
        length=np.ones(len(arrival_ns), dtype=np.int32),
        arrival_ns=np.array(arrival_ns),
        timeout_ns=np.array(timeout_ns, dtype=np.int64),
    )


SERVICE = Service(np.array([[[10], [12], [14], [16]]]), np.array([1]))


def test_a_request_that_comes_late_counts_from_its_plan():
    station = Station(Greedy(), one_by_one([100]), SERVICE)
    station.settle(130)
    station.admit(130, [100])
    (batch,) = station.dispatch(130)
    station.settle(140, [(140, batch.server)])
    trace = station.trace()
    assert (trace.arrival_ns[0], trace.start_ns[0], trace.finish_ns[0]) == (100, 130, 140)


def test_the_simpy_model_can_notice_requests_as_late_as_a_live_run_did():
    late_ns = np.array([0, 7, 0])
    trace = model.run(Greedy(1), one_by_one([100, 200, 203]), SERVICE, late_ns=late_ns)
    assert trace.arrival_ns.tolist() == [100, 200, 203]
    # the third cannot be noticed before the second
    assert trace.start_ns.tolist() == [100, 207, 217]


def test_a_request_that_comes_after_its_own_deadline_has_given_up():
    station = Station(Greedy(), one_by_one([100], [20]), SERVICE)
    station.settle(130)
    assert station.admit(130, [100]) == [0]
    assert list(station.dispatch(130)) == []
    trace = station.trace()
    assert trace.status[0] == EXPIRED
    assert trace.finish_ns[0] == 120


def test_completions_that_are_noticed_together_keep_their_own_instants():
    service = Service(np.array([[[10]]]), np.array([1]), servers=2)
    station = Station(Greedy(), one_by_one([0, 0]), service)
    station.admit(0, [0, 0])
    batches = list(station.dispatch(0))
    assert [batch.server for batch in batches] == [0, 1]
    answered = station.settle(30, [(25, 0), (20, 1)])
    assert answered == [1, 0]
    assert station.queues[0].idle == [1, 0]
    trace = station.trace()
    assert trace.finish_ns.tolist() == [25, 20]
    assert np.all(trace.status == SERVED)


def test_a_timer_of_the_policy_is_what_the_driver_is_asked_to_wait_for():
    station = Station(SizeOrTimeout(4, 50), one_by_one([100]), SERVICE)
    station.admit(100, [100])
    assert list(station.dispatch(100)) == []
    assert station.ask_ns == 150


def test_a_policy_that_breaks_the_contract_is_blamed_live_too():
    class Grabs(Greedy):
        def decide(self, view):
            return fire(view, 0, view.waiting[0] + 1)

    with pytest.raises(PolicyError, match="fired more requests than wait in a lane"):
        lived(Grabs(), one_by_one([0]), SERVICE)
