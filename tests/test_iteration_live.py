"""The live driver of iterations: on a virtual clock the SimPy model itself, on the real one too."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest
from random_iterations import MS, random_iterations, token_differences

from policies.iteration import RULES, RequestLevel, VllmLike
from policies.iteration.contract import Engine
from policies.iteration.times import StepTimes
from profiles.runner import ModelError
from profiles.steps_runner import Piece, Work
from sim.iteration import live, model
from sim.iteration.engines import DecoderOpening, Decoding, EmulatedOpening
from sim.iteration.live import Gone
from sim.iteration.orders import PRETEND, STEP, Order, order_of
from sim.iteration.replayed import replayed
from sim.iteration.serving import Serving
from sim.iteration.virtual import VirtualWorld
from sim.iteration.wall import run_live
from sim.iteration.worker import IterationWorker
from sim.iteration.workload import workload_of
from sim.load_generator import LoadGenerator, OwnSchedule
from sim.worker import WorkerError

RUNS_PER_RULE = 8


def without_swaps(run):
    engine = run.serving.engine._replace(swaps=False, swap_block_ns=0.0)
    return run._replace(serving=replace(run.serving, engine=engine))


def lived(rule, workload, serving):
    return live.run(rule, workload, serving, VirtualWorld(workload, serving))


@pytest.mark.parametrize("kind", RULES)
def test_on_a_virtual_clock_the_live_driver_equals_the_simpy_model(kind):
    found = []
    for seed in range(RUNS_PER_RULE):
        run = without_swaps(random_iterations(seed, kind))
        columns = token_differences(lived(*run), model.run(*run))
        if columns:
            found.append((seed, columns))
    assert not found


def test_the_comparison_would_see_an_iteration_that_ends_one_nanosecond_late():
    run = without_swaps(random_iterations(3, "vllm_like"))

    class Late(VirtualWorld):
        def start(self, iteration, gone):
            super().start(iteration, gone)
            self.finish_ns += iteration.number == 2

    late = live.run(*run, Late(run.workload, run.serving))
    assert "steps.finish_ns" in token_differences(late, model.run(*run))


def test_an_engine_that_swaps_is_refused():
    run = random_iterations(1, "vllm_like")
    engine = run.serving.engine._replace(swaps=True)
    with pytest.raises(ValueError, match="swaps must be False"):
        lived(run.rule, run.workload, replace(run.serving, engine=engine))


class StrictRunner:
    """No model, but a memory that knows what is in it: token k of a text follows from those before.

    Slots, gaps and lost memory are checked as a real one would notice them: by wrong tokens.
    """

    name, longest = "strict", 10_000

    def __init__(self, slots):
        self.slots, self.texts, self.memory, self.most = slots, {}, {}, 0

    def open(self, sequence, prompt):
        self.texts[sequence] = [hash((sequence, place)) % 997 for place in range(prompt)]

    def step(self, pieces, idle=()):
        said = []
        for sequence, tokens, before in pieces:
            text = self.texts[sequence]
            there = self.memory.setdefault(sequence, [])
            assert len(there) == before, "a gap, or memory that should be gone"
            assert 0 < tokens <= len(text) - before
            there += text[before : before + tokens]
            following = hash(tuple(there)) % 997
            said.append(following)
            if len(there) == len(text):
                text.append(following)
        self.most = max(self.most, len(self.memory))
        assert len(self.memory) <= self.slots
        return said

    def drop(self, sequence, *, ended):
        self.memory.pop(sequence, None)
        if ended:
            self.texts.pop(sequence, None)


class ToldWorld(VirtualWorld):
    """A virtual world whose engine is told of every iteration, and gives its tokens."""

    def __init__(self, workload, serving):
        super().__init__(workload, serving)
        self.runner = StrictRunner(serving.engine.sequences)
        self.engine, self.said, self.works = Decoding(self.runner), {}, []
        self.engine.begin(workload.prompt.tolist())

    def start(self, iteration, gone):
        super().start(iteration, gone)
        numbers = np.frombuffer(order_of(iteration, gone).packed(), dtype=np.int64).tolist()
        order = Order.unpacked(numbers)
        assert order.work == Work(
            iteration.prefill, iteration.sequences, iteration.context, iteration.pairs
        )
        known = [len(self.runner.texts[share.request]) for share in iteration.shares]
        following = self.engine.step(order)
        for share, before, token in zip(iteration.shares, known, following, strict=True):
            if len(self.runner.texts[share.request]) > before:
                self.said.setdefault(share.request, []).append(token)


def tokens_alone(prompt, output, sequence):
    runner = StrictRunner(1)
    runner.open(sequence, prompt)
    runner.step([Piece(sequence, prompt, 0)])
    for _ in range(output - 1):
        runner.step([Piece(sequence, 1, len(runner.texts[sequence]) - 1)])
    return runner.texts[sequence][prompt:]


@pytest.mark.parametrize("kind", RULES)
def test_what_the_engine_is_told_gives_every_request_the_tokens_that_it_gets_alone(kind):
    put_back = 0
    for seed in range(8):
        rule, workload, serving = without_swaps(random_iterations(seed, kind))
        world = ToldWorld(workload, serving)
        trace = live.run(rule, workload, serving, world)
        put_back += int(trace.preempted.sum())
        for request in np.flatnonzero(trace.served).tolist():
            prompt, output = int(workload.prompt[request]), int(workload.output[request])
            assert world.said[request] == tokens_alone(prompt, output, request), (seed, request)
    assert put_back or kind in ("request_level", "continuous")


def test_a_worker_that_is_not_told_of_those_put_back_notices():
    class Deaf(ToldWorld):
        def start(self, iteration, gone):
            super().start(iteration, [one for one in gone if one.ended])

    for seed in range(40):
        rule, workload, serving = without_swaps(random_iterations(seed, "vllm_like"))
        if int(model.run(rule, workload, serving).preempted.sum()):
            with pytest.raises(AssertionError):
                live.run(rule, workload, serving, Deaf(workload, serving))
            return
    pytest.fail("no run puts anybody back")


def test_padding_is_told_apart_and_computed_as_idle_pieces():
    class Noting(StrictRunner):
        idle = ()

        def step(self, pieces, idle=()):
            self.idle = idle
            return super().step(pieces)

    runner = Noting(4)
    runner.longest = 100
    engine = Decoding(runner)
    engine.begin([5])
    order = Order(STEP, 0, (Piece(0, 5, 0),), (False,), Work(230, 3, 36, 0.0))
    engine.step(order)
    assert [piece.tokens for piece in runner.idle] == [100, 100, 30, 1, 1, 1]
    assert [piece.before for piece in runner.idle] == [0, 0, 0, 12, 12, 12]


def test_an_order_goes_through_the_pipe_as_it_was():
    order = Order(
        PRETEND, 7, (Piece(3, 5, 0), Piece(4, 1, 9)), (False, True), Work(2, 1, 6, 0.0),
        (Gone(2, True), Gone(8, False)),
    )  # fmt: skip
    assert Order.unpacked(np.frombuffer(order.packed(), dtype=np.int64).tolist()) == order
    assert order.work == Work(7, 2, 15, 15.0)


# processes and real time; nothing here asks how fast

SERVING = Serving(
    Engine(sequences=6, blocks=30, block_tokens=8, longest=120),
    StepTimes(300_000.0, 4_000.0, 50_000.0, 100.0, 10.0),
    np.array([0.7, 1.0, 1.6]),
)


def some_requests(count=60):
    rng = np.random.default_rng(5)
    return workload_of(
        rng.exponential(2.0 * MS, count).cumsum().astype(np.int64),
        rng.integers(1, 60, count),
        rng.integers(1, 25, count),
    )


@pytest.fixture
def emulated():
    worker = IterationWorker(EmulatedOpening(SERVING))
    yield worker
    worker.close()


@pytest.mark.parametrize("rule", [VllmLike(max_num_batched_tokens=40), RequestLevel()], ids=type)
def test_a_live_run_keeps_the_invariants_and_its_replay_is_exact(emulated, rule):
    workload = some_requests()
    trace, readings = run_live(rule, workload, SERVING, emulated, OwnSchedule())
    trace.check(6)
    assert trace.served.all()
    assert len(readings.answers) == len(trace.steps)
    assert [answer.number for answer in readings.answers] == list(range(len(trace.steps)))
    took = trace.steps["finish_ns"] - trace.steps["start_ns"]
    assert all(took >= [answer.wall_ns for answer in readings.answers]), "the way is in it"
    assert min(readings.lag_ns) >= 0
    noticed = np.array(readings.noticed_ns)
    assert np.all(noticed >= workload.arrival_ns)
    replay = replayed(rule, trace, noticed, SERVING)
    assert replay.exact
    assert replay.same == len(trace.steps)
    assert not token_differences(replay.trace, trace)


def test_a_replay_tells_where_the_rule_would_have_done_something_else(emulated):
    workload = some_requests()
    rule = VllmLike(max_num_batched_tokens=40)
    trace, readings = run_live(rule, workload, SERVING, emulated, OwnSchedule())
    other = replayed(
        VllmLike(max_num_batched_tokens=20), trace, np.array(readings.noticed_ns), SERVING
    )
    assert not other.exact
    assert other.same < len(trace.steps)


def test_a_generator_in_a_process_of_its_own_sends_the_same_requests(emulated):
    load, workload = LoadGenerator(), some_requests(20)
    try:
        for _ in range(2):  # windows follow one another
            trace, readings = run_live(VllmLike(), workload, SERVING, emulated, load)
            assert trace.served.all()
            assert len(readings.lag_ns) == 20
    finally:
        load.close()


@dataclass(frozen=True)
class BrokenOpening:
    """An engine that fails at some iteration."""

    at: int

    def open(self):
        return Broken(self.at)


class Broken:
    def __init__(self, at):
        if at < 0:
            raise ModelError("this engine does not open")
        self.at = at

    def about(self):
        return {"model": "broken"}

    def begin(self, prompts):
        pass

    def step(self, order):
        if order.number == self.at:
            raise ModelError("this engine broke")
        return [0] * len(order.pieces)

    def close(self):
        pass


def test_an_engine_that_breaks_ends_the_run_with_its_sentence():
    worker = IterationWorker(BrokenOpening(3))
    try:
        with pytest.raises(WorkerError, match="this engine broke"):
            run_live(VllmLike(), some_requests(), SERVING, worker, OwnSchedule())
    finally:
        worker.close()


def test_an_engine_that_does_not_open_says_why():
    for opening, sentence in (
        (BrokenOpening(-1), "this engine does not open"),
        (DecoderOpening("gpt2-mimi", 4), "gpt2-mini|needs torch"),
    ):
        worker = IterationWorker(opening)
        try:
            with pytest.raises(WorkerError, match=sentence):
                worker.about()
        finally:
            worker.close()


def test_an_engine_that_is_killed_ends_the_run(emulated):
    os.kill(emulated.about()["pid"], signal.SIGKILL)
    with pytest.raises(WorkerError, match="was killed by signal 9 before its answer"):
        run_live(VllmLike(), some_requests(), SERVING, emulated, OwnSchedule())
