"""Live runs in real time, a second or less each: processes, clocks, and what may go wrong there.

No test may depend on how late the machine is: what is asserted holds for a process that stands
still for seconds at any point.
"""

from __future__ import annotations

import os
import signal

import live_models
import numpy as np
import pytest

from experiments.validation.rig import Rig
from policies.contract import NEVER
from policies.cork import Cork
from policies.greedy import Greedy
from policies.sealed_batches import SealedBatches
from policies.size_or_timeout import SizeOrTimeout
from policies.static import Static
from sim import model, wall
from sim.emulated import EmulatedOpening
from sim.load_generator import LoadGenerator, OwnSchedule
from sim.service import Service
from sim.timing import cores
from sim.trace import EXPIRED, SERVED, UNFINISHED
from sim.wall import WallWorld, run_live
from sim.worker import FunctionOpening, ModelOpening, Worker, WorkerError
from sim.workload import ClosedLoop, Workload

MS = 1_000_000
TABLE = np.array([[[2], [3], [4], [5]]]) * MS
SERVICE = Service(TABLE, np.array([1]))


def arriving(gaps_ms, **more):
    arrival_ns = (np.cumsum(gaps_ms) * MS).astype(np.int64)
    return Workload(length=np.ones(len(gaps_ms), dtype=np.int32), arrival_ns=arrival_ns, **more)


@pytest.fixture(scope="module")
def rig():
    with Rig(EmulatedOpening(SERVICE), SERVICE, spins=False) as opened:
        yield opened


@pytest.fixture
def generator():
    made = LoadGenerator()
    yield made
    made.close()


@pytest.mark.parametrize("own_process", [False, True])
def test_a_live_run_keeps_the_invariants_of_a_trace(rig, generator, own_process):
    workload = arriving(np.random.default_rng(1).exponential(4, 60))
    load = generator if own_process else OwnSchedule()
    trace, readings = run_live(Greedy(), workload, SERVICE, rig.workers, load)
    trace.check(workload=workload, largest_batch=4)
    assert np.all(trace.status == SERVED)
    took = trace.batch_finish_ns - trace.batch_start_ns
    assert np.all(took >= TABLE[0, trace.batch_size - 1, 0])
    assert len(readings.answers) == len(trace.batch_size)
    assert len(readings.lag_ns) == len(workload)
    assert min(readings.lag_ns) >= 0


@pytest.mark.parametrize("policy", [SealedBatches(4, 2 * MS), Cork(4, 30 * MS)])
def test_batches_are_sealed_and_requests_shed_in_real_time_too(rig, policy):
    workload = arriving(np.random.default_rng(2).exponential(1.5, 80))
    trace, _ = run_live(policy, workload, SERVICE, rig.workers, OwnSchedule())
    trace.check(workload=workload, largest_batch=4)
    assert set(trace.status.tolist()) <= ({SERVED, EXPIRED} if trace.sheds else {SERVED})
    assert trace.batch_size.sum() == np.count_nonzero(trace.status == SERVED)


@pytest.mark.parametrize("own_process", [False, True])
def test_the_clients_of_a_closed_loop_wait_for_their_answers(rig, generator, own_process):
    think_ns = np.full((3, 4), 1 * MS)
    workload = Workload(length=np.ones(30, dtype=np.int32), closed=ClosedLoop(think_ns))
    load = generator if own_process else OwnSchedule()
    trace, _ = run_live(Greedy(), workload, SERVICE, rig.workers, load)
    trace.check(workload=workload)
    assert len(trace) == 30
    # three clients: the fourth request comes after an answer and its think time
    assert trace.arrival_ns[3] >= trace.finish_ns[:3].min() + 1 * MS
    again, _ = run_live(Greedy(), workload, SERVICE, rig.workers, load)
    assert len(again) == 30


def test_a_closed_loop_that_waits_for_more_clients_than_there_are_ends(rig):
    workload = Workload(length=np.ones(9, dtype=np.int32), closed=ClosedLoop(np.full((2, 1), MS)))
    trace, _ = run_live(Static(3), workload, SERVICE, rig.workers, OwnSchedule())
    assert np.all(trace.status == UNFINISHED)
    assert len(trace) == 2


def test_patience_ends_in_real_time_too(rig):
    workload = arriving([1, 1, 1], timeout_ns=np.full(3, 5 * MS))
    trace, _ = run_live(Static(4), workload, SERVICE, rig.workers, OwnSchedule())
    assert np.all(trace.status == EXPIRED)
    assert np.array_equal(trace.finish_ns, workload.arrival_ns + 5 * MS)


def test_a_timer_of_a_policy_is_kept_in_real_time(rig, monkeypatch):
    """A batch begins at the first turn from which it may: nobody knows how late that turn comes."""
    turns, wait = [], WallWorld.wait

    def noted(world, until_ns):
        found = wait(world, until_ns)
        turns.append(found[0])
        return found

    monkeypatch.setattr(WallWorld, "wait", noted)
    workload = arriving([30] * 10)
    trace, _ = run_live(SizeOrTimeout(4, 8 * MS), workload, SERVICE, rig.workers, OwnSchedule())
    first = np.cumsum(trace.batch_size) - trace.batch_size
    idle_ns = 0
    for place, started_ns in zip(first.tolist(), trace.batch_start_ns.tolist(), strict=True):
        full_ns = trace.arrival_ns[place + 3] if place + 3 < 10 else NEVER
        due_ns = max(idle_ns, min(trace.arrival_ns[place] + 8 * MS, full_ns))
        assert started_ns == next(turn for turn in turns if turn >= due_ns)
        idle_ns = trace.finish_ns[place]


