"""Recorded service times: what a replay makes of a run, exactly or with a slowdown that is lent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from windows_by_hand import LENGTHS, device, true_ns, workload_at

from policies.contract import Tier
from policies.greedy import Greedy
from policies.length_bucketed import LengthBucketed
from policies.size_or_timeout import SizeOrTimeout
from sim import model
from sim.recorded import RecordedTimes, members_of, profile_ns
from sim.service import Noise
from sim.service_times import Batch
from sim.workload import ClosedLoop, Workload

PATIENT = SizeOrTimeout(max_batch_size=4, max_wait_ns=3_000_000)
BUCKETS = LengthBucketed(
    boundaries=np.array([32]), max_batch_size=np.array([8, 4]), max_wait_ns=np.array([2_000_000])
)


def quiet(service):
    """What a profile knows: the same service without noise."""
    return replace(service, noise=Noise())


def replay(policy, workload, service):
    """A noisy run, and its replay."""
    live = model.run(policy, workload, service)
    times = RecordedTimes(live, quiet(service))
    return live, model.run(policy, workload, quiet(service), times=times), times


@pytest.mark.parametrize("policy", [Greedy(max_batch_size=8), PATIENT, BUCKETS])
@pytest.mark.parametrize("servers", [1, 3])
def test_the_replay_of_a_simulated_run_is_that_run(policy, servers):
    workload = workload_at(0.5 * servers, 400)
    live, again, times = replay(policy, workload, device(7, servers=servers))
    assert again.equals(live)
    assert times.found_share == 1.0
    assert not model.run(policy, workload, quiet(device(7, servers=servers))).equals(live)


def test_the_replay_of_a_closed_loop_is_that_loop():
    rng = np.random.default_rng(3)
    think_ns = rng.integers(1, 9_000_000, (6, 40))
    length = rng.choice(LENGTHS, 200).astype(np.int32)
    workload = Workload(length=length, closed=ClosedLoop(think_ns))
    live, again, _ = replay(PATIENT, workload, device(8))
    assert again.equals(live)


def test_patience_and_a_full_queue_are_replayed_too():
    workload = workload_at(1.5, 300)
    workload = replace(workload, timeout_ns=np.full(300, 9_000_000))
    live, again, _ = replay(PATIENT, workload, replace(device(9), capacity=15))
    assert again.equals(live)
    assert {0, 1, 2} <= set(live.status.tolist())


def test_tiers_with_models_of_their_own_are_charged_the_largest():
    slow = device(1)
    both = replace(quiet(slow), service_ns=np.concatenate([slow.service_ns, 3 * slow.service_ns]))
    workload = replace(
        workload_at(0.2, 50),
        tier=np.arange(50, dtype=np.int8) % 2,
        tiers=(Tier("first"), Tier("second")),
    )
    live = model.run(Greedy(max_batch_size=8), workload, both)
    assert np.array_equal(profile_ns(live, both), live.batch_finish_ns - live.batch_start_ns)


def test_the_members_of_a_batch_are_the_requests_that_name_it():
    live = model.run(BUCKETS, workload_at(0.5, 60), device(2))
    assert [len(one) for one in members_of(live)] == live.batch_size.tolist()
    assert all((live.batch[list(ids)] == k).all() for k, ids in enumerate(members_of(live)))


# what no recorded batch was


def run_of(*batches):
    """A run of batches given as (start, slowdown, size, server); its ids count up."""
    live = model.run(Greedy(max_batch_size=8), workload_at(0.3, 10), device(1))
    start, slowdown, size, server = (np.array(column) for column in zip(*batches, strict=True))
    took = np.array([round(s * true_ns(k, 32)) for s, k in zip(slowdown, size, strict=True)])
    count = int(size.sum())
    per_request = {"length": 32, "tier": 0, "lane": 0, "server": 0, "status": 0}
    return replace(
        live,
        arrival_ns=np.zeros(count, dtype=np.int64),
        start_ns=np.repeat(start, size),
        finish_ns=np.repeat(start + took, size),
        batch=np.repeat(np.arange(len(size)), size),
        **{name: np.full(count, value) for name, value in per_request.items()},
        batch_start_ns=start,
        batch_finish_ns=start + took,
        batch_size=size,
        batch_longest=np.full(len(size), 32),
        batch_lane=np.zeros(len(size), dtype=np.int64),
        batch_server=server,
    )


def asked(trace, start_ns, size, server=0, longest=128):
    """What a batch that nobody recorded takes, over the profile's time."""
    usual = true_ns(size, longest)
    members = tuple(range(1000, 1000 + size))
    batch = Batch(0, server, 0, members, longest, 0, (0,), start_ns, usual)
    return RecordedTimes(trace, quiet(device(1)))(batch) / usual


def test_an_unknown_batch_takes_the_slowdown_of_the_nearest_in_time():
    trace = run_of((0, 1.1, 2, 0), (100, 1.3, 2, 0), (1000, 1.6, 2, 0))
    found = [asked(trace, start_ns, 2) for start_ns in (-9, 40, 60, 549, 551, 10_000)]
    assert found == pytest.approx([1.1, 1.1, 1.3, 1.3, 1.6, 1.6], abs=1e-6)


def test_of_two_equally_near_the_earlier_lends():
    trace = run_of((0, 1.1, 2, 0), (100, 1.3, 2, 0))
    assert asked(trace, 50, 2) == pytest.approx(1.1, abs=1e-6)


def test_a_farther_batch_of_the_same_class_of_sizes_lends_before_a_nearer_of_another():
    trace = run_of((0, 1.1, 1, 0), (100, 2.0, 8, 0))
    assert asked(trace, 100, 3) == pytest.approx(1.1, abs=1e-6)
    assert asked(trace, 0, 5) == pytest.approx(2.0, abs=1e-6)


def test_the_same_server_lends_before_another_and_another_before_another_class():
    trace = run_of((0, 1.1, 2, 0), (100, 1.5, 2, 1), (110, 3.0, 8, 2))
    assert asked(trace, 100, 2, server=0) == pytest.approx(1.1, abs=1e-6)
    assert asked(trace, 100, 2, server=1) == pytest.approx(1.5, abs=1e-6)
    assert asked(trace, 110, 2, server=2) == pytest.approx(1.5, abs=1e-6)


def test_any_batch_lends_where_none_is_of_the_class():
    trace = run_of((0, 1.1, 1, 0), (100, 1.7, 2, 1))
    assert asked(trace, 90, 8) == pytest.approx(1.7, abs=1e-6)


def test_a_replay_counts_what_it_found():
    trace = run_of((0, 1.1, 2, 0), (100, 1.3, 1, 0))
    times = RecordedTimes(trace, quiet(device(1)))
    assert times.found_share == 0.0
    times(Batch(0, 0, 0, (1, 0), 32, 0, (0,), 5, true_ns(2, 32)))
    times(Batch(1, 0, 1, (7,), 32, 0, (0,), 5, true_ns(1, 32)))
    assert (times.asked, times.found, times.found_share) == (2, 1, 0.5)


def test_a_run_without_batches_has_nothing_to_replay():
    live = model.run(Greedy(max_batch_size=8), workload_at(0.3, 10), replace(device(1), capacity=0))
    with pytest.raises(
        ValueError, match=r"^the recorded run made no batch, so that it has no times to replay$"
    ):
        RecordedTimes(live, quiet(device(1)))
