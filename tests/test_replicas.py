"""Replicas that fail, start cold and are scaled, followed by hand in both drivers."""

import numpy as np
import pytest

from policies.autoscalers import Knative, RayServe
from policies.contract import NEVER
from policies.greedy import Greedy
from policies.routers import LeastLoaded, RoundRobin
from policies.scaling import ScaleView
from sim import kernel, model
from sim.changes import FixedSize
from sim.cluster import Cluster
from sim.errors import WorkloadError
from sim.service import Service
from sim.trace import LOST, SERVED, Trace
from sim.workload import ClosedLoop, Workload

MS = 1_000_000
drivers = pytest.mark.parametrize("driver", [kernel, model])


def served_by(cluster, *times_ms):
    table = np.array([[[round(time * MS)] for time in times_ms]])
    return Service(table, np.array([1]), servers=cluster.servers, cluster=cluster)


def requests(*arrival_ms, **more):
    arrival_ns = (np.array(arrival_ms) * MS).astype(np.int64)
    return Workload(np.ones(len(arrival_ms), dtype=np.int32), arrival_ns, **more)


def outage(replicas, replica, begin_ms, end_ms):
    outages = np.full((replicas, 1, 2), NEVER)
    outages[replica, 0] = begin_ms * MS, end_ms * MS
    return outages


@drivers
def test_a_batch_whose_replica_fails_is_served_again_elsewhere(driver):
    cluster = Cluster(
        np.arange(2), own_queues=True, router=RoundRobin(), outages_ns=outage(2, 0, 3, 100)
    )
    trace = driver.run(Greedy(1), requests(0, 50), served_by(cluster, 10))
    assert trace.status.tolist() == [SERVED, SERVED]
    assert trace.server.tolist() == [1, 1]
    assert trace.start_ns.tolist() == [3 * MS, 50 * MS]
    assert trace.changes.failed.tolist() == [True, False, False]
    assert trace.batch_finish_ns.tolist() == [3 * MS, 13 * MS, 60 * MS]
    assert trace.changes.replicas.tolist() == [[0, 2, 0], [3 * MS, 1, 0], [100 * MS, 2, 0]]


@drivers
def test_everybody_in_the_queue_of_a_failed_replica_goes_elsewhere_in_order(driver):
    cluster = Cluster(
        np.arange(2), own_queues=True, router=LeastLoaded(), outages_ns=outage(2, 0, 3, 100)
    )
    trace = driver.run(Greedy(1), requests(0, 0, 1, 1, 2, 2), served_by(cluster, 10))
    # replica 0 has requests 0, 2, 4 and replica 1 has 1, 3, 5 when it fails
    assert set(trace.server.tolist()) == {1}
    assert np.argsort(trace.start_ns, kind="stable").tolist() == [1, 0, 2, 3, 4, 5]


@drivers
def test_what_a_failed_replica_had_may_be_lost(driver):
    cluster = Cluster(
        np.arange(2),
        own_queues=True,
        router=RoundRobin(),
        outages_ns=outage(2, 0, 3, 100),
        loses=True,
    )
    trace = driver.run(Greedy(1), requests(0, 0, 1, 1), served_by(cluster, 10))
    assert trace.status.tolist() == [LOST, SERVED, LOST, SERVED]
    assert trace.finish_ns.tolist() == [3 * MS, 10 * MS, 3 * MS, 20 * MS]


@drivers
def test_with_one_queue_only_the_batch_is_disturbed(driver):
    cluster = Cluster(np.arange(2), outages_ns=outage(2, 1, 3, 30))
    trace = driver.run(Greedy(1), requests(0, 0, 1), served_by(cluster, 10))
    assert trace.server.tolist() == [0, 0, 0]
    # the disturbed request is older than the one that waits, and goes first
    assert trace.start_ns.tolist() == [0, 10 * MS, 20 * MS]


@drivers
def test_a_completion_at_the_instant_of_a_failure_counts(driver):
    cluster = Cluster(np.arange(1), outages_ns=outage(1, 0, 10, 20))
    trace = driver.run(Greedy(1), requests(0, 5), served_by(cluster, 10))
    assert trace.start_ns.tolist() == [0, 20 * MS]
    assert not trace.changes.failed.any()


@drivers
def test_requests_wait_for_the_only_replica_while_it_is_away(driver):
    cluster = Cluster(
        np.arange(2), own_queues=True, router=LeastLoaded(),
        outages_ns=np.array([[[5, 40]], [[5, 50]]]) * MS,
    )  # fmt: skip
    trace = driver.run(Greedy(1), requests(10, 11), served_by(cluster, 2))
    assert sorted(trace.start_ns.tolist()) == [40 * MS, 50 * MS]


def ray(**more):
    given = {"target_ongoing_requests": 2.0, "upscale_delay_ns": 0, "downscale_delay_ns": 0}
    given |= {"look_back_ns": 10 * MS, "interval_ns": 10 * MS, "max_replicas": 3} | more
    return RayServe(**given).bind(3)


@drivers
def test_a_replica_that_is_started_serves_after_the_cold_start(driver):
    cluster = Cluster(
        np.arange(3), own_queues=True, router=LeastLoaded(), scaler=ray(), initial=1,
        cold_start_ns=25 * MS,
    )  # fmt: skip
    arrivals = [0, 0, 0, 0, 40, 41]
    trace = driver.run(Greedy(1), requests(*arrivals), served_by(cluster, 30))
    # 4 requests on average in the first 10 ms: 2 replicas; the second is ready at 35 ms
    assert trace.changes.replicas[:3].tolist() == [[0, 1, 0], [10 * MS, 1, 1], [35 * MS, 2, 0]]
    assert trace.server.tolist() == [0, 0, 0, 0, 1, 1]
    assert trace.start_ns[4] == 40 * MS