class Punctual:
    """A clock, and a server, that are never late: what :mod:`sim.wall` waits on."""

    server = 0

    def __init__(self):
        self.now_ns, self.ends_ns = 0, NEVER

    def select(self, files, _writing, _failing, wait_s):
        """As ``select.select``; a look without a wait takes a microsecond."""
        step_ns = round(wait_s * 1e9) or 1_000
        self.now_ns = min(self.now_ns + step_ns, max(self.ends_ns, self.now_ns))
        return ([self.fileno()] if self.ends_ns <= self.now_ns else []), [], []

    def sleep_until(self, instant_ns):
        self.now_ns = max(self.now_ns, instant_ns)

    def fileno(self):
        return 1_000

    def start(self, place, lengths):
        self.ends_ns = self.now_ns + int(TABLE[0, len(lengths) - 1, 0])

    def answer(self):
        self.ends_ns = NEVER


def test_a_timer_is_kept_to_the_nanosecond_where_nothing_is_late(monkeypatch):
    clock = Punctual()
    monkeypatch.setattr(wall, "select", clock)
    monkeypatch.setattr(wall, "now_ns", lambda: clock.now_ns)
    monkeypatch.setattr(wall, "sleep_until", clock.sleep_until)
    workload = arriving([30, 1, 30, 30, 2, 2, 1, 30])
    trace, readings = run_live(
        SizeOrTimeout(4, 8 * MS), workload, SERVICE, [clock], OwnSchedule()
    )  # fmt: skip
    assert trace.equals(model.run(SizeOrTimeout(4, 8 * MS), workload, SERVICE))
    assert trace.batch_size.tolist() == [2, 1, 4, 1]
    assert len(readings.late_ns) > 20, "it had a heartbeat"
    assert max(readings.late_ns) == 0


def test_the_cores_are_given_back():
    before = cores()
    with Rig(EmulatedOpening(SERVICE), SERVICE, spins=False):
        pass
    assert cores() == before


def served_by(function, sizes=(1,)):
    worker = Worker(0, FunctionOpening(function))
    try:
        worker.about()
        for size in sizes:
            worker.start(0, [1] * size)
            worker.answer()
    finally:
        worker.close()


def test_any_function_serves():
    served_by(live_models.quick, (1, 2, 3))


@pytest.mark.parametrize(
    ("function", "sizes", "sentence"),
    [
        (live_models.raises, (1,), "the model raised RuntimeError: the tokenizer is missing"),
        (
            live_models.dies,
            (1, 2),
            "the process of server 0 was killed by signal 9 before its answer",
        ),
    ],
)
def test_what_goes_wrong_in_a_worker_is_one_sentence_here(function, sizes, sentence):
    with pytest.raises(WorkerError) as caught:
        served_by(function, sizes)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nan", "callable:live_models:nan returned NaN or infinity for a batch of 2"),
        (
            "too_few",
            "callable:live_models:too_few must return one output per request, but returned 1 for a"
            " batch of 2",
        ),
    ],
)
def test_an_output_that_is_wrong_is_told(name, sentence, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(live_models.__file__))  # noqa: PTH120
    worker = Worker(0, ModelOpening(f"callable:live_models:{name}"))
    try:
        worker.about()
        worker.start(0, [1, 1])
        with pytest.raises(WorkerError) as caught:
            worker.answer()
    finally:
        worker.close()
    assert str(caught.value) == sentence


def test_a_model_that_is_not_known_is_told_when_it_is_opened():
    worker = Worker(0, ModelOpening("bert-huge"))
    try:
        with pytest.raises(WorkerError, match="there is no model 'bert-huge'; the nearest is"):
            worker.about()
    finally:
        worker.close()


def test_a_worker_that_is_gone_is_told_when_a_batch_is_sent():
    worker = Worker(3, FunctionOpening(live_models.quick))
    worker.about()
    os.kill(worker.child.process.pid, signal.SIGKILL)
    worker.child.process.wait()
    with pytest.raises(WorkerError, match="the process of server 3 was killed by signal 9"):
        worker.start(0, [1])
    worker.close()


def test_a_load_generator_that_is_gone_is_told(generator):
    os.kill(generator.child.process.pid, signal.SIGKILL)
    generator.child.process.wait()
    with pytest.raises(WorkerError, match="the process of the load generator has died"):
        generator.begin(arriving([1]), 0)


def test_a_worker_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("sim.wall.HANGING_NS", 20 * MS)
    monkeypatch.setattr("sim.child.GOODBYE_S", 0.1)
    hour = Service(np.array([[[3_600_000]]]) * MS, np.array([1]))
    with (
        Rig(EmulatedOpening(hour), hour, spins=False) as opened,
        pytest.raises(WorkerError, match="server 0 has not answered for 0 s, so it is given up"),
    ):
        run_live(Greedy(), arriving([1]), hour, opened.workers, OwnSchedule())
