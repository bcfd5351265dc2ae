"""The bound on what a backlog can get: no rule exceeds it, whatever shares a batch with whom."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS, random_run

from policies import POLICIES
from policies.contract import NEVER, Tier
from sim import kernel
from sim.backlog import joined, taken
from sim.service import Noise, Service
from sim.spare_capacity import bound_per_s, least_work_ns
from sim.trace import SERVED

RUNS_PER_POLICY = 60


def beside_a_backlog(seed, kind):
    """A random run without noise whose last tier is a backlog; None where there is no such run."""
    run = random_run(seed, kind, requests=60)
    last = len(run.workload.tiers) - 1
    if run.workload.closed is not None or last == 0 or (run.workload.tier == last).all():
        return None
    rng = np.random.default_rng(seed)
    service = replace(run.service, noise=Noise(), capacity=NEVER)
    if rng.random() < 0.5:  # tables in which longer batches may be faster, as some measured ones
        table = rng.permuted(service.service_ns, axis=2)
        service = replace(service, service_ns=np.ascontiguousarray(table))
    tiers = (*run.workload.tiers[:-1], Tier("offline", backlog=True))
    others = taken(run.workload, np.flatnonzero(run.workload.tier < last))
    crowd = rng.integers(1, 128, int(rng.integers(1, 400))).astype(np.int32)
    until_ns = int(others.arrival_ns[-1]) + 20 * MS
    return run.policy, joined(replace(others, tiers=tiers), {last: crowd}, until_ns), service


def shares_of_bound(kind, work=least_work_ns):
    """What the backlogs of random runs got of what the others left, as shares."""
    found = []
    for seed in range(RUNS_PER_POLICY):
        made = beside_a_backlog(seed, kind)
        if made is None:
            continue
        policy, workload, service = made
        trace = kernel.run(policy, workload, service)
        served = trace.status == SERVED
        if not served.any():
            continue
        least = np.where(served, work(service, trace.length, trace.tier), 0.0)
        offline = trace.tier == len(workload.tiers) - 1
        spare = service.servers * int(trace.batch_finish_ns.max()) - least[~offline].sum()
        found.append(least[offline].sum() / spare)
    return np.array(found)


@pytest.mark.parametrize("kind", POLICIES)
def test_no_rule_gives_a_backlog_more_than_the_bound(kind):
    shares = shares_of_bound(kind)
    assert len(shares) > RUNS_PER_POLICY / 4
    assert shares.max() <= 1.0


def test_a_larger_work_than_the_least_is_no_bound():
    def alone(service, length, tier):
        table = service.service_ns[np.minimum(tier, len(service.service_ns) - 1), 0]
        return np.array(
            [np.interp(x, service.length_edges, row) for x, row in zip(length, table, strict=True)]
        )

    assert shares_of_bound("greedy", alone).max() > 1.0


def test_full_batches_of_equal_requests_reach_the_bound():
    service = Service(np.array([[[10], [12], [14], [16]]]) * MS, np.array([1]))
    crowd = np.ones(4_000, dtype=np.int32)
    none = replace(
        random_run(1, "greedy").workload,
        closed=None,
        length=np.ones(1, np.int32),
        arrival_ns=np.array([9_000 * MS]),
        tier=np.zeros(1, np.int8),
        timeout_ns=np.zeros(0, np.int64),
        tiers=(Tier("online"), Tier("offline", backlog=True)),
    )
    trace = kernel.run(POLICIES["greedy"](4), joined(none, {1: crowd}, 9_100 * MS), service)
    least = least_work_ns(service, trace.length, trace.tier)[trace.status == SERVED].sum()
    assert least / int(trace.batch_finish_ns.max()) > 0.999


def test_the_least_work_counts_batches_of_longer_requests():
    table = np.array([[[9.0, 6.0, 8.0], [12.0, 10.0, 14.0]]]) * MS
    service = Service(table.astype(np.int64), np.array([10, 20, 30]))
    length = np.array([5, 10, 15, 20, 25, 30], dtype=np.int32)
    least = least_work_ns(service, length, np.zeros(6, dtype=np.int8)) / MS
    assert least.tolist() == [5.0, 5.0, 5.0, 5.0, 6.0, 7.0]


def test_the_least_work_is_that_of_the_own_model():
    service = Service(np.array([[[4], [6]], [[8], [10]]]) * MS, np.array([1]))
    least = least_work_ns(service, np.ones(2, np.int32), np.array([0, 1], dtype=np.int8))
    assert (least / MS).tolist() == [3.0, 5.0]


def test_the_bound_is_what_is_left_over_the_least_work():
    rates, works = [100.0, 0.0, 20.0], [2.0 * MS, 8.0 * MS, 5.0 * MS]
    assert bound_per_s(2, rates, works, 1) == pytest.approx((2 - 0.2 - 0.1) / 0.008)


def test_nothing_is_left_where_the_others_need_more_than_there_is():
    assert bound_per_s(1, [100.0, 0.0], [20.0 * MS, 8.0 * MS], 1) == 0.0
