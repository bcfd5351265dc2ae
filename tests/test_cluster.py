"""Replicas behind a router, GPUs that differ or are shared, limits of tiers: in every driver."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS, differences, random_run

from policies.contract import PolicyError, Tier
from policies.greedy import Greedy
from policies.routers import (
    AtRandom,
    LeastLoaded,
    LengthAffinity,
    PowerOfTwo,
    RoundRobin,
)
from policies.routing import RouteView
from policies.size_or_timeout import SizeOrTimeout
from policies.snap import Snap
from sim import kernel, model
from sim.cluster import Cluster
from sim.service import Service
from sim.trace import EXPIRED, LOST, REJECTED, SERVED, UNFINISHED
from sim.workload import Workload

RUNS_PER_PAIR = 60


PAIRS = [
    ("snap", "least_loaded"),
    ("size_or_timeout", "power_of_two"),
    ("aimd", "round_robin"),
    ("length_bucketed", "random"),
    ("balanced_cap", "length_affinity"),
    ("headroom", "power_of_two"),
    ("weighted_fair", "least_loaded"),
    ("token_budget_ahead", "least_loaded"),
]
"""Every router, with rules that use what is different here: each pair compiles for seconds."""

MIXED = ("snap", "balanced_cap", "length_bucketed")
"""Rules that meet replicas of two profiles, too: one more kernel to compile."""


def drawn(seed, kind, router, **more):
    """A random cluster; its replicas have one profile where the rule is none of the mixed ones."""
    run = random_run(seed, kind, requests=80, ends=True, router=router, **more)
    if kind in MIXED:
        return run
    cluster = run.service.cluster
    alike = replace(
        cluster,
        profile_of=np.zeros_like(cluster.profile_of),
        service_ns=cluster.service_ns[:1],
    )
    return run._replace(service=replace(run.service, cluster=alike))


@pytest.mark.parametrize(("kind", "router"), PAIRS)
def test_both_drivers_give_the_same_trace_of_a_cluster(kind, router):
    found = []
    for seed in range(RUNS_PER_PAIR):
        run = drawn(seed, kind, router)
        columns = differences(kernel.run(*run), model.run(*run))
        if columns:
            found.append((seed, columns))
    assert found == []


COMING_AND_GOING = [
    ("snap", "least_loaded", "ray_serve"),
    ("size_or_timeout", "power_of_two", "knative"),
    ("aimd", "round_robin", "none"),
    ("sealed_batches", "least_loaded", "ray_serve"),
]


@pytest.mark.parametrize(("kind", "router", "scaler"), COMING_AND_GOING)
def test_both_drivers_give_the_same_trace_where_replicas_come_and_go(kind, router, scaler):
    found, failed, seen = [], 0, set()
    for seed in range(120):
        run = drawn(seed, kind, router, scaler=scaler)
        one, other = kernel.run(*run), model.run(*run)
        one.check(run.service, run.workload)
        columns = differences(one, other)
        if columns or not one.equals(other):
            found.append((seed, columns))
        failed += one.changes.failed.sum()
        seen |= set(one.status)
    assert found == []
    assert failed > 30
    assert seen == {SERVED, REJECTED, EXPIRED, UNFINISHED, LOST}


def test_the_random_clusters_have_many_queues_mixed_profiles_and_rejections():
    runs = [random_run(seed, "greedy", router="round_robin") for seed in range(40)]
    routed = [run.service.cluster for run in runs if run.service.cluster.queues > 1]
    assert len(routed) > 25
    assert sum(len(np.unique(cluster.profiles)) > 1 for cluster in routed) > 8
    limited = [run for run in runs if len(run.service.tier_capacity)]
    assert sum((kernel.run(*run).status == REJECTED).sum() for run in limited) > 50


def view(waiting, *, available=None, servers=None, routed=0, length=1):
    count = len(waiting)
    return RouteView(
        now_ns=0,
        length=length,
        tier=0,
        routed=routed,
        available=np.array(available or [1] * count),
        waiting=np.array(waiting),
        in_service=np.zeros(count, dtype=np.int64),
        servers=np.array(servers or [1] * count),
    )


def test_round_robin_skips_who_takes_no_requests():
    chosen = [
        RoundRobin().route(view([0] * 4, available=[1, 0, 1, 1], routed=k), 0) for k in range(6)
    ]
    assert chosen == [0, 2, 3, 0, 2, 3]


def test_least_loaded_counts_requests_for_each_server():
    assert LeastLoaded().route(view([3, 5], servers=[1, 2]), 0.0) == 1
    assert LeastLoaded().route(view([2, 5], servers=[1, 2]), 0.0) == 0


def test_least_loaded_shares_ties_among_equals():
    chosen = [LeastLoaded().route(view([0] * 4), u) for u in (0.0, 0.3, 0.6, 0.9)]
    assert chosen == [0, 1, 2, 3]


def test_power_of_two_draws_every_pair_of_different_replicas_equally_often():
    grid = (np.arange(1200) + 0.5) / 1200
    # the loads are all different, so that the winner of a pair is known
    chosen = [PowerOfTwo().route(view([0, 1, 2, 3]), u) for u in grid]
    assert np.bincount(chosen, minlength=4).tolist() == [600, 400, 200, 0]


def test_power_of_two_takes_the_only_one_that_is_there():
    assert PowerOfTwo().route(view([9, 0], available=[1, 0]), 0.7) == 0


def test_random_takes_each_equally_often():
    grid = (np.arange(300) + 0.5) / 300
    chosen = [AtRandom().route(view([7, 0, 0], available=[1, 1, 1]), u) for u in grid]
    assert np.bincount(chosen).tolist() == [100, 100, 100]


def test_length_affinity_gives_each_bucket_its_replicas():
    router = LengthAffinity(np.array([10, 50])).bind(6)
    chosen = [
        {router.route(view([0] * 6, length=length), u) for u in (0.1, 0.9)}
        for length in (1, 10, 11, 50, 51)
    ]
    assert chosen == [{0, 1}, {0, 1}, {2, 3}, {2, 3}, {4, 5}]


def test_length_affinity_spills_where_the_group_is_much_fuller():
    router = LengthAffinity(np.array([10]), spill=3).bind(2)
    assert router.route(view([2, 0], length=5), 0.0) == 0
    assert router.route(view([3, 0], length=5), 0.0) == 1


def test_length_affinity_refuses_more_buckets_than_replicas():
    with pytest.raises(ValueError, match=r"fewer boundaries than replicas \(2\)"):
        LengthAffinity(np.array([10, 20])).bind(2)


class Nowhere(RoundRobin):
    """A router that is wrong."""

    def route(self, view, u):
        return 7


def service_of(cluster, *times_ms, **more):
    table = np.array([[[round(time * MS)] for time in times_ms]])
    return Service(table, np.array([1]), servers=cluster.servers, cluster=cluster, **more)


def requests(*arrival_ms, **more):
    return Workload(
        length=np.ones(len(arrival_ms), dtype=np.int32),
        arrival_ns=(np.array(arrival_ms) * MS).astype(np.int64),
        **more,
    )


drivers = pytest.mark.parametrize("driver", [kernel, model])


@drivers
def test_a_router_that_chooses_no_replica_is_blamed(driver):
    cluster = Cluster(np.arange(2), own_queues=True, router=Nowhere())
    with pytest.raises(PolicyError, match="router Nowhere chose a replica that is not there"):
        driver.run(Greedy(), requests(0), service_of(cluster, 1))


@drivers
def test_requests_stay_in_the_queue_that_they_were_routed_to(driver):
    cluster = Cluster(np.arange(2), own_queues=True, router=RoundRobin())
    trace = driver.run(Greedy(1), requests(0, 0, 0, 5), service_of(cluster, 2))
    # the third waits for the first although the second server is idle from 2 ms on
    assert trace.server.tolist() == [0, 1, 0, 1]
    assert trace.start_ns.tolist() == [0, 0, 2 * MS, 5 * MS]
    assert trace.lane.tolist() == [0, 1, 0, 1]


@drivers
def test_batches_on_one_gpu_slow_each_other_down_from_their_start(driver):
    cluster = Cluster(
        np.zeros(2, dtype=np.int64), gpu_of=np.zeros(2, int), slowdown=np.array([1.0, 1.0, 1.5])
    )
    trace = driver.run(Greedy(1), requests(0, 1, 9), service_of(cluster, 4))
    took = (trace.finish_ns - trace.start_ns) / MS
    assert took.tolist() == [4.0, 6.0, 4.0]


@drivers
def test_each_replica_has_its_own_profile(driver):
    tables = np.array([[[[2 * MS]]], [[[6 * MS]]]])
    cluster = Cluster(
        np.arange(2), own_queues=True, router=RoundRobin(),
        profile_of=np.array([1, 0]), service_ns=tables,
    )  # fmt: skip
    trace = driver.run(Greedy(), requests(0, 0), service_of(cluster, 3))
    assert ((trace.finish_ns - trace.start_ns) / MS).tolist() == [6.0, 2.0]


@drivers
def test_rules_are_bound_to_the_profile_of_their_replica(driver):
    """Snap takes what is most efficient: 1 of 2 where two take more than twice as long."""
    tables = np.array([[[[2 * MS], [3 * MS]]], [[[2 * MS], [5 * MS]]]])
    cluster = Cluster(
        np.arange(2), own_queues=True, router=RoundRobin(),
        profile_of=np.array([0, 1]), service_ns=tables,
    )  # fmt: skip
    trace = driver.run(Snap(), requests(0, 0, 0, 0), service_of(cluster, 2, 3))
    assert sorted(zip(trace.batch_server, trace.batch_size, strict=True)) == [
        (0, 2), (1, 1), (1, 1),
    ]  # fmt: skip


@drivers
def test_a_tier_that_is_full_is_rejected_and_the_others_are_not(driver):
    cluster = Cluster(np.zeros(1, dtype=np.int64))
    tiers = (Tier("urgent"), Tier("offline"))
    service = service_of(cluster, 5, 5, tier_capacity=np.array([9, 1]))
    workload = requests(0, 1, 2, 3, 4, tier=np.array([0, 1, 1, 0, 1], dtype=np.int8), tiers=tiers)
    trace = driver.run(Greedy(1), workload, service)
    assert trace.status.tolist() == [SERVED, SERVED, REJECTED, SERVED, REJECTED]


@drivers
def test_a_timer_of_one_queue_does_not_depend_on_events_of_another(driver):
    cluster = Cluster(np.arange(2), own_queues=True, router=RoundRobin())
    rule = SizeOrTimeout(max_batch_size=2, max_wait_ns=10 * MS)
    trace = driver.run(rule, requests(0, 3, 6), service_of(cluster, 1, 1))
    assert trace.start_ns.tolist() == [6 * MS, 13 * MS, 6 * MS]


def test_one_queue_of_a_cluster_is_the_service_without_a_cluster():
    for seed in range(40):
        run = random_run(seed, requests=60)
        cluster = Cluster(np.arange(run.service.servers))
        grouped = replace(run.service, cluster=cluster)
        assert kernel.run(*run).equals(kernel.run(run.policy, run.workload, grouped))
