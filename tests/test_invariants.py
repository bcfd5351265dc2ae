"""What holds for every rule and every workload, run by run."""

from dataclasses import replace

import numpy as np
import pytest
from oracle_runs import StrictPriority
from random_runs import MS, differences, random_run

from policies import POLICIES, Greedy, LengthBucketed, NearestLengths, SizeOrTimeout, Static
from policies.contract import NEVER, Tier
from sim import kernel
from sim.service import Idling, Noise

DIVISIBLE = 27_720
"""Least common multiple of 1 to 12: rules that divide a time by a batch size divide it exactly."""

SEEDS = range(24)

TIERED = {"priority", "priority_fill", "headroom", "weighted_fair", "ageing", "edf"}
"""Rules with a lane for each tier, whatever its objective."""


@pytest.mark.parametrize("kind", POLICIES)
def test_every_trace_keeps_all_invariants(kind):
    for seed in range(500, 560):
        run = random_run(seed, kind)
        kernel.run(*run).check(run.service, run.workload)


def times(value, factor):
    """A time or an array of times, NEVER excepted."""
    if isinstance(value, np.ndarray):
        never = value == NEVER
        return np.where(never, NEVER, np.where(never, 0, value) * factor)
    return value if value == NEVER else value * factor


def scaled(run, factor):
    """The same run with every time multiplied, and noise that keeps whole numbers whole."""
    policy, workload, service = run
    policy = policy._replace(
        **{
            name: times(getattr(policy, name), factor)
            for name in policy._fields
            if name.endswith("_ns")
        }
    )
    closed = workload.closed
    workload = replace(
        workload,
        # only measured lengths: between them times are interpolated, and rounded
        length=service.length_edges[workload.length % len(service.length_edges)].astype(np.int32),
        arrival_ns=workload.arrival_ns * factor,
        timeout_ns=times(workload.timeout_ns, factor),
        closed=closed and replace(closed, think_ns=closed.think_ns * factor),
        tiers=tuple(tier._replace(slo_ns=times(tier.slo_ns, factor)) for tier in workload.tiers),
    )
    draws = np.float32([0.5, 1.0, 2.0])[np.arange(7) % 3]
    noise = Noise(np.tile(draws, (len(service.service_ns), service.servers, 1)))
    times_ns = service.service_ns * factor
    calm = replace(service, service_ns=times_ns, noise=noise, idling=Idling())
    return policy, workload, calm


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "cork"])  # it has a clock
def test_doubling_every_time_doubles_every_latency(kind):
    for seed in SEEDS:
        run = random_run(seed, kind)
        once = kernel.run(*scaled(run, DIVISIBLE))
        twice = kernel.run(*scaled(run, 2 * DIVISIBLE))
        assert differences(doubled(once), twice) == [], seed


def doubled(trace):
    """A trace with all instants doubled."""
    names = ("arrival_ns", "start_ns", "finish_ns", "batch_start_ns", "batch_finish_ns")
    names += ("batch_formed_ns",)
    columns = {name: getattr(trace, name) for name in names}
    return replace(trace, **{name: np.where(at < 0, at, 2 * at) for name, at in columns.items()})


@pytest.mark.parametrize(
    "kind",
    [kind for kind in POLICIES if kind != "collection_window"],  # windows begin at 0
)
def test_shifting_the_arrivals_changes_nothing_else(kind):
    shift_ns = 123_456_789
    seen = 0
    for seed in SEEDS:
        policy, workload, service = random_run(seed, kind)
        service = replace(service, idling=Idling())  # at first it is idle since instant 0
        if workload.closed is not None:
            continue
        seen += 1
        later = replace(workload, arrival_ns=workload.arrival_ns + shift_ns)
        one, other = kernel.run(policy, workload, service), kernel.run(policy, later, service)
        assert np.array_equal(one.batch, other.batch)
        for name in ("start_ns", "finish_ns"):
            at = getattr(one, name)
            assert np.array_equal(np.where(at < 0, at, at + shift_ns), getattr(other, name)), seed
    assert seen > 10


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind not in TIERED])
def test_tiers_that_differ_in_nothing_are_one_tier(kind):
    for seed in SEEDS:
        policy, workload, service = random_run(seed, kind)
        service = replace(service, service_ns=service.service_ns[:1])
        slo_ns = workload.tiers[0].slo_ns
        equal = replace(workload, tiers=tuple(Tier(t.name, slo_ns) for t in workload.tiers))
        single = replace(workload, tier=np.zeros(0, dtype=np.int8), tiers=(Tier("all", slo_ns),))
        found = differences(kernel.run(policy, equal, service), kernel.run(policy, single, service))
        assert set(found) <= {"tier"}, seed


