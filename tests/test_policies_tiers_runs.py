"""Rules that know tiers, in whole runs: bounds that always hold, shares, and nobody starves."""

import numpy as np
import pytest
from random_runs import MS, differences, random_run

from policies import (
    Ageing,
    Edf,
    Greedy,
    Headroom,
    LengthBucketed,
    Priority,
    PriorityFill,
    ShortestFirst,
    SizeOrTimeout,
    WeightedFair,
)
from policies.contract import Tier
from sim import kernel
from sim.service import Service
from sim.trace import SERVED
from sim.workload import Workload

TABLE = np.array([[[(4 + 2 * size) * MS] for size in range(1, 17)]])
ONE_EDGE = np.array([1])
URGENT, OFFLINE = 0, 1
TIERS = (Tier("interactive", slo_ns=50 * MS), Tier("offline"))


def mixed(seed, urgent_per_s, requests=2000, offline_per_s=0.0, backlog=30_000):
    """Poisson arrivals of interactive requests beside offline work: from the start, or Poisson."""
    rng = np.random.default_rng(seed)
    urgent_ns = (rng.exponential(1e9 / urgent_per_s, requests).cumsum()).astype(np.int64)
    offline_ns = np.zeros(backlog, dtype=np.int64)
    if offline_per_s:
        offline_ns = rng.exponential(1e9 / offline_per_s, requests).cumsum().astype(np.int64)
    arrival_ns = np.concatenate([urgent_ns, offline_ns])
    tier = np.repeat([URGENT, OFFLINE], [len(urgent_ns), len(offline_ns)])
    order = np.argsort(arrival_ns, kind="stable")
    return Workload(
        np.ones(len(order), dtype=np.int32),
        arrival_ns[order],
        tier[order].astype(np.int8),
        tiers=TIERS,
        until_ns=int(urgent_ns[-1]),
    )


def run(policy, workload, servers=1, table=TABLE, edges=ONE_EDGE):
    return kernel.run(policy, workload, Service(table, edges, servers))


def tiers_of_batches(trace):
    """(batches, tiers) how many of each tier a batch holds."""
    served = trace.batch >= 0
    found = np.zeros((len(trace.batch_size), len(trace.tiers)), dtype=np.int64)
    np.add.at(found, (trace.batch[served], trace.tier[served]), 1)
    return found


def blocked_ns(trace):
    """(urgent requests, servers): time of offline batches of each server in a request's wait."""
    offline = tiers_of_batches(trace)[:, URGENT] == 0
    wants = (trace.tier == URGENT) & (trace.status == SERVED)
    arrived, started = trace.arrival_ns[wants], trace.start_ns[wants]
    found = np.zeros((wants.sum(), trace.servers), dtype=np.int64)
    for server in range(trace.servers):
        own = offline & (trace.batch_server == server)
        for begin, end in zip(trace.batch_start_ns[own], trace.batch_finish_ns[own], strict=True):
            inside = np.minimum(end, started) - np.maximum(begin, arrived)
            found[:, server] += np.maximum(inside, 0)
    return found


HEADROOM = [
    # servers, reserved, servers that are open whenever an offline batch has started
    (1, 1.0, 1),
    (2, 1.0, 2),
    (2, 0.5, 1),
    (3, 0.5, 1),
    (4, 0.5, 2),
]


