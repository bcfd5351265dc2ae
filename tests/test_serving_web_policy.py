"""Policies that a server asks: the one it was given, another one that is put, whom they shed."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

pytest.importorskip("prometheus_client")

from serving_client import FakeWorker, offer, play, serving, until

from policies import POLICIES
from policies.contract import fire, shed, wait


class FiresTooMany(NamedTuple):
    """Breaks the contract once two wait."""

    def decide(self, view):
        return wait() if view.waiting[0] < 2 else fire(view, 0, 3)


def test_a_policy_that_breaks_its_contract_ends_the_server():
    async def scene():
        async with serving(offer(FiresTooMany())) as served:
            replies = await asyncio.gather(served.infer(), served.infer())
            return replies, served.failures

    replies, (failure,) = play(scene())
    assert [reply.status for reply in replies] == [503, 503]
    assert "FiresTooMany" in str(failure)


def test_the_policy_is_the_object_that_was_given():
    asked = []

    class Noting(NamedTuple):
        def decide(self, view):
            asked.append(view.now_ns)
            return fire(view, 0, 1)

    async def scene():
        async with serving(offer(Noting())) as served:
            return await served.infer()

    assert play(scene()).status == 200
    assert asked


async def put(served, body):
    return await served.ask("/policy", body, method="PUT")


def test_a_policy_is_changed_between_two_batches_and_no_request_is_lost():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            (worker,) = served.workers
            asked = [asyncio.create_task(served.infer())]
            await until(lambda: worker.batches)
            asked += [asyncio.create_task(served.infer(length)) for length in (8, 20, 400, 9, 12)]
            await until(lambda: served.driver.desk.present == 6)
            table = {"kind": "size_or_timeout", "max_batch_size": 2, "max_wait_ms": 0.5}
            said = await put(served, json.dumps(table).encode())
            for batch in range(1, 4):
                worker.finish()
                await until(lambda at=batch: len(worker.batches) > at)
            worker.finish()
            replies = await asyncio.gather(*asked)
            return said, replies, worker, await served.ask("/policy", method="GET"), table

    said, replies, worker, now, table = play(scene())
    assert said.status == now.status == 200
    assert said.json == now.json == {"policy": table}
    assert {reply.status for reply in replies} == {200}
    assert [reply.json["parameters"]["length"] for reply in replies] == [16, 8, 20, 400, 9, 12]
    assert worker.batches == [[16], [8, 20], [400, 9], [12]]


def test_lanes_of_the_new_policy_take_who_waits():
    async def scene():
        async with serving(workers=[FakeWorker(at_once=False)]) as served:
            (worker,) = served.workers
            asked = [asyncio.create_task(served.infer())]
            await until(lambda: worker.batches)
            asked += [asyncio.create_task(served.infer(length)) for length in (8, 400, 9)]
            await until(lambda: served.driver.desk.present == 4)
            table = {"kind": "length_bucketed", "boundaries": [100], "max_batch_size": 4}
            said = await put(served, json.dumps(table).encode())
            worker.finish()
            await until(lambda: len(worker.batches) == 2)
            worker.finish()
            await until(lambda: len(worker.batches) == 3)
            worker.finish()
            return said, await asyncio.gather(*asked), worker

    said, replies, worker = play(scene())
    assert said.status == 200
    assert {reply.status for reply in replies} == {200}
    assert worker.batches == [[16], [8, 9], [400]]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the body is no JSON: "),
        (b"[]", 'the body must be a policy, as {"kind": "size_or_timeout"'),
        (b"{}", "policy.kind is missing; give one of"),
        (b'{"kind": "gredy"}', 'policy.kind = "gredy" is no kind of policy; did you mean greedy?'),
        (b'{"kind": "static"}', "policy.batch_size is missing; static takes batch_size"),
        (b'{"kind": "static", "batch_size": 99}', "policy: `1 <= batch_size <= 4` must hold"),
        (b'{"kind": "static", "batch_size": 2, "x": 1}', "policy.x = 1 is unknown; static takes"),
        (
            b'{"kind": "static", "batch_size": 1e400}',
            "policy.batch_size = inf must be a whole number",
        ),
    ],
)
def test_a_policy_that_is_none_is_refused_and_the_old_one_stays(body, sentence):
    async def scene():
        async with serving() as served:
            refused = await put(served, body)
            return refused, await served.infer(), await served.ask("/policy", method="GET")

    refused, reply, now = play(scene())
    assert (refused.status, reply.status) == (400, 200)
    assert refused.error.startswith(sentence)
    assert now.json == {"policy": {"kind": "greedy"}}


class LetsGo(NamedTuple):
    """Serves one at a time, and sheds whoever else waits."""

    sheds = True

    def decide(self, view):
        if view.waiting[0] > 1:
            return shed(view, 0, 1)
        return fire(view, 0, 1) if view.idle_servers else wait()


def test_who_is_shed_by_the_policy_is_told():
    async def scene():
        async with serving(offer(LetsGo())) as served:
            replies = await asyncio.gather(*(served.infer() for _ in range(3)))
            return replies, served.counted("requests_total", tier="all", outcome="shed")

    replies, counted = play(scene())
    assert sorted(reply.status for reply in replies) == [200, 503, 503]
    assert counted == 2
    refused = next(reply for reply in replies if reply.status == 503)
    assert refused.error == "the policy let the request go, as there are too many"


VALUES = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5)


@settings(max_examples=200)
@given(
    some.dictionaries(
        some.sampled_from(["kind", "batch_size", "max_batch_size", "max_wait_ms", "boundaries"]),
        VALUES | some.lists(VALUES, max_size=3) | some.sampled_from(sorted(POLICIES)),
    )
)
def test_whatever_policy_is_put_is_taken_or_refused_in_a_sentence(table):
    async def scene():
        async with serving() as served:
            said = await put(served, json.dumps(table).encode())
            if said.status == 200:  # it may wait for others for ever
                return said
            assert (await served.infer()).status == 200
            return said

    said = play(scene())
    assert said.status in (200, 400)
    if said.status == 400:
        assert said.error
        assert "\n" not in said.error
