"""A real Triton's sequence batcher, recorded, and the rules that stand for it here.

The recordings (``tests/record_triton_sequences.py``) hold when each request was sent, of which
sequence it is, and in which place of which batch the server put it.  The simulator is given the
same requests and the same service times, 0.7 ms longer: what the server needs between two batches.

Which sequence gets which slot, and who is refused, is a matter of order, and has to be the same to
the last request.  When batches start is a matter of milliseconds on a machine with a clock, and a
late one moves others: sizes and latencies have to be those of the recording within a few per cent.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from stack_batches import FOLDER

from policies import PreferredSizes, SequenceDirect, SequenceOldest
from policies.contract import fire
from sim import kernel, model
from sim.sequences import Sequences
from sim.service import Service
from sim.trace import REJECTED, SERVED
from sim.workload import Workload

MS = 1_000_000
GAP_NS = 700_000
CASES = json.loads((FOLDER / "triton-sequences.json").read_text())["cases"]
DIRECT = [name for name in CASES if name.startswith("direct")]
OLDEST = [name for name in CASES if name.startswith("oldest")]
ONE_SERVER = [name for name in DIRECT if name.endswith("1 at a time")]


def rule(case):
    """The rule with the numbers of ``config.pbtxt``."""
    wait_ns, idle_ns = case["wait_ms"] * MS, case["idle_ms"] * MS
    if case["strategy"] == "direct":
        return SequenceDirect(4, wait_ns, case["utilisation"], idle_ns)
    preferred = np.array(case["preferred"], dtype=np.int64)
    return SequenceOldest(4, wait_ns, case["candidates"], preferred, idle_ns)


def given(case):
    """The requests as they were sent, and a server like the recorded one."""
    arrival_ns = np.array(case["arrival_ns"])
    known = Sequences(np.array(case["sequence"], np.int32), np.array(case["ends"], np.int8))
    workload = Workload(np.ones(len(arrival_ns), np.int32), arrival_ns, sequences=known)
    table = np.array(case["service_ns"]).reshape(1, -1, 1) + GAP_NS
    return workload, Service(table, np.array([1]), case["instances"])


class Recorded:
    """Where each request went on the real server; -1 where it went nowhere."""

    def __init__(self, case):
        count = len(case["arrival_ns"])
        self.place, self.finish_ns, self.size = np.full((3, count), -1)
        self.sizes = []
        for start_ns, took_ns, _, members in case["batches"]:
            there = [request for request in members if request >= 0]
            self.sizes.append(len(there))
            for place, request in enumerate(members):
                if request >= 0:
                    self.place[request] = place
                    self.finish_ns[request] = start_ns + took_ns
                    self.size[request] = len(there)
        self.places = [len(members) for *_, members in case["batches"]]
        self.served = self.place >= 0
        self.latency_ns = (self.finish_ns - np.array(case["arrival_ns"]))[self.served]


def latencies_ns(trace):
    return (trace.finish_ns - trace.arrival_ns)[trace.status == SERVED]


@pytest.mark.parametrize("name", ONE_SERVER)
def test_every_request_of_direct_is_in_the_place_of_its_slot(name):
    trace, real = kernel.run(rule(CASES[name]), *given(CASES[name])), Recorded(CASES[name])
    slot = trace.sequences.slot[trace.sequences.sequence]
    assert np.array_equal(slot[real.served], real.place[real.served])


@pytest.mark.parametrize("name", CASES)
def test_the_same_requests_are_refused(name):
    trace = kernel.run(rule(CASES[name]), *given(CASES[name]))
    assert np.flatnonzero(trace.status == REJECTED).tolist() == CASES[name]["refused"]


def test_some_were_refused_and_some_slots_were_waited_for():
    assert sum(len(case["refused"]) for case in CASES.values()) > 30
    for name in ONE_SERVER[:2]:
        times = kernel.run(rule(CASES[name]), *given(CASES[name])).sequences
        assert len(set(times.slot.tolist())) == 4


@pytest.mark.parametrize("name", CASES)
def test_batches_are_of_the_recorded_sizes_and_latencies(name):
    """Sizes within 4 %, mean latencies within 5 %; 10 % where Triton fills up a preferred size."""
    trace, real = kernel.run(rule(CASES[name]), *given(CASES[name])), Recorded(CASES[name])
    assert trace.batch_size.mean() == pytest.approx(np.mean(real.sizes), rel=0.04)
    assert trace.batch_places.mean() == pytest.approx(np.mean(real.places), rel=0.04)
    loose = 0.10 if CASES[name]["preferred"] == [3] else 0.05
    assert latencies_ns(trace).mean() == pytest.approx(real.latency_ns.mean(), rel=loose)


def test_who_becomes_ready_because_a_batch_ends_is_not_in_the_next():
    """Without forming ahead batches are too large: this recording tells the two apart."""
    (case,) = (CASES[name] for name in OLDEST if CASES[name]["candidates"] == 3)

    class Plain(SequenceOldest):
        """Takes everybody who is ready."""

        def decide(self, view):
            return fire(view, 0, min(view.waiting[0], 4))

    plain = model.run(Plain(*rule(case)), *given(case))
    ahead = kernel.run(rule(case), *given(case))
    real = np.mean(Recorded(case).sizes)
    assert plain.batch_size.mean() > 1.05 * real
    assert abs(ahead.batch_size.mean() - real) < 0.02 * real


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["most"] == 1])
def test_sequences_of_one_request_are_no_ordinary_requests(name):
    """Twelve candidates are free, and they wait for each other; an ordinary batcher takes all."""
    case = CASES[name]
    workload, service = given(case)
    ordinary = kernel.run(
        PreferredSizes(np.array([4]), 4, case["wait_ms"] * MS),
        replace(workload, sequences=None),
        service,
    )
    real, sticky = np.mean(Recorded(case).sizes), kernel.run(rule(case), workload, service)
    assert abs(sticky.batch_size.mean() - real) < 0.3 * (ordinary.batch_size.mean() - real)


@pytest.mark.parametrize("name", DIRECT[:2])
def test_other_numbers_make_other_places(name):
    """Half of the slots, and the recording is no longer the rule's."""
    case = CASES[name]
    trace, real = kernel.run(SequenceDirect(2), *given(case)), Recorded(case)
    slot = trace.sequences.slot[trace.sequences.sequence]
    assert (slot[real.served] == real.place[real.served]).mean() < 0.8
