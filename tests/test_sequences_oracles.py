"""Sequences where the answer is known: what queueing theory says, or an ordinary rule."""

from dataclasses import replace

import numpy as np
import pytest
from random_sequences import random_sequences, random_workload

from policies import SequenceDirect, SequenceOldest, SizeOrTimeout
from sim import kernel
from sim.arrivals import Poisson
from sim.pmf import LengthPmf
from sim.sections import cut
from sim.sequence_arrivals import InSequences
from sim.sequence_measures import measure_sequences
from sim.sequences import Sequences, at_pace, ended
from sim.service import Service
from sim.stability import assess, saturation_per_s
from sim.workload import Workload

MS = 1_000_000
HOUR_NS = 3600 * 10**9


def service(*times_ms, servers=1):
    return Service(np.array([[[round(ms * MS)] for ms in times_ms]]), np.array([1]), servers)


def workload(arrival_ns, of, ends):
    length = np.ones(len(arrival_ns), dtype=np.int32)
    known = Sequences(np.asarray(of, dtype=np.int32), np.asarray(ends, dtype=np.int8))
    return Workload(length, np.asarray(arrival_ns, dtype=np.int64), sequences=known)


def one_each(seed, requests=2_000, mean_ms=1.0, ends=0):
    """Sequences of one request, which by default do not say that it is the last."""
    rng = np.random.default_rng(seed)
    arrival_ns = (rng.exponential(mean_ms * MS, requests).cumsum()).astype(np.int64)
    return workload(arrival_ns, np.arange(requests), np.full(requests, ends))


@pytest.mark.parametrize("rule", [SequenceDirect(1), SequenceOldest(1, max_candidates=1)])
def test_one_paced_sequence_is_a_queue_with_equal_gaps_and_times(rule):
    """D/D/1 below its capacity: nobody waits; above it the k-th waits k times the difference."""
    for gap_ms, wait_ms in ((7, 0), (3, 2)):
        arrival_ns = np.arange(1, 201) * gap_ms * MS
        ends = np.arange(200) == 199
        trace = kernel.run(rule, workload(arrival_ns, np.zeros(200), ends), service(5))
        assert ((trace.start_ns - arrival_ns) == np.arange(200) * wait_ms * MS).all()


def test_candidates_without_limit_of_one_request_each_are_an_ordinary_batcher():
    """A rule that waits takes the same batches as ``size_or_timeout``, request for request.

    Nobody becomes ready because a batch ends, so that forming it ahead changes nothing.
    """
    served = service(2, 2.5, 3, 3.5)
    for seed in range(30):
        drawn = one_each(seed)
        sticky = SequenceOldest(4, 3 * MS, max_candidates=2_000, max_idle_ns=HOUR_NS)
        one = kernel.run(sticky, drawn, served)
        other = kernel.run(SizeOrTimeout(4, 3 * MS), replace(drawn, sequences=None), served)
        assert np.array_equal(one.start_ns, other.start_ns), seed
        assert np.array_equal(one.batch, other.batch), seed


