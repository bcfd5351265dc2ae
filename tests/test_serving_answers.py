"""Each request gets what the model made of its own data, whatever happens to the others."""

from __future__ import annotations

import asyncio
import json
import random
import struct

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from serving_client import MS, PATH, FakeAnswerer, FakeWorker, offer, play, service, serving, until

from experiments.sentences import ScenarioError
from experiments.serving import leavers
from policies.contract import Tier
from policies.size_or_timeout import SizeOrTimeout
from profiles.runner import Contract, Port

OWN = Contract(
    (Port("x", "INT64", (1, -1)), Port("name", "BYTES", (1,), required=False)),
    (Port("sum", "INT64", (1,)), Port("twice", "INT64", (1, -1))),
    finite=False,
)


def computed(request, wanted):
    """The sum and the double of what a request brings."""
    values = request["x"]
    given = {"sum": np.array([values.sum()]), "twice": 2 * values}
    return {name: given[name] for name in wanted or given}


def asked(*values, **more):
    tensor = {"name": "x", "datatype": "INT64", "shape": [1, len(values)], "data": list(values)}
    return json.dumps({"inputs": [tensor], **more}).encode()


def outputs(reply):
    assert reply.status == 200, reply.error
    return {one["name"]: one["data"] for one in reply.json["outputs"]}


def answering(respond=computed, **changed):
    """An offer that takes tensors, and a worker that answers them."""
    at_once = changed.pop("at_once", True)
    return offer(**changed).answering(OWN), [FakeAnswerer(respond, at_once=at_once)]


def test_an_answer_is_what_the_model_made_of_the_request():
    async def scene():
        async with serving(*answering()) as served:
            return [await served.ask(body=asked(*range(n))) for n in (3, 5)]

    three, five = play(scene())
    assert outputs(three) == {"sum": [3], "twice": [0, 2, 4]}
    assert outputs(five) == {"sum": [10], "twice": [0, 2, 4, 6, 8]}
    assert three.json["parameters"]["length"] == 3
    assert three.json["outputs"][1]["shape"] == [1, 3]


def test_a_request_names_the_outputs_that_it_wants_and_how():
    async def scene():
        async with serving(*answering()) as served:
            wanted = [{"name": "twice", "parameters": {"binary_data": True}}]
            return await served.ask(body=asked(1, 2, outputs=wanted))

    reply = play(scene())
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    header = int(reply.headers["inference-header-content-length"])
    assert json.loads(reply.body[:header])["outputs"] == [
        {"name": "twice", "datatype": "INT64", "shape": [1, 2],
         "parameters": {"binary_data_size": 16}},
    ]  # fmt: skip
    assert reply.body[header:] == struct.pack("<2q", 2, 4)


def test_the_worker_is_given_real_lengths_and_only_what_is_there():
    async def scene():
        async with serving(*answering()) as served:
            await served.ask(body=asked(1, 2))
            return served.workers[0].batches

    assert play(scene()) == [[2]]  # a batch of lengths alone would have 4, the shortest measured


def test_a_request_that_the_model_does_not_take_is_refused_before_it_waits():
    async def scene():
        async with serving(*answering()) as served:
            wrong = {"name": "y", "datatype": "INT64", "shape": [1], "data": [1]}
            reply = await served.ask(body=json.dumps({"inputs": [wrong]}).encode())
            return reply, served.counted("arrivals_total", tier="all"), served.counted(
                "http_refused_total", code="400"
            )  # fmt: skip

    reply, arrived, refused = play(scene())
    assert reply.error == ("the inputs lack x; m takes x INT64 [1, -1] (optional: name)")
    assert (arrived, refused) == (0, 1)


def test_what_a_model_says_of_one_request_is_not_said_to_the_others():
    def respond(request, wanted):
        value = int(request["x"][0, 0])
        return [[400, "no"], [500, "broken"], computed(request, wanted)][min(value, 2)]

    async def scene():
        workers = [FakeAnswerer(respond, at_once=False)]
        async with serving(offer().answering(OWN), workers) as served:
            tasks = [asyncio.create_task(served.ask(body=asked(9)))]
            await until(lambda: workers[0].batches)
            tasks += [asyncio.create_task(served.ask(body=asked(n))) for n in (0, 1, 2)]
            await until(lambda: served.driver.desk.present == 4)
            workers[0].finish()
            await until(lambda: len(workers[0].batches) == 2)
            workers[0].finish()
            return await asyncio.gather(*tasks), served

    (_, no, broken, good), served = play(scene())
    assert (no.status, no.error) == (400, "no")
    assert (broken.status, broken.error) == (500, "broken")
    assert outputs(good)["sum"] == [2]
    # who is at fault himself was served; whom the model failed was not
    assert served.counted("requests_total", tier="all", outcome="served") == 3
    assert served.counted("requests_total", tier="all", outcome="failed") == 1
    assert served.counted("slo_violations_total", tier="all") == 1
    assert served.counted("http_refused_total", code="400") == 1


