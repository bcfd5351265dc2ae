"""Workers that answer, as processes: order, size, and what ends them and what does not."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from serving_client import MS, offer, play, service, serving

from experiments.serving.workers import warm_up, worker_of
from policies.size_or_timeout import SizeOrTimeout
from sim.answering import Answerer
from sim.tensors import tensor_of
from sim.worker import FunctionOpening, ModelOpening, WorkerError


def opening(function="infer"):
    return ModelOpening(f"callable:answering_functions:{function}")


@contextmanager
def opened(function="infer"):
    """A process that has opened it."""
    worker = Answerer(0, opening(function))
    try:
        worker.about()
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def worker():
    with opened() as found:
        yield found


def group(*values, wanted=()):
    return [tensor_of("x", np.array([values]))], list(wanted)


def told(worker, *groups):
    """What each request of a batch gets: outputs as lists, or a status and a sentence."""
    worker.start(7, [1] * len(groups), groups)
    answer = worker.answer()
    assert answer.place == 7
    return [
        error or {part.name: part.array().tolist() for part in parts}
        for parts, error in answer.outputs
    ]


def test_a_worker_says_what_its_function_takes_and_gives(worker):
    contract = worker.contract()
    assert [port.name for port in contract.inputs] == ["x"]
    assert contract.inputs[0].shape == (1, -1)
    assert [port.name for port in contract.outputs] == ["sum", "twice"]
    assert not contract.finite


def test_each_request_of_a_batch_gets_the_outputs_that_it_wants(worker):
    assert told(worker, group(1, 2), group(5, wanted=["twice"])) == [
        {"sum": [3], "twice": [[2, 4]]},
        {"twice": [[10]]},
    ]


def test_a_request_may_fail_alone(worker):
    assert told(worker, group(16), group(17), group(1, wanted=["odd"]), group(1)) == [
        [400, "sixteen is not taken"],
        [500, "the model raised KeyError: 'seventeen'"],
        [400, "there is no output 'odd': the model gives sum, twice"],
        {"sum": [1], "twice": [[2]]},
    ]


def test_a_batch_that_fails_is_not_the_end(worker):
    worker.start(1, [1, 1], [group(1), group(13)])
    assert worker.answer().failure == (
        "callable:answering_functions:infer raised KeyError: 'thirteen'"
    )
    assert told(worker, group(2)) == [{"sum": [2], "twice": [[4]]}]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (14, "the process of server 0 ended with exit code 3 before its answer"),
        (15, "callable:answering_functions:infer raised AcceleratorError: the device is lost"),
    ],
)
def test_a_function_that_cannot_go_on_ends_its_process(number, sentence):
    with opened() as worker:
        worker.start(1, [1], [group(number)])
        with pytest.raises(WorkerError, match=f"^{sentence}$"):
            worker.answer()


def test_a_function_of_lengths_fails_a_batch_and_goes_on():
    with opened("lengths_alone") as worker:
        assert worker.contract() is None
        worker.start(1, [13, 4])
        assert "KeyError: 'thirteen'" in worker.answer().failure
        worker.start(2, [4, 5])
        answer = worker.answer()
        assert (answer.failure, list(answer.outputs)) == ("", [])
        assert answer.wall_ns > 0


def test_what_returns_something_else_fails_its_batch_in_a_sentence():
    with opened("strange") as worker:
        worker.start(1, [1], [group(1)])
        assert worker.answer().failure == (
            "callable:answering_functions:strange must return the outputs of a request as a "
            "mapping of names to arrays, but returned ndarray"
        )


def test_a_function_that_declares_nothing_takes_whatever_comes():
    with opened("whatever") as worker:
        tensors = [
            tensor_of("a", np.zeros((1, 2), np.float16)),
            tensor_of("b", np.array([b"x"], dtype=object)),
            tensor_of("c", np.array([1.5]), "BF16"),
        ]
        worker.start(1, [2], [(tensors, [])])
        ((said,), _) = worker.answer().outputs[0]
        assert said.array().tolist() == [b"a float16 (1, 2)", b"b object (1,)", b"c float32 (1,)"]
        assert warm_up(worker, offer()) == ""


def test_only_what_computes_is_given_data():
    for given, kind in ((opening(), True), (FunctionOpening(len), False)):
        worker = worker_of(0, given)
        try:
            assert isinstance(worker, Answerer) == kind
            worker.about()
        finally:
            worker.close()


def test_a_function_is_warm_or_the_server_says_why_not(worker):
    assert warm_up(worker, offer()) == ""  # ones, which it takes
    with opened("strange") as lazy:
        assert warm_up(lazy, offer()).startswith(
            "it is not warm, since requests that were made up for it failed: callable:"
        )


def body(*values):
    data = np.array(values)
    said = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, len(data)],
                        "parameters": {"binary_data_size": data.nbytes}}],
            "parameters": {"binary_data_output": True}}  # fmt: skip
    head = json.dumps(said).encode()
    return head + data.tobytes(), {"inference-header-content-length": str(len(head))}


async def asked(served, values):
    """The outputs of a request, read from the bytes."""
    content, headers = body(*values)
    reply = await served.ask(body=content, headers=headers)
    assert reply.status == 200, reply.error
    said, found = reply.json_and_bytes
    at, outputs = 0, {}
    for one in said["outputs"]:
        size = one["parameters"]["binary_data_size"]
        outputs[one["name"]] = np.frombuffer(found[at : at + size], np.int64).tolist()
        at += size
    assert at == len(found)
    return outputs


def test_many_at_once_get_each_their_own_from_two_processes():
    rng = random.Random(3)
    made = offer(SizeOrTimeout(4, MS), service=service(capacity=500, servers=2))

    async def one(served, number):
        await asyncio.sleep(rng.random() * 0.05)
        values = [100 + number, *(rng.randrange(1000) for _ in range(rng.randrange(40)))]
        task = asyncio.create_task(asked(served, values))
        if number % 3 == 0:
            for _ in range(number // 3 % 5):  # before it begins, while it waits, or later
                await asyncio.sleep(0)
            task.cancel()
        try:
            found = await task
        except asyncio.CancelledError:
            return None
        assert found == {"sum": [sum(values)], "twice": [2 * v for v in values]}
        return True

    async def scene():
        workers = [Answerer(at, opening()) for at in range(2)]
        contracts = [worker.contract() for worker in workers]
        async with serving(made.answering(contracts[0]), workers) as served:
            return await asyncio.gather(*(one(served, number) for number in range(200)))

    found = play(scene())
    assert sum(one is True for one in found) > 100
    assert found.count(None) >= 200 // 15  # who leaves at once


LOOPS = ["asyncio", "uvloop"]


@pytest.mark.parametrize("loop", LOOPS)
def test_data_may_be_larger_than_what_the_system_buffers(loop):
    # uvloop makes the files that it watches return with a part of what is asked for
    factory = pytest.importorskip(loop).new_event_loop
    many = np.arange(100, 400_100)

    async def scene():
        worker = Answerer(0, opening())
        contract = worker.contract()
        long = service(longest=10**6)
        async with serving(offer(longest=10**6, service=long).answering(contract), [worker]) as s:
            return [await asked(s, many), await asked(s, many[:3])]

    with asyncio.Runner(loop_factory=factory) as runner:
        large, small = runner.run(asyncio.wait_for(scene(), 60))
    assert large == {"sum": [int(many.sum())], "twice": (2 * many).tolist()}
    assert small["twice"] == [200, 202, 204]