class TestHeadroom:
    @pytest.mark.parametrize(("servers", "reserved", "are_open"), HEADROOM)
    @pytest.mark.parametrize("seed", range(3))
    def test_no_interactive_request_waits_longer_than_the_budget_for_offline_work(
        self, servers, reserved, are_open, seed
    ):
        """The rest of its wait is time in which that server works for interactive requests."""
        budget_ns = 14 * MS
        policy = Headroom(budget_ns, reserved, max_batch_size=np.array([2, 16]))
        trace = run(policy, mixed(seed, 120.0 * servers), servers)
        blocked = np.sort(blocked_ns(trace), axis=1)
        assert (blocked[:, are_open - 1] <= budget_ns).all()
        assert blocked.max() > 0.9 * budget_ns, "the budget is used"

    def test_without_a_budget_they_wait_longer(self):
        for policy in (Priority(), PriorityFill(), Headroom(14 * MS, 0.0)):
            assert blocked_ns(run(policy, mixed(1, 120.0))).max() > 25 * MS

    @pytest.mark.parametrize("seed", range(3))
    def test_on_one_server_it_waits_only_for_that_and_for_interactive_work(self, seed):
        budget_ns = 14 * MS
        trace = run(Headroom(budget_ns), mixed(seed, 100.0))
        kinds = tiers_of_batches(trace)
        urgent = kinds[:, URGENT] > 0
        done_ns = np.cumsum(np.where(urgent, trace.batch_finish_ns - trace.batch_start_ns, 0))
        wants = np.flatnonzero((trace.tier == URGENT) & (trace.status == SERVED))
        ended = np.searchsorted(trace.batch_finish_ns, trace.arrival_ns[wants])
        before = np.where(ended > 0, done_ns[ended - 1], 0)
        ahead_ns = done_ns[trace.batch[wants] - 1] * (trace.batch[wants] > 0) - before
        wait_ns = trace.start_ns[wants] - trace.arrival_ns[wants]
        assert (wait_ns <= budget_ns + ahead_ns).all()
        assert (wait_ns > 0.9 * budget_ns).any()

    def test_offline_work_fills_every_gap(self):
        trace = run(Headroom(14 * MS), mixed(5, 60.0))
        assert np.array_equal(trace.batch_start_ns[1:], trace.batch_finish_ns[:-1])

    @pytest.mark.parametrize(("servers", "reserved"), [(1, 0.7), (1, 0.9), (2, 0.75), (3, 0.5)])
    def test_without_a_budget_offline_work_has_the_share_that_is_not_reserved(
        self, servers, reserved
    ):
        trace = run(Headroom(0, reserved), mixed(2, 20.0, 600), servers)
        offline = tiers_of_batches(trace)[:, URGENT] == 0
        lasts_ns = trace.batch_finish_ns - trace.batch_start_ns
        share = lasts_ns[offline].sum() / trace.batch_finish_ns.max() / servers
        assert share == pytest.approx(1 - reserved, rel=0.04)
        assert share <= 1 - reserved + 0.001

    def test_filling_interactive_batches_serves_more_offline_requests(self):
        workload = mixed(3, 100.0)
        served = [
            tiers_of_batches(run(policy, workload))[:, OFFLINE].sum()
            for policy in (Headroom(14 * MS), Headroom(14 * MS, max_fill_ns=14 * MS))
        ]
        assert served[1] > 1.05 * served[0]


class TestWeightedFair:
    @pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.2, 0.8), (20.0, 1.0)])
    @pytest.mark.parametrize("sizes", [(16, 16), (1, 16), (4, 7)])
    def test_two_tiers_that_always_wait_never_differ_by_more_than_a_batch_of_each(
        self, weights, sizes
    ):
        """Goyal, Vin and Cheng, Theorem 1, in every interval between two ends of batches."""
        policy = WeightedFair(np.array(weights), np.array(sizes))
        trace = run(policy, self.both_wait(3000, 40))
        had = self.time_of_tiers(trace) / np.array(weights)
        longest = np.diff(had, axis=0, prepend=0).max(axis=0)
        ahead = had[:, 0] - had[:, 1]
        assert ahead.max() - min(ahead.min(), 0.0) <= longest.sum() + 1
        assert self.ends(trace) > 100

    def test_shares_of_time_are_the_weights_within_one_per_cent(self):
        policy = WeightedFair(np.array([3.0, 1.0]), np.array([2, 16]))
        trace = run(policy, self.both_wait(20_000, 400), servers=2)
        had = self.time_of_tiers(trace)[-1]
        assert had[0] / had.sum() == pytest.approx(0.75, abs=0.01)

    def test_shares_of_requests_are_not_the_weights(self):
        policy = WeightedFair(np.array([3.0, 1.0]), np.array([2, 16]))
        trace = run(policy, self.both_wait(20_000, 400))
        counts = tiers_of_batches(trace).sum(axis=0)
        assert abs(counts[0] / counts.sum() - 0.75) > 0.1

    def test_nobody_is_idle_while_one_tier_has_work(self):
        trace = run(WeightedFair(np.array([20.0, 1.0])), mixed(4, 50.0))
        assert np.array_equal(trace.batch_start_ns[1:], trace.batch_finish_ns[:-1])

    @staticmethod
    def both_wait(requests, seconds):
        tier = np.tile(np.array([0, 1], dtype=np.int8), requests)
        length = np.ones(2 * requests, dtype=np.int32)
        there = np.zeros(2 * requests, dtype=np.int64)
        return Workload(length, there, tier, tiers=TIERS, until_ns=seconds * 100 * MS)

    @staticmethod
    def ends(trace):
        return len(trace.batch_size)

    @staticmethod
    def time_of_tiers(trace):
        """(batches, tiers): time that each tier had, up to the end of each batch."""
        lasts_ns = trace.batch_finish_ns - trace.batch_start_ns
        kinds = tiers_of_batches(trace) > 0
        assert (kinds.sum(axis=1) == 1).all()
        left = np.bincount(trace.tier[trace.batch < 0], minlength=2)
        assert (left > 0).all(), "both tiers wait to the end"
        return np.cumsum(kinds * lasts_ns[:, np.newaxis], axis=0)


