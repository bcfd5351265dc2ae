"""Batches that are formed before a server is free: by hand, by theory, and in every driver."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS, random_run

from policies import Greedy, SealedBatches, TokenBudgetAhead
from policies.contract import NEVER, PolicyError, fire
from sim import kernel, live, model
from sim.metrics import measure
from sim.service import Service
from sim.service_times import DrawnTimes
from sim.stability import assess
from sim.theory import MDc
from sim.trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from sim.virtual import VirtualWorld
from sim.workload import Workload


def lived(policy, workload, service):
    return live.run(policy, workload, service, VirtualWorld(workload, DrawnTimes(service)))


drivers = pytest.mark.parametrize("run", [kernel.run, model.run, lived])


def service_of(*times_ms, **more):
    table = np.array([[[round(time * MS)] for time in times_ms]])
    return Service(table, np.array([1]), **more)


def requests(*arrival_ms, **more):
    arrival_ns = (np.array(arrival_ms) * MS).astype(np.int64)
    return Workload(np.ones(len(arrival_ms), dtype=np.int32), arrival_ns, **more)


def poisson(rate_per_s, count, seed):
    gaps = np.random.default_rng(seed).exponential(1e9 / rate_per_s, count)
    return Workload(np.ones(count, dtype=np.int32), gaps.cumsum().astype(np.int64))


def in_ms(instants_ns):
    return (instants_ns / MS).tolist()


FIVE = service_of(*[10] * 5)
"""Batches of up to 5, each of 10 ms."""


@drivers
def test_a_batch_that_is_sealed_while_the_server_is_busy_never_grows(run):
    policy = SealedBatches(max_batch_size=4, max_wait_ns=2 * MS)
    trace = run(policy, requests(0, 3, 4, 5.5, 9), FIVE)
    assert trace.batch_size.tolist() == [1, 2, 1, 1]
    assert in_ms(trace.batch_formed_ns) == [2, 5, 7.5, 11]
    assert in_ms(trace.batch_start_ns) == [2, 12, 22, 32]
    trace.check(FIVE, requests(0, 3, 4, 5.5, 9))


@drivers
def test_sealed_batches_go_to_whichever_server_is_free_first(run):
    two = replace(FIVE, servers=2)
    trace = run(SealedBatches(), requests(0, 1, 2, 3, 4), two)
    assert trace.server.tolist() == [0, 1, 0, 1, 0]
    assert in_ms(trace.start_ns) == [0, 1, 10, 11, 20]
    assert in_ms(trace.batch_formed_ns) == [0, 1, 2, 3, 4]


@drivers
def test_a_full_batch_is_sealed_at_once_and_the_rest_begins_a_new_timer(run):
    policy = SealedBatches(max_batch_size=2, max_wait_ns=5 * MS)
    trace = run(policy, requests(0, 0, 1, 1, 1), FIVE)
    assert trace.batch.tolist() == [0, 0, 1, 1, 2]
    assert in_ms(trace.batch_formed_ns) == [0, 1, 6]


@drivers
def test_one_batch_ahead_is_sealed_with_who_is_there_when_a_server_takes_the_last(run):
    trace = run(TokenBudgetAhead(5), requests(0, 1, 2, 3, 4), FIVE)
    assert trace.batch.tolist() == [0, 1, 2, 2, 2]  # request 1 alone: nobody else had come
    assert in_ms(trace.batch_formed_ns) == [0, 1, 10]
    assert in_ms(trace.batch_start_ns) == [0, 10, 20]


@drivers
def test_who_is_sealed_gives_up_no_more_but_waits_all_the_same(run):
    patience = np.array([3, 3, 3, 3]) * MS
    workload = requests(0, 1, 2, 3, timeout_ns=patience)
    trace = run(TokenBudgetAhead(5), workload, FIVE)
    assert trace.status.tolist() == [SERVED, SERVED, EXPIRED, EXPIRED]
    assert in_ms(trace.start_ns)[:2] == [0, 10]
    trace.check(FIVE, workload)
    with pytest.raises(
        AssertionError, match=r"^invariant 13, request 1: a served request starts, "
    ):
        replace(trace, batch_formed_ns=trace.batch_start_ns).check(FIVE, workload)


@drivers
def test_sealed_requests_count_as_waiting_where_waiting_is_limited(run):
    small = replace(FIVE, capacity=2)
    trace = run(SealedBatches(), requests(0, 1, 2, 3), small)
    assert trace.status.tolist() == [SERVED, SERVED, SERVED, REJECTED]
    trace.check(small, requests(0, 1, 2, 3))


@drivers
def test_a_limit_of_ongoing_requests_keeps_the_others_outside(run):
    policy = SealedBatches(max_batch_size=4, max_wait_ns=3 * MS, max_ongoing_requests=2)
    trace = run(policy, requests(0, 1, 2, 2, 2), FIVE)
    # two run from 3 to 13; two more are taken then and sealed at 16, as the last one at 29
    assert trace.batch.tolist() == [0, 0, 1, 1, 2]
    assert in_ms(trace.batch_formed_ns) == [3, 16, 29]


def test_a_limit_below_the_batch_size_never_fills_a_batch():
    policy = SealedBatches(max_batch_size=5, max_wait_ns=50 * MS, max_ongoing_requests=3)
    trace = kernel.run(policy, poisson(1000, 2000, 1), FIVE)
    assert trace.batch_size.max() == 3


@drivers
def test_a_run_that_ends_leaves_what_is_sealed_unfinished(run):
    workload = requests(0, 1, 2, until_ns=5 * MS)
    trace = run(SealedBatches(), workload, FIVE)
    assert trace.status.tolist() == [SERVED, UNFINISHED, UNFINISHED]
    assert trace.batch.tolist() == [0, -1, -1]


class SealsNothingThere(SealedBatches):
    """Fires one more than wait while every server is busy."""

    def decide(self, view):
        return fire(view, 0, view.waiting[0] + (view.server < 0))


@drivers
def test_a_rule_that_seals_more_than_wait_is_blamed(run):
    with pytest.raises(PolicyError, match=r"fired more requests than wait .* at 1000000 ns"):
        run(SealsNothingThere(), requests(0, 1), FIVE)


class EverybodyAhead(SealedBatches):
    """Fires all that wait, at once."""

    def decide(self, view):
        return fire(view, 0, view.waiting[0])


@drivers
def test_a_rule_that_seals_is_not_asked_while_nobody_waits(run):
    trace = run(EverybodyAhead(), requests(0, 1, 2, 3, 30), FIVE)
    assert trace.batch_size.tolist() == [1, 1, 1, 1, 1]


class AsksWhoIsIdle(Greedy):
    """Serves one, and keeps in mind that it was asked about a busy server: it never is."""

    def decide(self, view):
        return fire(view, 0, 1 if view.server >= 0 and view.idle_servers > 0 else 99)


@drivers
def test_rules_that_do_not_seal_are_asked_about_idle_servers_alone(run):
    trace = run(AsksWhoIsIdle(), requests(*range(30)), replace(FIVE, servers=2))
    assert (trace.batch_formed_ns == trace.batch_start_ns).all()


def test_without_a_wait_sealed_batches_are_single_requests_in_one_queue_for_all():
    """M/D/1 in the mean of a million requests, and a rule whose batches grow is none.

    The standard error of the mean, from batches of 10,000 waits, is below 0.5 %; 4 of them are
    allowed, which a sound driver exceeds once in 15,000 seeds.
    """
    workload, one = poisson(100.0, 1_000_000, 3), service_of(7, 7, 7, 7)
    exact = MDc(0.1, 7.0).mean_wait
    for policy, agrees in ((SealedBatches(), True), (Greedy(), False)):
        trace = kernel.run(policy, workload, one)
        wait_ms = (trace.start_ns - trace.arrival_ns) / MS
        error = wait_ms.reshape(100, -1).mean(axis=1).std(ddof=1) / 10
        assert bool(abs(wait_ms.mean() - exact) < 4 * error) == agrees
        assert error < 0.02 * exact


def test_where_sealed_batches_become_unstable_is_a_matter_of_the_rate_not_of_the_backlog():
    service = service_of(*(5 + 0.5 * size for size in range(1, 9)))
    alone, waiting = SealedBatches(), SealedBatches(0, 10 * MS)
    below, above = poisson(170.0, 20_000, 5), poisson(200.0, 20_000, 5)
    assert assess(alone, below, service, kernel.run).stable
    found = assess(alone, above, service, kernel.run)
    assert not found.stable
    assert found.saturation_per_s == pytest.approx(1000 / 5.5, rel=1e-3)
    assert assess(waiting, above, service, kernel.run).stable
    assert assess(Greedy(), above, service, kernel.run).stable


def test_a_replica_that_fails_gives_its_sealed_batches_back():
    dropped = 0
    for seed in range(80):
        run = random_run(seed, "sealed_batches", 60, router="least_loaded", scaler="none")
        if not run.service.grouping.own_queues:
            continue
        trace = kernel.run(*run)
        assert trace.equals(model.run(*run))
        dropped += int(trace.changes.failed.sum())
    assert dropped > 20


def test_a_saved_trace_has_the_instants_at_which_batches_were_formed(tmp_path):
    trace = kernel.run(SealedBatches(), requests(0, 1, 2), FIVE)
    loaded = Trace.load(trace.save(tmp_path, "csv"))
    assert loaded.equals(trace)
    assert in_ms(loaded.batch_formed_ns) == [0, 1, 2]


def test_a_trace_that_was_saved_before_batches_could_be_sealed_is_read(tmp_path):
    trace = kernel.run(Greedy(), requests(0, 1, 2), FIVE)
    table = trace.save(tmp_path, "csv") / "batches.csv"
    rows = [line.rsplit(",", 1)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(rows) + "\n")
    assert Trace.load(tmp_path).equals(trace)


@pytest.mark.parametrize(
    ("shift_ms", "sentence"),
    [
        (10, r"^invariant 7, batch 1: 0 <= formed <= start must hold"),
        (-1, r"^invariant 7, request 1: arrival <= formed must hold"),
    ],
)
def test_a_batch_that_is_formed_at_no_possible_instant_is_found(shift_ms, sentence):
    trace = kernel.run(SealedBatches(), requests(0, 1, 2), FIVE)
    formed_ns = trace.batch_formed_ns + np.array([0, shift_ms, 0]) * MS
    with pytest.raises(AssertionError, match=sentence):
        replace(trace, batch_formed_ns=formed_ns).check()


def test_the_wait_has_two_parts_where_batches_were_sealed():
    workload, one = poisson(300.0, 20_000, 6), service_of(*(5 + 0.5 * k for k in range(1, 9)))
    trace = kernel.run(SealedBatches(0, 4 * MS), workload, one)
    found = measure(trace, one).overall
    means = [getattr(found, name)["mean"].value for name in ("forming_ms", "sealed_ms", "wait_ms")]
    assert means[0] + means[1] == pytest.approx(means[2], rel=1e-12)
    assert 0 < means[0] < 4 < means[2]
    assert found.to_json()["sealed_ms"]["mean"]["value"] == means[1]
    assert "forming_ms.p50" in found.estimates()
    plain = measure(kernel.run(Greedy(), workload, one), one).overall
    assert plain.forming_ms is plain.sealed_ms is None
    assert "sealed_ms" not in plain.to_json()


def test_any_number_of_batches_may_be_sealed_only_where_the_rule_says_so():
    trace = kernel.run(SealedBatches(), requests(*range(20)), FIVE)
    ahead = kernel.run(TokenBudgetAhead(1), requests(*range(20)), FIVE)
    assert sealed_at_once(trace) == 18
    assert sealed_at_once(ahead) == 1
    assert SealedBatches().seals == NEVER


def sealed_at_once(trace):
    """The most batches that were formed and had not begun, between two instants."""
    instants = np.unique(np.concatenate([trace.batch_formed_ns, trace.batch_start_ns]))
    formed = np.searchsorted(np.sort(trace.batch_formed_ns), instants, side="right")
    return int((formed - np.searchsorted(trace.batch_start_ns, instants, side="right")).max())
