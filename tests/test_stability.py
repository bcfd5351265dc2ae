"""Saturation is measured on a backlog; load, stability and their message follow from it."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from policies import POLICIES
from policies.contract import NEVER
from sim import kernel
from sim.recursion import recursion
from sim.service import Noise, Service
from sim.stability import (
    Stability,
    arrival_rate_per_s,
    assess,
    backlog,
    load,
    saturation_per_s,
    useful_ns,
)
from sim.trace import SERVED, Trace
from sim.workload import ClosedLoop, Workload

LINEAR = Service((2_000_000 + 350_000 * np.arange(1, 33)).reshape(1, 32, 1), np.array([1]))
BY_LENGTH = Service(
    np.array([[[1_000_000, 4_000_000], [1_500_000, 6_000_000]]]), np.array([10, 40]), servers=2
)


class Rule(NamedTuple):
    largest: int
    wait_ns: int
    smallest: int = 0


def run(policy: Rule, workload: Workload, service: Service) -> Trace:
    trace = recursion(workload, service, *policy)
    trace.check(service, workload)
    return trace


def paced(requests: int, per_s: float, length: int = 1) -> Workload:
    arrival = np.rint(np.arange(requests) * 1e9 / per_s).astype(np.int64)
    return Workload(np.full(requests, length, np.int32), arrival)


GREEDY = Rule(32, 0, 1)
STATIC_8 = Rule(8, NEVER)


@pytest.mark.parametrize("servers", [1, 3])
@pytest.mark.parametrize(
    ("rule", "exact"),
    [(GREEDY, 32 / 13.2e-3), (STATIC_8, 8 / 4.8e-3), (Rule(1, 0), 1 / 2.35e-3)],
)
def test_saturation_is_the_full_batch_over_its_time(rule, exact, servers):
    service = replace(LINEAR, servers=servers)
    found = saturation_per_s(rule, paced(1_000, 100.0), service, run)
    assert found == pytest.approx(exact * servers, rel=1e-9)


def test_a_rule_that_never_fires_serves_nothing():
    found = assess(Rule(32, NEVER, 30_000), paced(1_000, 100.0), LINEAR, run)
    assert (found.stable, found.saturation_per_s) == (False, 0.0)
    assert found.message == (
        "unstable: 100.0 requests/s arrive, this policy can serve 0.0/s (load inf)"
    )


def test_time_outs_and_room_do_not_limit_the_backlog():
    workload = replace(paced(1_000, 100.0), timeout_ns=np.full(1_000, 5))
    found = saturation_per_s(GREEDY, workload, replace(LINEAR, capacity=4), run)
    assert found == pytest.approx(32 / 13.2e-3)


def test_the_order_in_which_a_backlog_is_served_is_not_mistaken_for_speed():
    random = np.random.default_rng(1)
    workload = replace(
        paced(20_000, 100.0), length=random.integers(10, 41, 20_000).astype(np.int32)
    )

    def shortest_first(policy: Rule, crowd: Workload, service: Service) -> Trace:
        return run(policy, replace(crowd, length=np.sort(crowd.length)), service)

    one = Rule(1, 0)
    mean_s = np.mean(workload.length) * 1e-4
    for driver in (run, shortest_first):
        found = saturation_per_s(one, workload, BY_LENGTH, driver)
        assert found == pytest.approx(2 / mean_s, rel=0.002), driver
    counted = shortest_first(one, backlog(workload, BY_LENGTH, 20_000), BY_LENGTH)
    finish = np.sort(counted.finish_ns)
    by_count = 14_000e9 / (finish[18_000] - finish[4_000])
    assert abs(by_count * mean_s / 2 - 1) > 0.02


def test_padding_costs_capacity():
    random = np.random.default_rng(2)
    mixed = replace(paced(5_000, 100.0), length=random.integers(10, 41, 5_000).astype(np.int32))
    equal = replace(mixed, length=np.full(5_000, 25, np.int32))
    pair = Rule(2, 0, 2)
    padded, unpadded = (saturation_per_s(pair, w, BY_LENGTH, run) for w in (mixed, equal))
    assert padded < 0.9 * unpadded


def test_an_overload_is_said_with_its_size():
    found = assess(STATIC_8, paced(2_000, 2_000.0), LINEAR, run)
    assert not found.stable
    assert found.load == pytest.approx(1.2)
    assert found.excess == pytest.approx(0.2)
    assert found.message == (
        "unstable: 2000.0 requests/s arrive, this policy can serve 1666.7/s (load 1.20)"
    )


def test_what_can_be_served_is_stable():
    found = assess(GREEDY, paced(2_000, 2_000.0), LINEAR, run)
    assert (found.stable, found.excess, found.bounded_by) == (True, 0.0, "")
    assert found.message.startswith(
        "stable: 2000.0 requests/s arrive, this policy can serve 2424.2"
    )


def test_the_given_rate_goes_before_that_of_the_draw():
    assert not assess(GREEDY, paced(2_000, 1.0), LINEAR, run, rate_per_s=2_500.0).stable


def test_a_full_queue_that_refuses_is_stable_by_construction():
    found = assess(STATIC_8, paced(2_000, 2_000.0), replace(LINEAR, capacity=50), run)
    assert (found.stable, found.excess) == (True, pytest.approx(0.2))
    assert found.message == (
        "stable by construction, a full queue turns requests away: 2000.0 requests/s arrive, "
        "this policy can serve 1666.7/s (load 1.20)"
    )


def test_time_outs_make_a_run_stable_only_if_everyone_has_one():
    limits = np.full(2_000, 10**9)
    workload = replace(paced(2_000, 2_000.0), timeout_ns=limits)
    assert assess(STATIC_8, workload, LINEAR, run).stable
    limits[3] = NEVER
    assert not assess(STATIC_8, workload, LINEAR, run).stable


def test_a_closed_loop_is_stable_by_construction():
    closed = Workload(np.ones(10, np.int32), closed=ClosedLoop(np.ones((2, 5), np.int64)))
    found = assess(STATIC_8, closed, LINEAR, run)
    assert (found.stable, found.load, found.excess) == (True, None, 0.0)
    assert found.message == (
        "stable by construction: in a closed loop clients wait for their answers"
    )


def test_requests_that_are_too_long_do_not_load_the_servers():
    workload = paced(2_000, 2_000.0)
    workload.length[::2] = 9
    found = assess(STATIC_8, workload, replace(LINEAR, longest_admitted=5), run)
    assert (found.stable, found.rate_per_s) == (True, pytest.approx(1_000.0))
    assert set(backlog(workload, replace(LINEAR, longest_admitted=5), 100).length) == {1}


def test_a_backlog_is_spread_over_the_workload_and_keeps_its_ages():
    workload = replace(paced(30, 1.0), length=np.arange(30, dtype=np.int32))
    crowd = backlog(workload, LINEAR, 10)
    assert crowd.length.tolist() == list(range(0, 30, 3))
    assert crowd.arrival_ns.tolist() == list(range(10))
    assert backlog(workload, LINEAR, 45).length.tolist() == [*range(30), *range(15)]
    assert len(backlog(workload, replace(LINEAR, longest_admitted=-1), 45)) == 0


def test_useful_work_is_the_best_share_of_an_unpadded_batch():
    random = np.random.default_rng(4)
    tables = random.integers(10, 99, (2, 5, 3)) * np.arange(1, 6).reshape(1, 5, 1)
    service = Service(tables, np.array([8, 16, 64]), noise=Noise())
    length = random.integers(1, 65, 300).astype(np.int32)
    tier = random.integers(0, 2, 300).astype(np.int8)
    expected = [
        min(np.interp(n, [8, 16, 64], tables[k, size - 1]) / size for size in range(1, 6))
        for n, k in zip(length, tier, strict=True)
    ]
    np.testing.assert_allclose(useful_ns(service, length, tier), expected, rtol=1e-12)
    assert len(useful_ns(service, length[:0], tier[:0])) == 0


def test_load_is_one_at_the_largest_possible_rate():
    workload = paced(100, 1.0)
    assert load(32 / 13.2e-3, LINEAR, workload) == pytest.approx(1.0)
    assert load(32 / 13.2e-3, replace(LINEAR, servers=4), workload) == pytest.approx(0.25)


def test_the_rate_is_that_between_the_first_and_the_last_arrival():
    assert arrival_rate_per_s(paced(101, 250.0)) == pytest.approx(250.0)
    assert arrival_rate_per_s(paced(1, 250.0)) == 0.0
    assert arrival_rate_per_s(replace(paced(5, 1.0), arrival_ns=np.zeros(5, np.int64))) == np.inf


def test_the_message_of_an_unstable_policy():
    found = Stability(False, 1200.0, 1010.5)
    assert found.message == (
        "unstable: 1200.0 requests/s arrive, this policy can serve 1010.5/s (load 1.19)"
    )


MS = 1_000_000
PADDED = Service(
    np.stack([2 * MS + 2_734.375 * np.arange(1, 33) * edge for edge in (16, 64, 512)], axis=1)
    .astype(np.int64)
    .reshape(1, 32, 3),
    np.array([16, 64, 512]),
)
RULES = {
    "greedy": (32,),
    "length_bucketed": (np.array([32, 64, 128]), np.full(4, 32), np.full(4, 5 * MS)),
    "balanced_cap": (32,),
    "static": (16,),
    "size_or_timeout": (32, 5 * MS),
    "preferred_sizes": (np.array([8, 16]), 16, 5 * MS),
    "queue_depth_wait": (32, 5 * MS),
    "aimd": (50 * MS, 32, 2 * MS),
    "deadline_aware": (50 * MS, 32),
    "rate_aware": (32,),
    "nearest_lengths": (32, 5 * MS, 16, 64),
    "token_budget": (2048, 32, 5 * MS),
    "snap": (32,),
    "priority": (np.array([32]), np.array([5 * MS])),
    "priority_fill": (32, 5 * MS),
    "headroom": (50 * MS,),
    "weighted_fair": (),
    "ageing": (),
    "edf": (32, 5 * MS, np.array([50 * MS])),
    "shortest_first": (80 * MS,),
}
QUICK = {"greedy", "length_bucketed", "balanced_cap"}


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RULES],
)
def test_below_its_saturation_a_rule_keeps_up_and_above_it_falls_behind(name):
    """In a run of 100 000 requests the second half waits no longer, or several times as long."""
    policy = POLICIES[name](*RULES[name])
    random = np.random.default_rng(3)
    length = np.clip(np.exp(random.normal(np.log(64), 0.8, 100_000)), 8, 512).astype(np.int32)
    gaps = random.exponential(1e9, 100_000)
    workload = Workload(length, np.zeros(0, np.int64))
    rate = saturation_per_s(policy, workload, PADDED, kernel.run)
    growth = []
    for factor in (0.93, 1.07):
        arrival = np.cumsum(gaps / (factor * rate)).astype(np.int64)
        trace = kernel.run(policy, replace(workload, arrival_ns=arrival), PADDED)
        served = trace.status == SERVED
        first, second = np.array_split((trace.finish_ns - trace.arrival_ns)[served], 2)
        growth.append(second.mean() / first.mean())
    assert growth[0] < 1.3
    assert growth[1] > 2.0