class TestNobodyStarves:
    """Interactive requests arrive a little faster than they are served, and a few others."""

    def crowded(self):
        arrival_ns = np.arange(4000, dtype=np.int64) * 11 * MS // 2  # one takes 6 ms
        tier = np.zeros(4000, dtype=np.int8)
        tier[40::80] = 1
        length = np.ones(4000, dtype=np.int32)
        return Workload(length, arrival_ns, tier, tiers=TIERS, until_ns=int(arrival_ns[-1]))

    def served_of_few(self, policy):
        trace = run(policy, self.crowded())
        return int(np.count_nonzero((trace.tier == 1) & (trace.status == SERVED)))

    def test_strict_priority_starves_them(self):
        assert self.served_of_few(Priority(np.array([1]))) == 0
        assert self.served_of_few(PriorityFill(1)) == 0

    @pytest.mark.parametrize(
        "policy",
        [
            Ageing(np.array([1.0, 0.5]), np.array([1])),
            WeightedFair(np.array([1.0, 0.2]), np.array([1])),
            Edf(1, default_slo_ns=100 * MS),
        ],
        ids=["ageing", "weighted_fair", "edf"],
    )
    def test_ageing_fair_shares_and_deadlines_do_not(self, policy):
        assert self.served_of_few(policy) > 30

    def test_a_long_request_is_served_once_it_has_aged(self):
        workload = self.crowded()
        length = np.where(workload.tier == 1, 90, 5).astype(np.int32)
        mixed_lengths = Workload(length, workload.arrival_ns, until_ns=workload.until_ns)
        edges, table = np.array([10, 100]), np.repeat(TABLE, 2, axis=2)
        waits = []
        for age_ns in (300 * MS, 10**15):
            policy = ShortestFirst(age_ns, 1)
            trace = run(policy, mixed_lengths, table=table, edges=edges)
            long = (trace.length == 90) & (trace.status == SERVED)
            waits.append(trace.start_ns[long] - trace.arrival_ns[long])
        assert len(waits[0]) > 40
        assert len(waits[1]) == 0


def waiting_at(trace, instant_ns):
    """Requests that wait just before a batch starts at an instant."""
    left_ns = np.where(trace.start_ns >= 0, trace.start_ns, np.iinfo(np.int64).max)
    return (trace.arrival_ns <= instant_ns) & (left_ns >= instant_ns)


class TestOrders:
    """Held against the trace: at each start nobody waits who should have gone before."""

    def starts(self, policy, servers=1):
        trace = run(policy, mixed(7, 150.0, 600, offline_per_s=120.0), servers)
        for batch, start_ns in enumerate(trace.batch_start_ns):
            inside = trace.batch == batch
            others = waiting_at(trace, start_ns) & ~inside & (trace.batch != batch)
            yield trace, start_ns, inside, others

    @pytest.mark.parametrize("size", [1, 4])
    def test_edf_serves_the_earliest_deadlines(self, size):
        crowded = 0
        objective = np.array([50, 120]) * MS
        for trace, _, inside, others in self.starts(Edf(size, slo_ns=objective)):
            deadline_ns = trace.arrival_ns + objective[trace.tier]
            if others.any():
                crowded += 1
                assert deadline_ns[inside].max() <= deadline_ns[others].min()
        assert crowded > 50

    def test_ageing_serves_the_greatest_urgency(self):
        crowded = 0
        rates = np.array([1.0, 0.4])
        for trace, start_ns, inside, others in self.starts(Ageing(rates, np.array([2]))):
            urgency = (start_ns - trace.arrival_ns) * rates[trace.tier]
            if others.any():
                crowded += 1
                assert urgency[inside].max() >= urgency[others].max()
        assert crowded > 50

    def test_priority_serves_the_most_urgent_tier_alone(self):
        crowded = 0
        for trace, _, inside, others in self.starts(Priority(np.array([2]))):
            if others.any():
                crowded += 1
                assert trace.tier[inside].max() <= trace.tier[others].min()
        assert crowded > 50

    def test_priority_fill_leaves_nobody_more_urgent_behind(self):
        crowded = mixed_batches = 0
        for trace, _, inside, others in self.starts(PriorityFill(4)):
            mixed_batches += len(set(trace.tier[inside])) > 1
            if others.any():
                crowded += 1
                assert trace.tier[inside].max() <= trace.tier[others].min()
                assert inside.sum() == 4
        assert crowded > 50
        assert mixed_batches > 50