def sized(seed):
    """A random system, and a batch size and a wait that fit it."""
    _, workload, service = random_run(seed)
    size = 1 + seed % service.largest_batch
    return workload, service, size, seed % 7 * MS


SAME = {
    "no wait is greedy": lambda size, wait: (SizeOrTimeout(size, 0), Greedy(size)),
    "a minimum of one is greedy": lambda size, wait: (SizeOrTimeout(size, wait, 1), Greedy(size)),
    "no timer is static": lambda size, wait: (SizeOrTimeout(size, NEVER), Static(size)),
    "one bucket is unbucketed": lambda size, wait: (
        LengthBucketed(max_batch_size=np.array([size]), max_wait_ns=np.array([wait])),
        SizeOrTimeout(size, wait),
    ),
    "one lane of lengths is unbucketed": lambda size, wait: (
        NearestLengths(size, wait, length_lanes=1),
        SizeOrTimeout(size, wait),
    ),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME.keys())
def test_two_rules_give_one_trace(pair):
    for seed in range(60):
        workload, service, size, wait_ns = sized(seed)
        one, other = pair(size, wait_ns)
        assert (
            differences(kernel.run(one, workload, service), kernel.run(other, workload, service))
            == []
        ), seed


def test_two_rules_that_differ_give_two_traces():
    different = 0
    for seed in range(60):
        workload, service, size, wait_ns = sized(seed)
        one, other = SizeOrTimeout(size, wait_ns), Greedy(size)
        different += bool(
            differences(kernel.run(one, workload, service), kernel.run(other, workload, service))
        )
    assert different > 20


def test_equal_priorities_are_first_come_first_served():
    for seed in range(30):
        _, workload, service = random_run(seed)
        last = len(workload.tiers) - 1
        equal = replace(workload, tier=np.full(len(workload), last, dtype=np.int8))
        one = kernel.run(StrictPriority(last + 1), equal, service)
        assert set(differences(one, kernel.run(Greedy(1), equal, service))) <= {
            "lane",
            "batch_lane",
        }


def idle_beside_waiting(trace):
    """Instants after whose events a server is idle although a request waits."""
    kept = trace.lane >= 0
    left = np.where(trace.start_ns < 0, trace.finish_ns, trace.start_ns)[kept]
    left = np.where(left < 0, NEVER, left)
    instants = np.unique(np.concatenate([trace.arrival_ns, trace.batch_finish_ns]))

    def count(events):
        return np.searchsorted(np.sort(events), instants, side="right")

    waiting = count(trace.arrival_ns[kept]) - count(left)
    busy = count(trace.batch_start_ns) - count(trace.batch_finish_ns)
    return instants[(waiting > 0) & (busy < trace.servers)]


@pytest.mark.parametrize("kind", ["greedy", "snap", "balanced_cap"])
def test_no_server_is_idle_beside_a_waiting_request_under_rules_that_never_wait(kind):
    for seed in range(100):
        trace = kernel.run(*random_run(seed, kind))
        assert idle_beside_waiting(trace).size == 0, seed


def test_a_rule_that_waits_leaves_a_server_idle():
    lazy = [idle_beside_waiting(kernel.run(*random_run(s, "size_or_timeout"))) for s in range(40)]
    assert sum(instants.size > 0 for instants in lazy) > 10


def test_nobody_is_served_faster_than_alone_without_noise():
    for seed in range(60):
        policy, workload, service = random_run(seed)
        quiet = replace(service, noise=Noise())
        trace = kernel.run(policy, workload, quiet)
        served = trace.batch >= 0
        fastest = service.service_ns.min()
        assert ((trace.finish_ns - trace.arrival_ns)[served] >= fastest).all()