def test_a_batch_that_fails_is_told_to_its_requests_and_the_server_goes_on():
    async def scene():
        async with serving(*answering()) as served:
            (worker,) = served.workers
            worker.failure, rate = "the model raised KeyError: 'x'", served.driver.rate_per_s
            failed = await served.ask(body=asked(1))
            batches = served.counted("batch_size_count")
            assert served.driver.rate_per_s == rate
            good = await served.ask(body=asked(1))
            ready = await served.ask("/v2/health/ready", method="GET")
            return failed, good, ready, batches, served

    failed, good, ready, batches, served = play(scene())
    assert (failed.status, failed.error) == (500, "the model raised KeyError: 'x'")
    assert outputs(good)["sum"] == [1]
    assert ready.status == 200
    assert served.failures == []
    assert served.counted("requests_total", tier="all", outcome="failed") == 1
    assert batches == 0, "a batch that failed is no measure of batches"
    assert served.counted("batch_size_count") == 1
    assert served.counted("http_refused_total", code="500") is None


def test_an_output_that_cannot_be_written_is_said():
    def respond(_request, _wanted):
        return {"raw": np.array([b"\xff"], dtype=object)}

    async def scene():
        open_contract = OWN._replace(outputs=())
        async with serving(offer().answering(open_contract), [FakeAnswerer(respond)]) as served:
            return await served.ask(body=asked(1)), await served.ask(body=asked(1)), served

    reply, again, served = play(scene())
    assert reply.status == again.status == 400
    assert reply.error.startswith("output 'raw' has bytes that are no UTF-8")
    assert served.front.active == 0


