"""What a server answers, without sockets: the protocol, tiers, limits, refusals, the end."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("prometheus_client")

from serving_client import MS, PATH, FakeWorker, inference, offer, play, service, serving, until

from experiments.serving import bodies
from policies.contract import Tier
from policies.size_or_timeout import SizeOrTimeout

TIERS = (Tier("interactive", 100 * MS), Tier("batch"))


def test_an_inference_is_answered_with_how_it_was_served():
    async def scene():
        async with serving() as served:
            return await served.infer(16), served.workers[0].batches

    reply, batches = play(scene())
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    said = reply.json
    assert (said["model_name"], said["model_version"], said["id"]) == ("m", "1", "one")
    assert said["parameters"]["batch_size"] == 1
    assert said["parameters"]["tier"] == "all"
    assert said["outputs"] == [
        {"name": "padded_length", "datatype": "INT64", "shape": [1], "data": [16]}
    ]
    assert batches == [[16]]


def test_who_waits_while_a_batch_runs_is_batched_by_the_policy():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            (worker,) = served.workers
            asked = [asyncio.create_task(served.infer(16))]
            await until(lambda: worker.batches)
            asked += [asyncio.create_task(served.infer(length)) for length in (2, 30, 8)]
            await until(lambda: served.driver.desk.present == 4)
            worker.finish()
            await until(lambda: len(worker.batches) == 2)
            worker.finish()
            return [reply.json["parameters"] for reply in await asyncio.gather(*asked)], worker

    replies, worker = play(scene())
    assert worker.batches == [[16], [4, 30, 8]]  # the shortest is padded up to what was measured
    assert [said["batch_size"] for said in replies] == [1, 3, 3, 3]
    assert [said["length"] for said in replies] == [16, 2, 30, 8]


def test_the_paths_of_the_protocol_answer():
    async def scene():
        async with serving() as served:
            return {
                path: await served.ask(path, method="GET")
                for path in (
                    "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m",
                    "/v2/models/m/ready", "/v2/models/m/versions/1/ready", "/metrics",
                )
            }  # fmt: skip

    replies = play(scene())
    assert {reply.status for reply in replies.values()} == {200}
    assert replies["/v2"].json["extensions"] == ["binary_tensor_data"]
    assert replies["/v2/health/live"].json == {"live": True}
    assert replies["/v2/health/ready"].json == {"ready": True}
    assert replies["/v2/models/m"].json["inputs"][0] == {
        "name": "input_ids", "datatype": "INT64", "shape": [1, -1],
    }  # fmt: skip
    assert b"batchwright_arrivals_total" in replies["/metrics"].body


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/v2/models/other/infer", "POST", 404),
        (PATH, "GET", 405),
        ("/metrics", "POST", 405),
        ("/v2/health/live", "DELETE", 405),
    ],
)
def test_other_paths_and_methods_are_refused(path, method, status):
    async def scene():
        async with serving() as served:
            return await served.ask(path, method=method)

    reply = play(scene())
    assert reply.status == status
    assert reply.error
    assert ("allow" in reply.headers) == (status == 405)


def test_a_tier_is_named_by_path_header_or_parameter():
    async def scene():
        async with serving(offer(tiers=TIERS)) as served:
            return [
                await served.infer(path="/tiers/batch/v2/models/m/infer"),
                await served.infer(headers={"x-batchwright-tier": "batch"}),
                await served.infer(tier="batch"),
                await served.infer(tier="batch", headers={"x-batchwright-tier": "batch"}),
                await served.infer(tier="interactive"),
            ], served.counted("arrivals_total", tier="batch")

    replies, arrived = play(scene())
    tiers = [reply.json["parameters"]["tier"] for reply in replies]
    assert tiers == ["batch"] * 4 + ["interactive"]
    assert arrived == 4


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "name a tier with the header x-batchwright-tier, parameters.tier or the path "
             "/tiers/NAME/v2/...: interactive, batch"),
        ({"tier": "bacth"}, "there is no tier 'bacth'; did you mean batch?"),
        ({"tier": "batch", "headers": {"x-batchwright-tier": "interactive"}},
         "the request names several tiers: batch, interactive"),
        ({"tier": 3}, "parameters.tier = 3 must be a text"),
    ],
)  # fmt: skip
def test_a_tier_that_is_not_clear_is_refused(asked, sentence):
    async def scene():
        async with serving(offer(tiers=TIERS)) as served:
            return await served.infer(**asked)

    reply = play(scene())
    assert reply.status == 400
    assert reply.error.startswith(sentence)


def test_a_full_queue_is_refused_at_once_with_the_time_that_it_takes():
    async def scene():
        held = FakeWorker(at_once=False)
        async with serving(offer(service=service(capacity=4)), workers=[held]) as served:
            first = asyncio.create_task(served.infer())
            await until(lambda: held.batches)
            asked = [asyncio.create_task(served.infer()) for _ in range(40)]
            await until(lambda: sum(task.done() for task in asked) == 36)
            refused = [task.result() for task in asked if task.done()]
            most = served.driver.desk.present
            rest = [task for task in asked if not task.done()]
            held.finish()
            await until(lambda: len(held.batches) == 2)
            held.finish()
            replies = await asyncio.gather(first, *rest)
            return refused, replies, most, served.counted(
                "requests_total", tier="all", outcome="rejected"
            )  # fmt: skip

    refused, replies, most, counted = play(scene())
    assert {reply.status for reply in refused} == {429}
    assert {reply.status for reply in replies} == {200}
    assert most == 5
    assert counted == 36
    # 4 wait, and 100 a second are served before a batch has said otherwise
    assert {reply.headers["retry-after"] for reply in refused} == {"1"}
    assert {reply.error for reply in refused} == {"the queue is full; it takes 0.04 s to be served"}


def test_retry_after_follows_the_queue():
    async def scene():
        held = FakeWorker(at_once=False)
        slow = offer(service=service(capacity=30), rate_per_s=4.0)
        async with serving(slow, workers=[held]) as served:
            asked = [asyncio.create_task(served.infer()) for _ in range(60)]
            await until(lambda: any(task.done() for task in asked))
            reply = next(task.result() for task in asked if task.done())
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            return reply

    reply = play(scene())
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) in (7, 8)  # 26 to 30 wait


def test_who_waits_too_long_is_given_up():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            first = asyncio.create_task(served.infer())
            await until(lambda: served.workers[0].batches)
            late = await served.infer(timeout=2000)
            served.workers[0].finish()
            return await first, late

    first, late = play(scene())
    assert first.status == 200
    assert late.status == 504
    assert late.error == "the request waited as long as it may, and was given up"


def test_a_batch_that_waits_for_the_clock_is_started_by_it():
    async def scene():
        policy = SizeOrTimeout(4, 3 * MS)
        async with serving(offer(policy)) as served:
            reply = await served.infer()
            return reply.json["parameters"]["waited_ms"]

    assert play(scene()) >= 3.0


def test_a_tier_never_waits_longer_than_its_own_timeout():
    async def scene():
        timed = offer(timeouts_ns=(2 * MS,))
        async with serving(timed, workers=[FakeWorker(at_once=False)]) as served:
            first = asyncio.create_task(served.infer())
            await until(lambda: served.workers[0].batches)
            late = await served.infer(timeout=10**9)
            first.cancel()
            return late

    assert play(scene()).status == 504


def test_what_is_secret_wants_a_token_and_health_does_not():
    async def scene():
        async with serving(token="s3cret-s3cret-s3cret") as served:
            given = {"authorization": "Bearer s3cret-s3cret-s3cret"}
            wrong = {"authorization": "Bearer s3cret-s3cret-s3crex"}
            return [
                (await served.ask("/v2/health/ready", method="GET")).status,
                (await served.infer()).status,
                (await served.infer(headers=wrong)).status,
                (await served.ask("/metrics", method="GET")).status,
                (await served.ask("/nowhere", method="GET")).status,
                (await served.infer(headers=given)).status,
            ], (await served.infer()).headers

    statuses, headers = play(scene())
    assert statuses == [200, 401, 401, 401, 401, 200]
    assert headers["www-authenticate"] == "Bearer"


def test_a_body_that_is_too_large_is_refused_before_it_is_read():
    async def scene():
        async with serving() as served:
            said = await served.ask(body=b"", headers={"content-length": "999999999"})
            most = served.offer.body_bytes
            sent = await served.ask(parts=[b" " * (most // 2)] * 3)
            one = await served.ask(body=b" " * (most + 1), headers={"content-length": "1"})
            return said, sent, one, most

    *replies, most = play(scene())
    for reply in replies:
        assert reply.status == 413
        assert reply.error == f"the body must be at most {most} bytes"


def test_a_body_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_S", 0.01)

    async def scene():
        async with serving() as served:
            return await served.ask(parts=[b"{"]), served.front.active

    reply, active = play(scene())
    assert reply.status == 408
    assert active == 0


def test_a_worker_that_dies_ends_the_server_and_everybody_is_told():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            asked = [asyncio.create_task(served.infer()) for _ in range(3)]
            await until(lambda: served.driver.desk.present == 3)
            served.workers[0].die()
            replies = await asyncio.gather(*asked)
            ready = await served.ask("/v2/health/ready", method="GET")
            live = await served.ask("/v2/health/live", method="GET")
            return replies, ready, live, await served.infer(), served

    replies, ready, live, later, served = play(scene())
    sentence = "the process of server 0 was killed by signal 9"
    assert [(reply.status, reply.error) for reply in replies] == [(503, sentence)] * 3
    assert (ready.status, live.status, later.status) == (503, 200, 503)
    assert [str(error) for error in served.failures] == [sentence]
    assert served.counted("requests_total", tier="all", outcome="failed") == 4


def test_a_server_that_ends_refuses_and_finishes():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            first = asyncio.create_task(served.infer())
            await until(lambda: served.workers[0].batches)
            served.front.ready = False
            ready = await served.ask("/v2/health/ready", method="GET")
            served.front.closed = True
            later, active = await served.infer(), served.front.active
            served.workers[0].finish()
            return ready, later, active, await first

    ready, later, active, first = play(scene())
    assert (ready.status, later.status, active, first.status) == (503, 503, 1, 200)
    assert later.error == "the server ends"


def test_a_client_that_leaves_is_not_answered_and_harms_nobody():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            gone = asyncio.create_task(served.infer())
            await until(lambda: served.workers[0].batches)
            stays = asyncio.create_task(served.infer())
            await until(lambda: served.driver.desk.present == 2)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            served.workers[0].finish()
            await until(lambda: len(served.workers[0].batches) == 2)
            served.workers[0].finish()
            return await stays, served.driver.desk.present, served.front.active

    stays, present, active = play(scene())
    assert (stays.status, present, active) == (200, 0, 0)


def test_a_longer_request_is_refused_or_cut():
    async def scene(cuts):
        async with serving(offer(cuts=cuts)) as served:
            return await served.ask(body=inference(length=600)), served.workers[0].batches

    refused, batches = play(scene(cuts=False))
    assert (refused.status, batches) == (400, [])
    assert refused.error == (
        "the request is 600 tokens long, but the longest that is served has 512"
    )
    cut, batches = play(scene(cuts=True))
    assert (cut.status, batches, cut.json["parameters"]["length"]) == (200, [[512]], 512)


def test_metrics_are_those_of_what_happened():
    async def scene():
        async with serving(offer(tiers=TIERS)) as served:
            for length in (16, 8):
                await served.infer(length, tier="interactive")
            await served.ask(body=b"no")
            return served

    served = play(scene())
    assert served.counted("requests_total", tier="interactive", outcome="served") == 2
    assert served.counted("arrivals_total", tier="interactive") == 2
    assert served.counted("request_latency_seconds_count", tier="interactive") == 2
    assert served.counted("http_refused_total", code="400") == 1
    assert served.counted("batch_work_total", kind="useful") == 24
    assert served.counted("slo_objective_ratio", tier="interactive") == 0.99
    assert served.counted("slo_seconds", tier="batch") is None


def test_the_answer_is_json_that_any_client_reads():
    async def scene():
        async with serving() as served:
            return await served.ask(body=json.dumps({
                "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [0.5, 1]}],
            }).encode())  # fmt: skip

    reply = play(scene())
    assert "id" not in reply.json
    assert reply.json["parameters"]["length"] == 2


def test_whoever_is_late_breaks_the_slo_and_who_is_in_time_does_not():
    async def scene():
        tiers = (Tier("strict", 1), Tier("loose", 10**18))
        async with serving(offer(tiers=tiers)) as served:
            for tier in tiers:
                await served.infer(tier=tier.name)
            return [served.counted("slo_violations_total", tier=tier.name) for tier in tiers]

    assert play(scene()) == [1, 0]
