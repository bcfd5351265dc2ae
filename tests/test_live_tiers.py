"""Live runs with several servers and tiers: on a virtual clock, and a few seconds of real time.

On the virtual clock the live driver is the SimPy model.  In real time each window is replayed with
the times of its own batches: the same batches, and latencies to the last nanosecond.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from random_runs import MS, differences, random_run

from experiments.validation import rig as rig_module
from experiments.validation.predict import replayed
from experiments.validation.rig import Pace, Rig
from experiments.validation.summary import summary_of
from policies.contract import NEVER, Tier, View, fire
from policies.greedy import Greedy
from policies.routers import LeastLoaded
from sim import live, model
from sim.backlog import end_of_run, joined
from sim.cluster import Cluster
from sim.emulated import EmulatedOpening
from sim.load_generator import OwnSchedule
from sim.service import Service
from sim.service_times import DrawnTimes
from sim.trace import SERVED, UNFINISHED
from sim.virtual import VirtualWorld
from sim.wall import Alone, crowd_of
from sim.workload import Workload

TIERS = (Tier("interactive", 20 * MS), Tier("offline"))
TABLE = np.array([[[4], [5], [6], [7]]]) * MS
TWO = Service(TABLE, np.array([1]), servers=2)


class UrgentFirst(NamedTuple):
    """A lane for each tier; the lower tier goes where the other has nobody waiting."""

    def lanes(self) -> int:
        return 2

    def lane_of(self, length: int, tier: int) -> int:
        return tier

    def decide(self, view: View) -> int:
        lane = 0 if view.waiting[0] > 0 else 1
        return fire(view, lane, min(view.waiting[lane], 4))


def tiered(workload, rng):
    """Its requests, in two tiers."""
    return replace(
        workload, tier=rng.integers(0, 2, len(workload)).astype(np.int8), tiers=TIERS
    )  # fmt: skip


def lived(policy, workload, service):
    return live.run(policy, workload, service, VirtualWorld(workload, DrawnTimes(service)))


# on a virtual clock


@pytest.mark.parametrize("servers", [2, 3, 4])
@pytest.mark.parametrize("router", ["", "least_loaded", "power_of_two"])
def test_servers_and_tiers_run_live_as_in_the_simpy_model(servers, router):
    compared = urgent = 0
    for seed in range(600):
        run = random_run(seed, requests=60, ends=True, router=router)
        tiers = len(run.workload.tiers)
        if run.service.servers != servers or tiers < 2:
            continue
        if tiers == 2 and run.service.largest_batch >= 4:
            urgent += 1
            run = run._replace(policy=UrgentFirst())
        assert not differences(lived(*run), model.run(*run)), seed
        compared += 1
        if compared == 40:
            break
    assert compared >= 20
    assert urgent >= 5


def test_the_comparison_would_see_tiers_in_another_order():
    class UrgentLast(UrgentFirst):
        """The other way round."""

        def decide(self, view: View) -> int:
            lane = 1 if view.waiting[1] > 0 else 0
            return fire(view, lane, min(view.waiting[lane], 4))

    rng = np.random.default_rng(1)
    workload = tiered(arriving(rng.exponential(1, 60)), rng)
    other = model.run(UrgentLast(), workload, TWO)
    assert "start_ns" in differences(lived(UrgentFirst(), workload, TWO), other)


# in real time


def arriving(gaps_ms):
    arrival_ns = (np.cumsum(gaps_ms) * MS).astype(np.int64)
    return Workload(length=np.ones(len(gaps_ms), dtype=np.int32), arrival_ns=arrival_ns)


@pytest.fixture(scope="module")
def rig():
    """The scheduler keeps the schedule, so that it is known when it noticed each request."""
    with Rig(EmulatedOpening(TWO), TWO, spins=False) as opened:
        opened.load.close()
        opened.load = OwnSchedule()
        yield opened


def held_against_itself(rig, policy, workload, service):
    """A window in real time, checked, and replayed exactly; and when each request was noticed."""
    trace, readings = rig.window(policy, workload, service)
    trace.check(workload=workload, largest_batch=4)
    late_ns = np.array(readings.lag_ns)
    again = replayed(policy, workload, service, trace, late_ns)
    assert again.shared_batches == 1.0
    assert summary_of(again.trace).tiers == summary_of(trace).tiers
    assert np.array_equal(again.trace.server, trace.server)
    return trace, trace.arrival_ns + late_ns


def check_urgent_first(trace, noticed_ns):
    """No batch of the lower tier began while somebody of the other was left waiting."""
    urgent = trace.tier == 0
    lower = np.unique(trace.batch[~urgent & (trace.status == SERVED)])
    assert len(lower)
    started_ns = np.where(trace.status == SERVED, trace.start_ns, NEVER)[urgent]
    for began_ns in trace.batch_start_ns[lower]:
        assert not ((noticed_ns[urgent] <= began_ns) & (began_ns < started_ns)).any()


def test_two_workers_with_two_tiers_are_replayed_exactly(rig):
    rng = np.random.default_rng(2)
    workload = tiered(arriving(rng.exponential(1.5, 300)), rng)
    trace, noticed_ns = held_against_itself(rig, UrgentFirst(), workload, TWO)
    assert np.all(trace.status == SERVED)
    assert set(trace.batch_server.tolist()) == {0, 1}
    check_urgent_first(trace, noticed_ns)
    with pytest.raises(AssertionError):  # the offline tier has to wait
        check_urgent_first(replace(trace, tier=1 - trace.tier), noticed_ns)
    # Both workers are at work at once: each batch sleeps 4 ms at least.
    both = trace.batch_start_ns[1:] < np.maximum.accumulate(trace.batch_finish_ns)[:-1]
    assert both.any()


def test_replicas_behind_a_router_are_replayed_exactly(rig):
    rng = np.random.default_rng(3)
    routed = replace(
        TWO,
        cluster=Cluster(
            np.arange(2), own_queues=True, router=LeastLoaded(), route_u=rng.random(200)
        ),
    )
    workload = tiered(arriving(rng.exponential(2.0, 200)), rng)
    trace, _ = held_against_itself(rig, Greedy(4), workload, routed)
    assert np.all(trace.status == SERVED)
    assert min(np.bincount(trace.batch_server)) > 10


def test_a_backlog_is_there_from_the_beginning_and_left_at_the_end(rig):
    rng = np.random.default_rng(4)
    backlog = (TIERS[0], TIERS[1]._replace(backlog=True))
    others = replace(
        arriving(rng.exponential(8.0, 60)), tier=np.zeros(60, dtype=np.int8), tiers=backlog
    )
    end_ns = end_of_run(int(others.arrival_ns[-1]))
    workload = joined(others, {1: np.ones(2000, dtype=np.int32)}, end_ns)
    assert crowd_of(workload) == 2000
    trace, noticed_ns = held_against_itself(rig, UrgentFirst(), workload, TWO)
    offline = trace.tier == 1
    assert (trace.status[offline] == UNFINISHED).any()
    check_urgent_first(trace, noticed_ns)
    first = trace.batch_start_ns.min()
    assert first == workload.arrival_ns[1999]
    assert trace.batch_start_ns.max() < end_ns
    took = trace.batch_finish_ns - trace.batch_start_ns
    assert np.all(took >= TABLE[0, trace.batch_size - 1, 0])
    # There are always four to serve, so whoever serves the backlog serves four of it.
    of_backlog = np.unique(trace.batch[offline & (trace.status == SERVED)])
    assert len(of_backlog) > 0
    assert np.all(trace.batch_size[of_backlog] == 4)


def test_what_waits_from_the_beginning_is_no_lateness_of_the_generator(rig):
    backlog = (TIERS[0], TIERS[1]._replace(backlog=True))
    others = replace(arriving([5.0] * 20), tier=np.zeros(20, dtype=np.int8), tiers=backlog)
    workload = joined(others, {1: np.ones(500, dtype=np.int32)}, 120 * MS)
    _, readings = rig.window(UrgentFirst(), workload, TWO)
    assert readings.crowd == 500
    assert len(readings.lag_ns) == 520
    assert max(readings.lag_ns[:500]) == 499


def test_a_workload_without_backlog_has_no_crowd():
    assert crowd_of(arriving([1.0, 2.0])) == 0


def noted_calls(monkeypatch, serve=Alone.serve):
    """The servers that are called alone, in order."""
    served = []

    def noted(call):
        served.append(call.worker.server)
        return serve(call)

    monkeypatch.setattr(Alone, "serve", noted)
    return served


def test_sentinel_calls_go_to_one_server_after_the_other_with_nothing_between(rig, monkeypatch):
    served = noted_calls(monkeypatch)
    pace = Pace(np.array([1]), idle_share=0.0, idle_ns=1.0, rng=np.random.default_rng(1))
    trips = rig.sentinel(9, pace)
    assert [trip.server for trip in trips] == [0] * 5 + [1] * 5
    assert served == [0] * 6 + [1] * 6, "each turn begins with a call that does not count"
    assert min(trip.took_ns for trip in trips) >= 4 * MS


class Simulated:
    """The rig's clock, and calls that take 4 ms of it."""

    def __init__(self, monkeypatch):
        self.now_ns = 0
        monkeypatch.setattr(rig_module, "now_ns", lambda: self.now_ns)
        monkeypatch.setattr(rig_module, "sleep_until", self.sleep_until)
        self.served = noted_calls(monkeypatch, self.serve)

    def sleep_until(self, instant_ns):
        self.now_ns = max(self.now_ns, instant_ns)

    def serve(self, call):
        self.now_ns += 4 * MS
        return 4 * MS