@drivers
def test_a_replica_that_leaves_finishes_what_it_has_and_gets_no_more(driver):
    cluster = Cluster(np.arange(3), own_queues=True, router=RoundRobin(), scaler=ray())
    trace = driver.run(Greedy(1), requests(0, 0, 0, 35, 36, 37), served_by(cluster, 20))
    # three ongoing requests want two replicas from the first tick on: replica 2 leaves
    assert trace.changes.replicas[1].tolist() == [10 * MS, 2, 0]
    assert trace.server[:3].tolist() == [0, 1, 2]
    assert trace.finish_ns[2] == 20 * MS
    assert 2 not in trace.server[3:]


def test_an_autoscaler_needs_open_arrivals():
    loop = Workload(np.ones(3, dtype=np.int32), closed=ClosedLoop(np.full((1, 1), MS)))
    cluster = Cluster(np.arange(3), scaler=ray(), initial=1)
    for driver in (kernel, model):
        with pytest.raises(WorkloadError, match="needs open arrivals"):
            driver.run(Greedy(1), loop, served_by(cluster, 1))


def test_a_trace_with_changes_is_read_back_as_it_was(tmp_path):
    cluster = Cluster(
        np.arange(2), own_queues=True, router=RoundRobin(), outages_ns=outage(2, 0, 3, 100)
    )
    trace = kernel.run(Greedy(1), requests(0, 50), served_by(cluster, 10))
    assert Trace.load(trace.save(tmp_path / "trace", "csv")).equals(trace)


def test_the_first_servers_of_a_cluster_are_a_cluster():
    cluster = Cluster(
        np.array([0, 0, 1, 1]), own_queues=True, router=RoundRobin(), outages_ns=outage(2, 1, 3, 9)
    )
    first = cluster.first(2)
    assert (first.replicas, first.queues, len(first.outages_ns)) == (1, 1, 1)


def asked(rule, ongoing, ready=1, starting=0, until=100):
    """Targets of a rule at its ticks, with so many ongoing requests in each interval."""
    memory, integral, targets = np.zeros(rule.memory_slots), 0.0, []
    for tick in range(1, until + 1):
        integral += ongoing(tick) * rule.interval_ns
        now_ns = tick * rule.interval_ns
        seen = ScaleView(now_ns, ready, starting, ongoing(tick), integral, 0, memory)
        targets.append(rule.target(seen))
    return targets


S = 1_000_000_000


class TestRayServe:
    def test_the_average_over_the_target_is_wanted_after_the_delay(self):
        rule = RayServe(max_replicas=9, upscale_delay_ns=5 * S).bind(9)
        assert asked(rule, lambda _: 7, until=7) == [1, 1, 1, 1, 1, 4, 1]

    def test_a_decision_that_does_not_hold_is_forgotten(self):
        rule = RayServe(max_replicas=9, upscale_delay_ns=5 * S, look_back_ns=S).bind(9)
        assert set(asked(rule, lambda tick: 7 if tick % 4 else 1, until=40)) == {1}

    def test_fewer_are_wanted_only_after_the_long_delay(self):
        rule = RayServe(max_replicas=9).bind(9)
        targets = asked(rule, lambda _: 1, ready=5, until=610)
        assert targets.index(1) == 600
        assert set(targets[:600]) == {5}

    def test_old_requests_are_not_looked_back_at(self):
        rule = RayServe(max_replicas=99, upscale_delay_ns=0).bind(99)
        targets = asked(rule, lambda tick: 100 if tick <= 30 else 2, until=61)
        assert targets[29] == 50
        assert targets[59] == 1

    def test_limits_that_do_not_fit_are_refused(self):
        with pytest.raises(ValueError, match=r"max_replicas <= 4, the replicas"):
            RayServe(max_replicas=5).bind(4)
        with pytest.raises(ValueError, match="1 <= min_replicas <= max_replicas"):
            RayServe(max_replicas=2, min_replicas=3).bind(4)


class TestKnative:
    def test_the_stable_window_decides_where_nothing_bursts(self):
        rule = Knative(max_replicas=99, target_concurrency=10.0).bind(99)
        assert asked(rule, lambda _: 21, ready=2, until=40)[-1] == 3

    def test_a_burst_is_answered_at_once_and_not_undone_within_the_window(self):
        rule = Knative(max_replicas=99, target_concurrency=10.0, target_utilization=1.0).bind(99)
        targets = asked(rule, lambda tick: 100 if 30 < tick <= 34 else 1, ready=2, until=70)
        assert targets[29] == 1
        assert targets[33] == 10
        assert min(targets[33:60]) >= 2
        assert targets[-1] == 1

    def test_one_step_down_leaves_at_least_half(self):
        rule = Knative(max_replicas=99, target_concurrency=10.0).bind(99)
        assert asked(rule, lambda _: 1, ready=20, until=1) == [10]

    def test_a_delay_keeps_what_there_is(self):
        rule = Knative(max_replicas=9, target_concurrency=10.0, scale_down_delay_ns=10 * S).bind(9)
        targets = asked(rule, lambda _: 1, ready=4, until=7)
        assert targets == [4, 4, 4, 4, 4, 2, 2]

    def test_windows_out_of_order_are_refused(self):
        with pytest.raises(ValueError, match="interval <= panic_window <= stable_window"):
            Knative(max_replicas=2, panic_window_ns=90 * S).bind(2)


def test_without_an_autoscaler_the_size_is_fixed():
    assert FixedSize().target(ScaleView(0, 3, 0, 9, 0.0, 0, np.zeros(0))) == 3