def test_the_slot_of_a_sequence_that_ends_is_free_though_its_request_still_waits():
    """As on the real server (recorded): the second takes the slot of the first, and its turn."""
    drawn = workload([0, MS // 10, MS // 5], [0, 1, 2], [1, 1, 1])
    rule = SequenceOldest(4, 3 * MS, max_candidates=9)
    trace = kernel.run(rule, drawn, service(2, 2.5, 3, 3.5))
    assert trace.sequences.slot.tolist() == [0, 0, 1]
    assert trace.batch.tolist() == [0, 1, 0]
    open_still = workload([0, MS // 10, MS // 5], [0, 1, 2], [0, 0, 0])
    apart = kernel.run(rule, open_still, service(2, 2.5, 3, 3.5))
    assert apart.batch.tolist() == [0, 0, 0]


def test_few_candidates_are_not_an_ordinary_batcher():
    drawn, served = one_each(1), service(2, 2.5, 3, 3.5)
    one = kernel.run(SequenceOldest(4, 3 * MS, max_candidates=2), drawn, served)
    other = kernel.run(SizeOrTimeout(4, 3 * MS), replace(drawn, sequences=None), served)
    assert not np.array_equal(one.start_ns, other.start_ns)


def test_one_slot_serves_whole_sequences_first_come_first_served():
    """As a FIFO queue whose services are whole sequences: all requests of one, then the next."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 9, 400)
    starts = rng.exponential(25 * MS, 400).cumsum().astype(np.int64)
    of = np.repeat(np.arange(400), sizes)
    ends = np.append(of[1:] != of[:-1], True)
    trace = kernel.run(
        SequenceDirect(1, max_idle_ns=HOUR_NS), workload(starts[of], of, ends), service(4)
    )
    first = np.cumsum(sizes) - sizes
    begin = np.zeros(400, dtype=np.int64)
    free = 0
    for k in range(400):
        begin[k] = max(starts[k], free)
        free = begin[k] + sizes[k] * 4 * MS
    assert np.array_equal(trace.start_ns[first], begin)
    assert (np.diff(trace.start_ns) > 0).all()


def test_the_wait_of_a_sequence_for_one_slot_is_pollaczeks_and_khinchines():
    """M/G/1: sequences of 1 or 5 requests of 4 ms that all come at once; mean wait in closed form.

    The interval is 4 standard errors of batch means; twice the load lies far outside.
    """
    rng = np.random.default_rng(8)
    count, load = 60_000, 0.6
    sizes = rng.choice([1, 5], count)
    mean_s, second = 4 * 3.0, 16 * 13.0
    starts = (rng.exponential(mean_s / load * MS, count).cumsum()).astype(np.int64)
    of = np.repeat(np.arange(count), sizes)
    ends = np.append(of[1:] != of[:-1], True)
    rule = SequenceDirect(1, max_idle_ns=HOUR_NS)
    trace = kernel.run(rule, workload(starts[of], of, ends), service(4))
    first = np.cumsum(sizes) - sizes
    waits = ((trace.start_ns - trace.arrival_ns)[first] / MS)[count // 10 :]
    means = np.array([part.mean() for part in np.array_split(waits, 30)])
    expected = load / mean_s * second / (2 * (1 - load))
    assert abs(means.mean() - expected) < 4 * means.std(ddof=1) / 30**0.5
    assert not abs(means.mean() - expected / 2) < 4 * means.std(ddof=1) / 30**0.5


@pytest.mark.parametrize("kind", ["sequence_direct", "sequence_oldest"])
def test_no_request_overtakes_one_of_its_own_sequence(kind):
    for seed in range(60):
        trace = kernel.run(*random_sequences(seed, kind))
        found = measure_sequences([trace], [cut(trace)])
        assert found.overtaking.value in (0.0, None), seed


def test_without_slots_requests_overtake():
    found = []
    for seed in range(60):
        run = random_sequences(seed, "size_or_timeout")
        trace = kernel.run(*run)
        found.append(measure_sequences([trace], [cut(trace)]).overtaking.value or 0.0)
    assert max(found) > 0.2


def streams(rate_per_s=2.0, size=20, **more):
    sizes = LengthPmf(np.array([size]), np.array([1.0]))
    return InSequences(Poisson(rate_per_s), sizes, 100 * MS, **more)


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))


class TestArrivals:
    """How requests of sequences come."""

    def test_a_longer_draw_begins_with_the_shorter(self):
        process = streams(gap_cv_inside=0.7, jitter_ns=30 * MS, without_end=0.2)
        long_ns, long = process.draw(generator(), 9_000)
        short_ns, short = process.draw(generator(), 2_000)
        assert np.array_equal(long_ns[:2_000], short_ns)
        assert np.array_equal(long.of[:2_000], short.of)

    def test_the_rate_is_that_of_the_requests(self):
        process = streams()
        arrival_ns, _ = process.draw(generator(), 200_000)
        assert process.rate_per_s == 40.0
        assert 200_000 / (arrival_ns[-1] / 1e9) == pytest.approx(40.0, rel=0.03)
        assert process.at_rate(80.0).starts.rate_per_s == 4.0

    def test_requests_of_a_sequence_keep_their_gaps_and_order(self):
        arrival_ns, known = streams(jitter_ns=40 * MS).draw(generator(), 5_000)
        for sequence in range(known.count):
            own = arrival_ns[known.of == sequence]
            gaps = np.diff(own)
            assert (gaps >= 60 * MS - 2).all()
            assert (gaps <= 140 * MS + 2).all()

    def test_sequences_are_numbered_as_they_begin_and_end_once(self):
        _, known = streams(without_end=0.3).draw(generator(), 20_000)
        _, first = np.unique(known.of, return_index=True)
        assert (np.diff(first) > 0).all()
        whole = np.bincount(known.of) == 20
        says = np.bincount(known.of, weights=known.ends)
        assert set(says) == {0.0, 1.0}
        assert says[whole].mean() == pytest.approx(0.7, abs=0.06)

    def test_what_a_run_cuts_off_ends_with_its_last_request(self):
        known = Sequences(np.array([0, 1, 0, 1], dtype=np.int32), np.array([0, 0, 1, 1], np.int8))
        assert ended(known, 3).ends.tolist() == [0, 1, 1]
        assert ended(known, 4).ends.tolist() == [0, 0, 1, 1]

    def test_at_another_pace_sequences_begin_faster_and_speak_as_fast(self):
        arrival_ns, known = streams().draw(generator(), 3_000)
        paced, again, order = at_pace(arrival_ns, known, 4.0)
        assert (np.diff(paced) >= 0).all()
        assert np.array_equal(known.of[order], again.of)
        for sequence in range(20):
            before, after = arrival_ns[known.of == sequence], paced[again.of == sequence]
            assert after[0] == round(before[0] / 4)
            assert np.array_equal(np.diff(before), np.diff(after))


class TestLimits:
    """What a rule with slots can serve."""

    def test_too_few_slots_make_sequences_wait_but_not_for_ever_longer(self):
        """Who waited long enough has everything ready, and needs its slot for a moment."""
        arrival_ns, known = streams(rate_per_s=3.0).draw(generator(), 40_000)
        drawn, served = workload(arrival_ns, known.of, known.ends), service(1, 1, 1, 1)
        few, many = SequenceOldest(4, max_candidates=4), SequenceOldest(4, max_candidates=40)
        assert all(assess(rule, drawn, served, kernel.run).stable for rule in (few, many))
        traces = [kernel.run(rule, drawn, served) for rule in (few, many)]
        found = [measure_sequences([trace], [cut(trace)]) for trace in traces]
        assert found[0].open.value == pytest.approx(3.0 * 1.9, rel=0.1)
        assert found[0].waited.value > 0.8
        assert found[1].waited.value == 0.0
        halves = np.array_split(traces[0].finish_ns - traces[0].arrival_ns, 2)
        assert halves[1].mean() < 1.5 * halves[0].mean()

    def test_a_batch_of_candidates_is_never_larger_than_they_are(self):
        arrival_ns, known = streams().draw(generator(), 2_000)
        drawn, served = workload(arrival_ns, known.of, known.ends), service(4, 4, 4, 4)
        for candidates, per_s in ((1, 250.0), (2, 250.0), (8, 1_000.0)):
            rule = SequenceOldest(4, max_candidates=candidates)
            found = saturation_per_s(rule, drawn, served, kernel.run)
            assert found == pytest.approx(per_s, rel=0.02), candidates

    def test_a_rule_that_cannot_keep_up_with_all_slots_busy_is_unstable(self):
        arrival_ns, known = streams(rate_per_s=20.0).draw(generator(), 20_000)
        drawn = workload(arrival_ns, known.of, known.ends)
        served = service(10, 10, 10, 10)
        assert not assess(SequenceDirect(2), drawn, served, kernel.run).stable
        assert assess(SequenceDirect(4), drawn, service(5, 5, 5, 5), kernel.run).stable


def test_no_server_has_more_sequences_at_a_time_than_slots():
    rng = np.random.default_rng(4)
    drawn = random_workload(rng, MS // 4, 400)
    rule = SequenceOldest(3, MS, max_candidates=2)
    times = kernel.run(rule, drawn, service(2, 3, 4, servers=2)).sequences
    for server in (0, 1):
        own = times.server == server
        edges = np.concatenate([times.seated_ns[own], times.freed_ns[own]])
        steps = np.repeat([1, -1], own.sum())
        order = np.lexsort((steps, edges))
        assert np.cumsum(steps[order]).max() <= 2