def test_while_a_server_is_idle_before_its_call_the_others_go_on(rig, monkeypatch):
    clock, planned_ns, idle = Simulated(monkeypatch), [], Pace.idle
    monkeypatch.setattr(Pace, "idle", lambda pace: planned_ns.append(idle(pace)) or planned_ns[-1])
    pace = Pace(np.array([1]), idle_share=1.0, idle_ns=30 * MS, rng=np.random.default_rng(5))
    trips = rig.sentinel(12, pace)
    # One call before those that count on each server, and the rest beside them.
    beside = len(clock.served) - len(trips) - 2
    assert 0.5 < beside * (15 + 4) * MS / sum(planned_ns) < 1.5, "one every 15 ms, and its own 4"
    first = clock.served.index(1)
    assert 0 in clock.served[first:], "the second server's turn did not come alone"
    for trip, least_ns in zip(trips, planned_ns, strict=True):
        assert least_ns <= trip.idle_ns < least_ns + 4 * MS, "it waits for a batch beside at most"


def test_a_server_alone_is_idle_in_silence(monkeypatch):
    alone = Service(TABLE, np.array([1]))
    served = noted_calls(monkeypatch)
    with Rig(EmulatedOpening(alone), alone, spins=False) as rig:
        pace = Pace(np.array([1]), idle_share=1.0, idle_ns=5 * MS, rng=np.random.default_rng(5))
        rig.sentinel(5, pace)
    assert served == [0] * 6