def one_tier(seed):
    """A random system of one tier, and a batch size, a wait and boundaries that fit it."""
    run = random_run(seed)
    workload = run.workload
    single = Workload(
        **{**vars(workload), "tier": np.zeros(0, np.int8), "tiers": (Tier("all", slo_ns=9 * MS),)}
    )
    service = Service(**{**vars(run.service), "service_ns": run.service.service_ns[:1]})
    if service.noise.draws.shape[0] > 1:
        draws = service.noise.draws[:1].copy()
        service = Service(
            **{
                **vars(service),
                "noise": type(service.noise)(
                    draws, service.noise.quantiles, service.noise.class_of_size
                ),
            }
        )
    size = 1 + seed % service.largest_batch
    return single, service, size, seed % 5 * MS


SAME = {
    "priority": lambda size, wait: (
        Priority(np.array([size]), np.array([wait])), SizeOrTimeout(size, wait)
    ),
    "priority_fill": lambda size, wait: (PriorityFill(size, wait), SizeOrTimeout(size, wait)),
    "headroom": lambda size, wait: (Headroom(0, max_batch_size=np.array([size])), Greedy(size)),
    "weighted_fair": lambda size, wait: (
        WeightedFair(max_batch_size=np.array([size]), max_wait_ns=np.array([wait])),
        SizeOrTimeout(size, wait),
    ),
    "ageing": lambda size, wait: (
        Ageing(max_batch_size=np.array([size]), max_wait_ns=np.array([wait])),
        SizeOrTimeout(size, wait),
    ),
    "edf": lambda size, wait: (Edf(size, wait), SizeOrTimeout(size, wait)),
    "shortest_first": lambda size, wait: (
        ShortestFirst(7 * MS, size, wait, length_lanes=1), SizeOrTimeout(size, wait)
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME.keys())
def test_with_a_single_tier_and_bucket_a_rule_is_the_one_without_tiers(pair):
    for seed in range(40):
        workload, service, size, wait_ns = one_tier(seed)
        one, other = pair(size, wait_ns)
        found = differences(
            kernel.run(one, workload, service), kernel.run(other, workload, service)
        )
        assert found == [], seed


BUCKETED = {
    "priority": Priority,
    "weighted_fair": WeightedFair,
    "ageing": Ageing,
}


@pytest.mark.parametrize("kind", BUCKETED.values(), ids=BUCKETED.keys())
def test_with_a_single_tier_buckets_are_those_of_length_bucketed(kind):
    boundaries = np.array([30, 60, 90])
    for seed in range(40):
        workload, service, size, wait_ns = one_tier(seed)
        numbers = {"max_batch_size": np.array([size]), "max_wait_ns": np.array([wait_ns])}
        one = kernel.run(kind(boundaries=boundaries, **numbers), workload, service)
        other = kernel.run(LengthBucketed(boundaries, **numbers), workload, service)
        assert differences(one, other) == [], seed


def test_equal_rates_are_first_come_first_served():
    workload = mixed(8, 60.0, offline_per_s=60.0)
    one = run(Ageing(np.array([0.3, 0.3]), np.array([1])), workload)
    other = run(Greedy(1), workload)
    assert set(differences(one, other)) == {"lane", "batch_lane"}
    assert set(differences(run(Ageing(max_batch_size=np.array([1])), workload), other)) > {"lane"}


def test_buckets_that_nothing_reaches_change_nothing():
    far = np.array([1000, 2000])
    for policy in (
        Priority(np.array([4])), PriorityFill(4), Headroom(14 * MS), WeightedFair(), Ageing(),
        Edf(4),
    ):  # fmt: skip
        workload = mixed(9, 100.0, 500)
        one, other = run(policy, workload), run(policy._replace(boundaries=far), workload)
        assert set(differences(one, other)) <= {"lane", "batch_lane"}, policy
