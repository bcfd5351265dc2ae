"""Jobs beside requests, without sockets: who goes first, what is answered, and how it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

pytest.importorskip("prometheus_client")

import redis_server
from serving_client import MS, FakeWorker, inference, offer, play, service, serving, until

from experiments.serving.drift import Drift
from experiments.serving.jobs import feeding
from experiments.serving.jobs.contract import AwayError, Job
from experiments.serving.jobs.memory import MemoryQueue
from experiments.serving.jobs.office import Office
from policies.contract import Tier, fire, shed, wait
from policies.priority import Priority
from policies.static import Static

TIERS = (Tier("interactive", 100 * MS), Tier("offline"))
JOBS = "/v2/models/m/jobs"
LINES = {"content-type": "application/x-ndjson"}


class Breakable(MemoryQueue):
    """A queue that can be away."""

    away = False

    async def open(self):
        self._look()
        return ("it is a toy",)

    async def take(self, most, mine, *, apart):
        self._look()
        return await super().take(most, mine, apart=apart)

    async def end(self, ended):
        self._look()
        return await super().end(ended)

    async def submit(self, jobs, beside=0):
        self._look()
        return await super().submit(jobs, beside)

    def _look(self):
        if self.away:
            raise AwayError("the queue is away")


@asynccontextmanager
async def working(offered=None, workers=None, queue=None, tier=0, **changed):
    """A server with an office; gives both, and what the office said."""
    async with serving(offered, workers, **changed) as served:
        queue, said = queue or Breakable(1000, 60.0), []
        office = Office(queue, tier, served.front, said.append)
        await office.open()
        try:
            yield served, office, said
        finally:
            await office.close()


def lines(*lengths):
    return b"\n".join(inference(length) for length in lengths)


async def submit(served, *lengths, key="k"):
    reply = await served.ask(JOBS, lines(*lengths), headers={**LINES, "idempotency-key": key})
    assert reply.status == 202, reply.body
    return reply.json


async def job(served, name):
    return (await served.ask(f"{JOBS}/{name}", method="GET")).json


async def over(served, name, state="done"):
    """Wait until a job is over."""
    while (said := await job(served, name))["state"] != state:
        assert said["state"] in ("queued", "running"), said
        await asyncio.sleep(0.001)
    return said


def test_a_job_is_answered_as_a_request_would_be():
    async def scene():
        async with working() as (served, _, _):
            reply = await served.ask(JOBS, inference(16), headers={"idempotency-key": "a"})
            return reply, await over(served, "a"), (await served.infer(16)).json

    reply, said, request = play(scene(), 20)
    assert reply.status == 202
    assert reply.json == {"id": "a", "status_url": f"{JOBS}/a"}
    assert reply.headers["location"] == f"{JOBS}/a"
    assert (said["id"], said["state"], said["runs"]) == ("a", "done", 1)
    for answer in (said["answer"], request):
        for key in ("waited_ms", "service_ms"):
            assert answer["parameters"].pop(key) >= 0
    assert said["answer"] == {**request, "id": "one"}


def test_without_a_name_a_job_gets_one():
    async def scene():
        async with working() as (served, _, _):
            replies = [await served.ask(JOBS, inference(16)) for _ in range(2)]
            return [await over(served, reply.json["id"]) for reply in replies]

    first, second = play(scene(), 20)
    assert first["id"] != second["id"]


def test_many_jobs_are_lines_and_come_back_in_their_order():
    async def scene():
        async with working() as (served, _, _):
            said = await submit(served, *range(1, 251))
            await over(served, "k-249")
            await until(lambda: served.counted("jobs_total", outcome="done") == 250)
            found = await served.ask(f"{said['status_url']}&first=240&count=100", method="GET")
            everyone = await served.ask(said["status_url"], method="GET")
            return said, found, everyone, served.counted("jobs_submitted_total")

    said, found, everyone, came = play(scene(), 20)
    assert said == {"id": "k", "jobs": 250, "status_url": f"{JOBS}?batch=k"}
    rows = [json.loads(line) for line in found.body.splitlines()]
    assert [row["id"] for row in rows] == [f"k-{place}" for place in range(240, 250)]
    assert [row["answer"]["parameters"]["length"] for row in rows] == list(range(241, 251))
    assert len(everyone.body.splitlines()) == 250
    assert came == 250


def test_interactive_requests_go_before_a_backlog_of_any_length():
    async def scene():
        worker = FakeWorker(at_once=False)
        two = offer(Priority(), TIERS, service=service(capacity=64))
        async with working(two, [worker], tier=1) as (served, office, _):
            await submit(served, *[100] * 200)
            await until(lambda: len(worker.batches) == 1)
            await until(lambda: served.driver.desk.station.waiting == 4)
            asked = [asyncio.create_task(served.infer(7, tier="interactive")) for _ in range(3)]
            await until(lambda: served.driver.desk.present == 11)
            most = office.active
            worker.finish()
            await until(lambda: len(worker.batches) == 2)
            worker.finish()
            await asyncio.gather(*asked)
            return worker.batches[:2], most

    batches, most = play(scene(), 20)
    assert batches[0] == [100] * 4
    assert batches[1][:3] == [7] * 3
    assert most == 8


def test_no_job_is_handed_over_while_as_many_wait_as_fill_a_batch():
    async def scene():
        worker = FakeWorker(at_once=False)
        async with working(offer(service=service(capacity=64)), [worker]) as (served, office, _):
            asked = [asyncio.create_task(served.infer(7)) for _ in range(20)]
            await until(lambda: served.driver.desk.present == 20)
            await submit(served, *[100] * 8)
            for batch in range(2, 8):
                for _ in range(20):
                    office.feeder.wake()
                    await asyncio.sleep(0)
                worker.finish()
                await until(lambda at=batch: len(worker.batches) >= at)
            worker.finish()
            replies = await asyncio.gather(*asked)
            return worker.batches, replies

    batches, replies = play(scene(), 20)
    assert batches == [[7] * 4] * 5 + [[100] * 4] * 2
    assert {reply.status for reply in replies} == {200}


def test_jobs_take_no_more_than_half_of_the_queue():
    async def scene():
        worker = FakeWorker(at_once=False)
        async with working(offer(service=service(capacity=4)), [worker]) as (served, office, _):
            await submit(served, *[100] * 50)
            await until(lambda: office.active == 4)
            for _ in range(20):
                office.feeder.wake()
                await asyncio.sleep(0)
            return worker.batches, office.active, served.driver.desk.station.waiting

    assert play(scene(), 20) == ([[100] * 2], 4, 2)


class ShedsLong(NamedTuple):
    """Sheds whoever waits alone, and serves pairs."""

    sheds = True

    def decide(self, view):
        if not view.idle_servers:
            return wait()
        return fire(view, 0, 2) if view.waiting[0] > 1 else shed(view, 0, 1)


def test_whom_the_policy_refuses_is_tried_again_later_and_no_run_counts(monkeypatch):
    monkeypatch.setattr(feeding, "LATER_S", 0.01)

    async def scene():
        async with working(offer(ShedsLong())) as (served, _, _):
            await submit(served, 100)
            await until(lambda: served.counted("jobs_retries_total", why="refused") >= 3)
            while True:
                await served.ask(JOBS, inference(8))
                if (said := await job(served, "k-0"))["state"] == "done":
                    return said
                await asyncio.sleep(0.001)

    assert play(scene(), 20)["runs"] == 1


def test_a_job_that_can_no_longer_be_served_fails_with_the_sentence():
    async def scene():
        queue = Breakable(10, 60.0)
        await queue.submit([Job("a", inference(16)), Job("b", b"no"), Job("c", inference(600))])
        async with working(queue=queue) as (served, _, _):
            done = await over(served, "a")
            failed = [await over(served, name, "failed") for name in ("b", "c")]
            return done, failed, served.counted("jobs_total", outcome="failed")

    done, (b, c), failed = play(scene(), 20)
    assert done["runs"] == 1
    assert b["error"].startswith("the body is no JSON")
    assert c["error"].startswith("the request is 600 tokens long")
    assert failed == 2


def test_requests_go_on_while_the_queue_is_away_and_results_are_kept_until_it_is_back():
    async def scene():
        worker, queue = FakeWorker(at_once=False), Breakable(1000, 60.0)
        async with working(workers=[worker], queue=queue) as (served, office, said):
            await submit(served, *[100] * 4)
            await until(lambda: worker.batches)
            queue.away = True
            worker.finish()
            await until(lambda: office.feeder.away)
            ready = await served.ask("/v2/health/ready", method="GET")
            refused = await served.ask(JOBS, inference(8))
            asked = asyncio.create_task(served.infer(7))
            await until(lambda: len(worker.batches) == 2)
            worker.finish()
            connected = served.counted("jobs_connected")
            reply, queue.away = await asked, False
            await until(lambda: not office.feeder.away)
            return ready, refused, reply, connected, [
                (await over(served, f"k-{place}"))["runs"] for place in range(4)
            ], said, await served.ask("/v2/health/ready", method="GET")  # fmt: skip

    ready, refused, reply, connected, runs, said, after = play(scene(), 20)
    assert (ready.status, ready.json) == (200, {"ready": True, "jobs": False})
    assert (refused.status, refused.error) == (503, "the queue is away")
    assert reply.status == 200
    assert connected == 0
    assert runs == [1] * 4
    assert after.json == {"ready": True}
    assert said == [
        "warning: it is a toy",
        "the queue is away; jobs wait until it is back, other requests do not",
        "the queue in memory is back",
    ]


def test_a_queue_that_is_away_at_first_is_opened_when_it_is_there():
    async def scene():
        queue = Breakable(1000, 60.0)
        queue.away = True
        async with working(queue=queue) as (served, office, said):
            away = office.feeder.away
            queue.away = False
            await until(lambda: not office.feeder.away)
            await submit(served, 8)
            return away, (await over(served, "k-0"))["runs"], said

    away, runs, said = play(scene(), 20)
    assert (away, runs) == ("the queue is away", 1)
    assert said[1] == "warning: it is a toy"


def test_a_server_that_ends_finishes_what_it_has_and_takes_no_more():
    async def scene():
        worker, queue = FakeWorker(at_once=False), Breakable(1000, 60.0)
        async with working(workers=[worker], queue=queue) as (served, office, _):
            await submit(served, *[100] * 50)
            await until(lambda: office.active == 8)
            office.stop()
            refused = await served.ask(JOBS, inference(8))
            worker.finish()
            await until(lambda: len(worker.batches) == 2)
            worker.finish()
            await until(lambda: not office.active)
            await office.close()
            counts = await queue.counts()
            return refused, worker.batches, counts, (await queue.look(["k-7"]))[0].state

    refused, batches, counts, state = play(scene(), 20)
    assert (refused.status, refused.error) == (503, "the server ends")
    assert batches == [[100] * 4] * 2
    assert (counts.waiting, counts.running) == (42, 0)
    assert state == "done"


def test_a_server_that_dies_gives_back_what_it_had_and_those_runs_count():
    async def scene():
        worker, queue = FakeWorker(at_once=False), Breakable(1000, 60.0)
        async with working(workers=[worker], queue=queue) as (served, office, _):
            await submit(served, *[100] * 10)
            await until(lambda: office.active == 8)
            worker.die()
            await until(lambda: not office.active)
            await office.close()
            rows = await queue.look([f"k-{place}" for place in range(10)])
            return [(row.state, row.runs) for row in rows]

    assert play(scene(), 20) == [("queued", 1)] * 8 + [("queued", 0)] * 2


def test_who_is_cut_off_is_given_back():
    async def scene():
        worker, queue = FakeWorker(at_once=False), Breakable(1000, 60.0)
        async with working(workers=[worker], queue=queue) as (served, office, _):
            await submit(served, 100)
            await until(lambda: worker.batches)
            await office.close()
            return (await queue.look(["k-0"]))[0], office.active

    status, active = play(scene(), 20)
    assert (status.state, status.runs, active) == ("queued", 1, 0)


def test_a_policy_that_waits_for_more_gets_them():
    async def scene():
        async with working(offer(Static(4))) as (served, _, _):
            await submit(served, *[100] * 8)
            return [(await over(served, f"k-{place}"))["runs"] for place in range(8)]

    assert play(scene(), 20) == [1] * 8


def test_windows_with_jobs_say_nothing_about_arrivals():
    from test_serving_drift import FLAT

    async def scene():
        drift = Drift(FLAT)
        async with serving() as served:
            served.front.drift = drift
            office = Office(Breakable(1000, 60.0), 0, served.front)
            await office.open()
            before = drift.window.jobs
            await submit(served, 8)
            await over(served, "k-0")
            await office.close()
            return before, drift.window.jobs

    assert play(scene(), 20) == (False, True)


@pytest.mark.parametrize(
    ("path", "method", "body", "headers", "status", "sentence"),
    [
        (JOBS, "PUT", b"", {}, 405, "this path takes GET, POST"),
        (f"{JOBS}/a", "POST", b"", {}, 405, "this path takes GET, DELETE"),
        (f"{JOBS}/a/again", "GET", b"", {}, 405, "this path takes POST"),
        (f"{JOBS}x", "GET", b"", {}, 404, "there is nothing at /v2/models/m/jobsx"),
        (f"{JOBS}/a/b", "GET", b"", {}, 404, "there is nothing at /v2/models/m/jobs/a/b"),
        (f"{JOBS}/a b", "GET", b"", {}, 404, "there is no job 'a b'"),
        (f"{JOBS}/a", "GET", b"", {}, 404, "there is no job a, or it is forgotten"),
        (f"{JOBS}/a", "DELETE", b"", {}, 404, "there is no job a, or it is forgotten"),
        (f"{JOBS}/a/again", "POST", b"", {}, 404, "there is no job a, or it is forgotten"),
        (JOBS, "POST", b"{", {}, 400, "the body is no JSON"),
        (JOBS, "POST", inference(600), {}, 400, "the request is 600 tokens long"),
        (JOBS, "POST", inference(6, tier="interactive"), {}, 400,
         "jobs are of tier offline, but 'interactive' was asked for"),
        (JOBS, "POST", inference(6), {"x-batchwright-tier": "interactive"}, 400,
         "jobs are of tier offline, but 'interactive' was asked for"),
        (JOBS, "POST", inference(6), {"idempotency-key": "a/b"}, 400,
         "idempotency-key = 'a/b' must be 1 to 100 letters"),
        (JOBS, "POST", b"\n\n", LINES, 400, "the body has 0 lines, but must have 1 to 10000"),
        (JOBS, "POST", inference(6) + b"\n{}", LINES, 400, "line 2: inputs is missing"),
        (JOBS, "POST", b" " * 10**6 + b"x", LINES, 413, "line 1 must have at most"),
        (f"{JOBS}?x=1", "GET", b"", {}, 400, "x is unknown; give batch, first and count"),
        (f"{JOBS}?state=done", "GET", b"", {}, 400, "state = 'done' must be dead"),
        (f"{JOBS}?batch=a%2Fb", "GET", b"", {}, 400, "batch = 'a/b' must be the id of a batch"),
        (f"{JOBS}?batch=a&count=-1", "GET", b"", {}, 400, "count = '-1' must be a whole number"),
        (f"{JOBS}?batch=a&count=1001", "GET", b"", {}, 400, "count = '1001' must be a whole"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_a_sentence(path, method, body, headers, status, sentence):
    async def scene():
        async with working(offer(Priority(), TIERS), tier=1) as (served, _, _):
            return await served.ask(path, body, method=method, headers=headers)

    reply = play(scene(), 20)
    assert reply.error.startswith(sentence)
    assert reply.status == status


def test_jobs_want_the_token():
    async def scene():
        async with working(token="s3cret-s3cret-s3cret") as (served, _, _):
            return await served.ask(JOBS, method="GET")

    assert play(scene(), 20).status == 401


def test_a_full_queue_is_told_with_429_and_other_jobs_of_that_name_with_409():
    async def scene():
        queue, worker = Breakable(3, 60.0), FakeWorker(at_once=False)
        async with working(workers=[worker], queue=queue) as (served, _, _):
            await submit(served, 8, 9, 10)
            full = await served.ask(JOBS, inference(8))
            again = await submit(served, 8, 9, 10)
            headers = {"idempotency-key": '"k-0"'}
            same = await served.ask(JOBS, inference(8), headers=headers)
            other = await served.ask(JOBS, inference(9), headers=headers)
            lines_too = await served.ask(
                JOBS, lines(8, 10), headers={**LINES, "idempotency-key": "k"}
            )
            return full, again, same, other, lines_too, served.counted("jobs_refused_total")

    full, again, same, other, lines_too, refused = play(scene(), 20)
    assert (full.status, full.headers["retry-after"]) == (429, "10")
    assert full.error == "the queue of jobs is full: 3 jobs are unfinished, of 3"
    assert again["jobs"] == 3
    assert (same.status, same.json["id"]) == (202, "k-0")
    assert (other.status, other.error) == (409, "another job is called k-0 already")
    assert (lines_too.status, lines_too.error) == (409, "another job is called k-1 already")
    assert refused == 1


def test_jobs_are_cancelled_and_forgotten():
    async def scene():
        worker = FakeWorker(at_once=False)
        async with working(workers=[worker]) as (served, office, _):
            await submit(served, *[100] * 20)
            await until(lambda: office.active == 8)
            said = [await served.ask(f"{JOBS}/k-{place}", method="DELETE") for place in (0, 19, 19)]
            again = await served.ask(f"{JOBS}/k-0/again")
            counts = (await served.ask(JOBS, method="GET")).json
            return said, again, counts, served.counted("jobs_total", outcome="cancelled")

    (running, waiting, gone), again, counts, cancelled = play(scene(), 20)
    assert (running.status, running.error) == (409, "job k-0 runs, and cannot be cancelled")
    assert waiting.json == {"id": "k-19", "state": "cancelled"}
    assert gone.json == {"id": "k-19", "state": "forgotten"}
    assert (again.status, again.error) == (
        409, "job k-0 is running: only dead ones are run again",
    )  # fmt: skip
    assert {key: counts[key] for key in ("waiting", "running", "dead", "capacity")} == {
        "waiting": 11, "running": 8, "dead": 0, "capacity": 1000,
    }  # fmt: skip
    assert cancelled == 1


class Touchy(FakeWorker):
    """Dies of a job of length 77."""

    def start(self, place, lengths):
        if 77 in lengths:
            self.batches.append(list(lengths))
            self.die()
        else:
            super().start(place, lengths)


@pytest.mark.skipif(bool(redis_server.missing()), reason=redis_server.missing())
def test_a_job_that_kills_its_server_is_dead_after_two_and_takes_no_other_with_it():
    from experiments.serving.jobs.redis_streams import RedisQueue

    async def life(url, first):
        """A server from its beginning to the end of its worker, or of all jobs."""
        worker, queue = Touchy(), RedisQueue(url, "m", 1000, 60.0)
        async with working(workers=[worker], queue=queue) as (served, office, _):
            if first:
                await submit(served, *[100] * 5, 77, *[100] * 30)
            while served.driver.failure is None:
                counts = await queue.counts()
                if not counts.waiting + counts.running:
                    break
                await asyncio.sleep(0.005)
            await until(lambda: not office.active)
            rows = await queue.look([f"k-{place}" for place in range(36)])
            return worker.batches, rows, await queue.buried(10), served.driver.failure

    async def scene(url):
        return [await life(url, at == 0) for at in range(3)]

    with redis_server.running() as server:
        first, second, third = play(scene(server.url), 40)
    assert sum(batch.count(77) for batches, *_ in (first, second, third) for batch in batches) == 2
    assert [77] in second[0], "it is run again on its own"
    _, rows, buried, failure = third
    assert failure is None
    assert [row.identity for row in rows if row.state != "done"] == ["k-5"]
    assert [(row.identity, row.state, row.runs) for row in buried] == [("k-5", "dead", 2)]
    assert buried[0].content == b"the process of server 0 was killed by signal 9"
