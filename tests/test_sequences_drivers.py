"""The drivers give the same trace of sequences, request for request, and keep its invariants."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import differences
from random_sequences import random_sequences

from policies import SequenceDirect, SequenceOldest
from policies.contract import NEVER
from sim import kernel, live, model
from sim.errors import WorkloadError
from sim.sections import Sections
from sim.sequences import SEQUENCE_COLUMNS, SLOT_COLUMNS, Sequences
from sim.service import Service
from sim.service_times import DrawnTimes
from sim.stages import Stage, Stages
from sim.tally import tally
from sim.trace import REJECTED, Trace
from sim.virtual import VirtualWorld
from sim.workload import Workload

MS = 1_000_000
STICKY = ["sequence_direct", "sequence_oldest"]
RUNS = 60
MANY_RUNS = 1_500


def unlike(one, other):
    """Names of the columns in which two traces with sequences differ."""
    named = [
        name
        for name in (*SEQUENCE_COLUMNS, *SLOT_COLUMNS)
        if not np.array_equal(getattr(one.sequences, name), getattr(other.sequences, name))
        or getattr(one.sequences, name).dtype != getattr(other.sequences, name).dtype
    ]
    return differences(one, other) + named


def disagreements(kind, seeds):
    found = []
    for seed in seeds:
        run = random_sequences(seed, kind)
        one, other = kernel.run(*run), model.run(*run)
        if unlike(one, other) or not one.equals(other):
            found.append((seed, unlike(one, other)))
    return found


@pytest.mark.parametrize("kind", [*STICKY, "size_or_timeout"])
def test_the_model_and_the_kernel_give_the_same_trace(kind):
    assert disagreements(kind, range(RUNS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", STICKY)
def test_the_model_and_the_kernel_give_the_same_trace_in_thousands_of_scenarios(kind):
    assert disagreements(kind, range(10_000, 10_000 + MANY_RUNS)) == []


@pytest.mark.parametrize("kind", STICKY)
def test_the_live_driver_in_virtual_time_gives_the_same_trace(kind):
    for seed in range(20):
        run = random_sequences(seed, kind)
        world = VirtualWorld(run.workload, DrawnTimes(run.service))
        assert unlike(live.run(*run, world), kernel.run(*run)) == [], seed


@pytest.mark.parametrize("kind", STICKY)
def test_every_run_keeps_the_invariants(kind):
    for seed in range(100):
        run = random_sequences(seed, kind)
        kernel.run(*run).check(run.service, run.workload)


@pytest.mark.parametrize("kind", STICKY)
def test_the_random_scenarios_wait_in_line_time_out_and_reject(kind):
    waited = timed_out = rejected = mixed = 0
    for seed in range(100):
        trace = kernel.run(*random_sequences(seed, kind))
        times = trace.sequences
        _, first = np.unique(times.sequence, return_index=True)
        waited += np.count_nonzero(times.seated_ns > trace.arrival_ns[first])
        timed_out += np.count_nonzero(times.timed_out)
        rejected += np.count_nonzero(trace.status == REJECTED)
        mixed += np.count_nonzero(trace.batch_size > 1)
    assert min(waited, timed_out, rejected, mixed) > 300


def test_a_saved_trace_comes_back(tmp_path):
    run = random_sequences(3, "sequence_direct")
    trace = kernel.run(*run)
    for kind in ("csv", "parquet"):
        trace.save(tmp_path / kind, kind)
        assert Trace.load(tmp_path / kind).equals(trace)


def spoilt(trace, name, place, more):
    """The trace with one number of its sequences changed."""
    column = getattr(trace.sequences, name).copy()
    column[place] += more
    return replace(trace, sequences=trace.sequences._replace(**{name: column}))


@pytest.mark.parametrize(
    ("number", "name", "place", "more"),
    [
        (22, "ready_ns", 5, -(10**12)),
        (21, "slot", 0, 10**3),
        (21, "server", 1, 1),
        (23, "seated_ns", 2, 10**12),
        (24, "timed_out", slice(None), -1),
    ],
)
def test_a_trace_that_breaks_an_invariant_is_caught(number, name, place, more):
    run = next(
        run
        for run in (random_sequences(seed, "sequence_oldest") for seed in range(99))
        if (kernel.run(*run).status == REJECTED).any()
    )
    trace = kernel.run(*run)
    trace.check()
    with pytest.raises(AssertionError, match=f"invariant {number}"):
        spoilt(trace, name, place, more).check()


def workload(**more):
    of = np.array([0, 0, 1, 0, 1, 2], dtype=np.int32)
    ends = np.array([0, 0, 0, 1, 1, 1], dtype=np.int8)
    arrival_ns = np.arange(6) * MS
    return Workload(np.ones(6, dtype=np.int32), arrival_ns, sequences=Sequences(of, ends), **more)


def service(**more):
    return Service(np.array([[[10], [12]]]) * MS, np.array([1]), **more)


@pytest.mark.parametrize("driver", [kernel, model])
class TestByHand:
    """Three sequences of 3, 2 and 1 requests, one a millisecond; a batch takes 10 or 12 ms."""

    def test_direct_keeps_each_sequence_in_its_place(self, driver):
        trace = driver.run(SequenceDirect(2), workload(), service())
        assert (trace.start_ns // MS).tolist() == [0, 10, 10, 22, 22, 34]
        assert trace.sequences.slot.tolist() == [0, 1, 0]
        assert trace.batch_places.tolist() == [1, 2, 2, 1]

    def test_the_slot_of_a_sequence_that_ends_goes_to_the_first_in_line(self, driver):
        times = driver.run(SequenceDirect(2), workload(), service()).sequences
        assert (times.freed_ns // MS).tolist() == [22, 22, 34]
        assert (times.seated_ns // MS).tolist() == [0, 2, 22]

    def test_one_candidate_is_served_at_a_time(self, driver):
        trace = driver.run(SequenceOldest(2, max_candidates=1), workload(), service())
        assert (trace.start_ns // MS).tolist() == [0, 10, 30, 20, 40, 50]

    def test_an_empty_place_costs_as_much_as_a_request(self, driver):
        of = np.array([0, 1, 0, 1], dtype=np.int32)
        alone = replace(
            workload(),
            length=np.ones(4, dtype=np.int32),
            arrival_ns=np.array([0, 1, 30, 60]) * MS,
            sequences=Sequences(of, np.zeros(4, dtype=np.int8)),
        )
        trace = driver.run(SequenceDirect(2), alone, service())
        assert ((trace.batch_finish_ns - trace.batch_start_ns) // MS).tolist() == [10, 12, 10, 12]

    def test_a_batch_goes_once_so_many_slots_have_a_request_or_the_oldest_has_waited(self, driver):
        of, ends = np.array([0, 1], dtype=np.int32), np.ones(2, dtype=np.int8)
        two = replace(
            workload(),
            length=np.ones(2, dtype=np.int32),
            arrival_ns=np.array([1, 4]) * MS,
            sequences=Sequences(of, ends),
        )
        starts = [
            (driver.run(SequenceDirect(2, 20 * MS, share), two, service()).start_ns // MS).tolist()
            for share in (0.0, 0.5, 0.75, 1.0)
        ]
        assert starts == [[1, 11], [1, 11], [4, 4], [4, 4]]
        late = replace(two, arrival_ns=np.array([1, 40]) * MS)
        found = driver.run(SequenceDirect(2, 20 * MS, 1.0), late, service())
        assert (found.start_ns // MS).tolist() == [21, 60]

    def test_places_that_nobody_has_are_padding(self, driver):
        """In the last batch only the second of two places is somebody's."""
        of, ends = np.array([0, 1, 0, 1], dtype=np.int32), np.zeros(4, dtype=np.int8)
        known = replace(
            workload(),
            length=np.full(4, 8, dtype=np.int32),
            arrival_ns=np.array([0, 0, 30, 60]) * MS,
            sequences=Sequences(of, ends),
        )
        served = Service(np.array([[[10], [12]]]) * MS, np.array([8]))
        trace = driver.run(SequenceDirect(2), known, served)
        assert trace.batch_places.tolist() == [2, 1, 2]
        whole = Sections(np.array([0, 4]), np.array([-1, 10**9]))
        sums = tally(trace, served, whole)
        assert sums.length.sum() == 32
        assert sums.padded.sum() == 8 * 5

    def test_a_sequence_that_sends_nothing_loses_its_slot(self, driver):
        quiet = replace(
            workload(),
            arrival_ns=np.array([0, 0, 0, 200, 201, 202]) * MS,
        )
        rule = SequenceDirect(1, max_idle_ns=100 * MS)
        trace = driver.run(rule, quiet, service())
        assert trace.sequences.timed_out.tolist() == [1, 1, 0]
        assert (trace.sequences.freed_ns // MS).tolist() == [100, 110, 202]
        assert trace.status.tolist() == [0, 0, 0, REJECTED, REJECTED, 0]


@pytest.mark.parametrize(
    ("more", "beside"),
    [
        ({"timeout_ns": np.full(6, MS)}, "timeouts"),
        ({"capacity": 3}, "a limited capacity"),
        ({"longest_admitted": 3}, "lengths that are rejected"),
        ({"stages": Stages(Stage(1, 1.0))}, "CPU stages"),
    ],
)
@pytest.mark.parametrize("driver", [kernel, model])
def test_what_no_slot_can_hold_is_refused(driver, more, beside):
    given = {key: value for key, value in more.items() if key == "timeout_ns"}
    own = {key: value for key, value in more.items() if key not in given}
    with pytest.raises(WorkloadError, match=f"not with {beside}$"):
        driver.run(SequenceDirect(2), workload(**given), service(**own))


@pytest.mark.parametrize("driver", [kernel, model])
def test_a_rule_with_slots_seals_nothing(driver):
    class Sealing(SequenceDirect):
        """Says both."""

        seals = 3

    with pytest.raises(WorkloadError, match=r"not with batches that are sealed or requests"):
        driver.run(Sealing(2), workload(), service())


@pytest.mark.parametrize("kind", STICKY)
def test_without_sequences_a_sticky_rule_is_an_ordinary_one(kind):
    run = random_sequences(11, kind)
    plain = replace(run.workload, sequences=None)
    one, other = (driver.run(run.policy, plain, run.service) for driver in (kernel, model))
    assert one.sequences is None
    assert not differences(one, other)
    assert (one.start_ns >= 0).all()
    assert NEVER not in one.finish_ns