def test_many_at_once_of_whom_some_leave_get_each_their_own():
    count, rng = 300, random.Random(5)

    async def one(served, number):
        await asyncio.sleep(rng.random() * 0.05)
        values = [number, *(rng.randrange(1000) for _ in range(rng.randrange(1, 9)))]
        body = asked(*values)
        task = asyncio.create_task(served.ask(body=body))
        if number % 3 == 0:
            for _ in range(number // 3 % 5):  # before it begins, while it waits, or later
                await asyncio.sleep(0)
            task.cancel()
        try:
            reply = await task
        except asyncio.CancelledError:
            return None
        assert outputs(reply) == {"sum": [sum(values)], "twice": [2 * v for v in values]}
        return True

    async def scene():
        policy = SizeOrTimeout(4, MS)
        made = offer(policy, service=service(capacity=count, servers=2)).answering(OWN)
        workers = [FakeAnswerer(computed, at) for at in range(2)]
        async with serving(made, workers) as served:
            found = await asyncio.gather(*(one(served, number) for number in range(count)))
            await until(lambda: served.driver.desk.present == 0)
            return found, workers, served.front.active

    found, workers, active = play(scene())
    assert sum(one is True for one in found) > count // 2
    assert found.count(None) >= count // 15  # who leaves at once
    assert max(len(batch) for worker in workers for batch in worker.batches) == 4
    assert active == 0


def test_who_leaves_while_it_waits_gives_its_place_up():
    async def scene():
        held = FakeWorker(at_once=False)
        slow = offer(service=service(capacity=2), tiers=(Tier("all", 10**15),))
        async with serving(slow, workers=[held]) as served:
            tasks = [asyncio.create_task(served.infer())]
            await until(lambda: held.batches)
            tasks += [asyncio.create_task(served.infer(length)) for length in (20, 30)]
            await until(lambda: served.driver.desk.present == 3)
            full = await served.infer()
            tasks[1].cancel()
            await until(lambda: served.driver.desk.present == 2)
            tasks.append(asyncio.create_task(served.infer(40)))
            await until(lambda: served.driver.desk.present == 3)
            held.finish()
            await until(lambda: len(held.batches) == 2)
            held.finish()
            replies = await asyncio.gather(*tasks, return_exceptions=True)
            return full, replies, held.batches, served

    full, (first, left, stays, later), batches, served = play(scene())
    assert full.status == 429
    assert isinstance(left, asyncio.CancelledError)
    assert [first.status, stays.status, later.status] == [200] * 3
    assert batches == [[16], [30, 40]]
    assert served.counted("requests_total", tier="all", outcome="gone") == 1
    # one was refused; who left was within its SLO
    assert served.counted("slo_violations_total", tier="all") == 1


def test_a_client_that_hangs_up_is_noticed_while_it_waits(monkeypatch):
    monkeypatch.setattr(leavers, "LOOK_S", 0.001)

    async def scene():
        held = FakeWorker(at_once=False)
        async with serving(workers=[held]) as served:
            first = asyncio.create_task(served.infer())
            await until(lambda: held.batches)
            hung_up = asyncio.Event()
            leaves = asyncio.create_task(asks_and_hangs_up(served, hung_up))
            await until(lambda: served.driver.desk.present == 2)
            hung_up.set()
            await until(lambda: served.driver.desk.present == 1)
            held.finish()
            return await first, await leaves, held.batches, served.front.active

    first, sent, batches, active = play(scene())
    assert (first.status, batches, active) == (200, [[16]], 0)
    assert sent, "an answer is made, and the server of HTTP lets it go"


async def asks_and_hangs_up(served, hung_up):
    """An inference whose connection is closed once that is said."""
    body, sent = json.dumps({"inputs": [
        {"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [1]},
    ]}).encode(), []  # fmt: skip
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if coming:
            return coming.pop()
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    await served.front(scope, receive, send)
    return sent


def test_who_leaves_before_its_first_turn_never_comes():
    async def scene():
        async with serving() as served:
            future = served.driver.submit(16, 0)
            served.driver.leave(future)
            after = await served.infer()
            return after, served.counted("arrivals_total", tier="all"), future.result()

    after, arrived, left = play(scene())
    assert (after.status, arrived, left.value) == (200, 1, "gone")


def test_who_leaves_while_its_batch_runs_stays_in_it():
    async def scene():
        held = FakeWorker(at_once=False)
        async with serving(workers=[held]) as served:
            gone = asyncio.create_task(served.infer())
            await until(lambda: held.batches)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            later = asyncio.create_task(served.infer(30))
            await until(lambda: served.driver.desk.present == 2)
            held.finish()
            await until(lambda: len(held.batches) == 2)
            held.finish()
            return await later, served.counted("requests_total", tier="all", outcome="served")

    later, counted = play(scene())
    assert (later.status, counted) == (200, 2)


def test_a_model_of_another_unit_than_the_scenario_is_refused():
    waves = OWN._replace(finite=True, rate=16_000)
    with pytest.raises(ScenarioError, match=r"^fake takes requests in ms of audio, but those of"):
        offer().answering(waves)
    with pytest.raises(ScenarioError, match=r"^fake takes requests in tokens, but .* in audio_ms:"):
        offer(unit="audio_ms").answering(OWN._replace(finite=True))
    assert offer(unit="audio_ms").answering(waves).contract == waves
    assert offer(unit="audio_ms").answering(OWN).contract == OWN  # a function knows itself


def test_outputs_that_are_given_on_request_are_said_so():
    said = offer().answering(OWN)
    assert said.takes == "x INT64 [1, -1] (optional: name)"
    assert said.gives == "sum INT64 [1], twice INT64 [1, -1]"
    assert offer().answering(OWN._replace(given=1)).gives == "sum INT64 [1] (on request: twice)"
    assert offer().answering(OWN._replace(outputs=())).gives == "what the function returns"


@pytest.mark.parametrize("cuts", [False, True])
def test_a_model_that_takes_less_than_the_scenario_refuses_what_is_longer(cuts):
    short = OWN._replace(longest=3)

    async def scene():
        async with serving(offer(cuts=cuts).answering(short), [FakeAnswerer(computed)]) as served:
            return await served.ask(body=asked(*range(4)))

    assert play(scene()).error == (
        "the request is 4 tokens long, but the longest that is served has 3"
    )


def test_a_body_may_have_all_inputs_of_the_longest_request():
    image = Contract((Port("pixels", "FP32", (1, 3, 224, 224)),), (), finite=False)
    assert offer().answering(image).body_bytes == 64 * 1024 + 24 * 3 * 224 * 224
    assert offer().answering(OWN).body_bytes == 64 * 1024 + 24 * 2 * 512
    assert offer().body_bytes == 64 * 1024 + 24 * 512
