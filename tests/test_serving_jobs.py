"""What every queue of jobs promises, and what only one in Redis does: it outlives its servers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
import redis_server
from serving_client import play

from experiments.sentences import ScenarioError
from experiments.serving.jobs.contract import (
    AwayError,
    Back,
    Ended,
    FullError,
    Job,
    State,
    Taking,
)
from experiments.serving.jobs.memory import MemoryQueue

CAPACITY = 8
needs_redis = pytest.mark.skipif(bool(redis_server.missing()), reason=redis_server.missing())


@pytest.fixture(scope="module")
def there():
    """A server of Redis for all tests of a module."""
    with redis_server.running() as server:
        yield server


class InMemory:
    def queue(self, **changed):
        return MemoryQueue(**{"capacity": CAPACITY, "keep_s": 60.0, **changed})


class InRedis:
    def __init__(self, url, model):
        self.url, self.model = url, model

    def queue(self, **changed):
        from experiments.serving.jobs.redis_streams import RedisQueue

        given = {"capacity": CAPACITY, "keep_s": 60.0, "lease_s": 3600.0, **changed}
        return RedisQueue(self.url, self.model, **given)


def named(request):
    """A place that no other test uses."""
    return "".join(c if c.isalnum() else "_" for c in request.node.name)


@pytest.fixture
def redis(request, there):
    return InRedis(there.url, named(request))


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def kind(request):
    return InMemory() if request.param == "memory" else request.getfixturevalue("redis")


@asynccontextmanager
async def opened(kind, **changed):
    queue = kind.queue(**changed)
    await queue.open()
    try:
        yield queue
    finally:
        await queue.close()


def jobs(*names, body=b"{}"):
    return [Job(name, body) for name in names]


async def take(queue, most=100, mine=(), *, apart=True):
    return await queue.take(most, mine, apart=apart)


def names(handful):
    return [taken.job.identity for taken in handful.taken]


def done(handful, content=b'{"ok":1}'):
    return [Ended(taken, State.done, content) for taken in handful.taken]


async def state(queue, name):
    (status,) = await queue.look([name])
    return status.state, status.runs, status.content


def test_jobs_are_taken_in_their_order_and_their_results_are_kept(kind):
    async def scene():
        async with opened(kind) as queue:
            said = await queue.submit(jobs("a", "b", "c"))
            before = await state(queue, "a")
            first = await take(queue, 2)
            running = await state(queue, "a")
            ended = await queue.end(done(first))
            rest = await take(queue)
            return said, before, running, ended, names(first), names(rest), await state(queue, "a")

    said, before, running, ended, first, rest, after = play(scene())
    assert said == [Taking.new] * 3
    assert before == (State.queued, 0, b"")
    assert running == (State.running, 1, b"")
    assert ended == [True, True]
    assert (first, rest) == (["a", "b"], ["c"])
    assert after == (State.done, 1, b'{"ok":1}')


def test_a_body_comes_back_as_it_was_byte_for_byte(kind):
    body = bytes(range(256)) * 4

    async def scene():
        async with opened(kind) as queue:
            await queue.submit([Job("a", body, 17), Job("b", body)])
            return (await take(queue)).taken

    a, b = play(scene())
    assert (a.job, b.job) == (Job("a", body, 17), Job("b", body))


def test_the_same_job_is_kept_once_and_another_of_its_name_is_not_taken(kind):
    async def scene():
        async with opened(kind) as queue:
            await queue.submit([Job("a", b"1")])
            again = await queue.submit([Job("a", b"1"), Job("a2", b"1")])
            other = await queue.submit([Job("a", b"2")])
            header = await queue.submit([Job("a", b"1", 1)])
            handful = await take(queue)
            await queue.end(done(handful))
            later = await queue.submit([Job("a", b"1")])
            return again, other, header, names(handful), later, names(await take(queue))

    again, other, header, taken, later, rest = play(scene())
    assert again == [Taking.known, Taking.new]
    assert (other, header, later) == ([Taking.other], [Taking.other], [Taking.known])
    assert (taken, rest) == (["a", "a2"], [])


def test_a_full_queue_takes_all_or_none_and_what_it_has_may_be_sent_again(kind):
    async def scene():
        async with opened(kind) as queue:
            await queue.submit(jobs(*"abcdef"))
            with pytest.raises(FullError, match="6 jobs are unfinished, of 8"):
                await queue.submit(jobs(*"xyz"))
            with pytest.raises(FullError):
                await queue.submit(jobs("x"), 2)
            await queue.submit(jobs("x"), 1)
            await queue.submit(jobs("y"), -1)
            known = await queue.submit(jobs(*"abcdefxy"), 3)
            handful = await take(queue, 1)
            with pytest.raises(FullError):
                await queue.submit(jobs("z"))
            await queue.end(done(handful))
            return known, await queue.submit(jobs("z")), await queue.counts()

    known, said, counts = play(scene())
    assert known == [Taking.known] * 8
    assert said == [Taking.new]
    assert (counts.waiting, counts.running, counts.dead) == (8, 0, 0)


def test_the_first_result_is_the_result(kind):
    async def scene():
        async with opened(kind) as queue:
            await queue.submit(jobs("a"))
            handful = await take(queue)
            first = await queue.end(done(handful, b"1"))
            second = await queue.end(done(handful, b"2"))
            return first, second, await state(queue, "a")

    first, second, after = play(scene())
    assert (first, second) == ([True], [False])
    assert after == (State.done, 1, b"1")


def test_who_is_refused_comes_again_and_no_run_counts(kind):
    async def scene():
        async with opened(kind) as queue:
            await queue.submit(jobs("a", "b"))
            for _ in range(5):
                handful = await take(queue, 1)
                back = [Back(taken, ran=False) for taken in handful.taken]
                await queue.give_back(back)
                await queue.give_back(back)  # its answer was lost
                assert (await state(queue, handful.taken[0].job.identity))[:2] == (State.queued, 0)
            return names(await take(queue)), await state(queue, "a")

    taken, after = play(scene())
    assert sorted(taken) == ["a", "b"]
    assert after[:2] == (State.running, 1)


def test_who_is_to_come_later_does(kind):
    async def scene():
        async with opened(kind) as queue:
            await queue.submit(jobs("a"))
            handful = await take(queue)
            await queue.give_back([Back(handful.taken[0], ran=False, later_s=1000.0)])
            early = names(await take(queue))
            await queue.submit(jobs("b"))
            return early, names(await take(queue))

    assert play(scene()) == ([], ["b"])


def test_who_waits_is_cancelled_who_runs_is_not_and_who_is_over_is_forgotten(kind):
    async def scene():
        async with opened(kind) as queue:
            await queue.submit(jobs("a", "b", "c"))
            handful = await take(queue, 1)
            said = [await queue.cancel(name) for name in ("a", "b", "nobody")]
            states = [(await state(queue, name))[0] for name in ("a", "b", "c")]
            rest = names(await take(queue, 100, handful.taken))
            await queue.end(done(handful))
            said += [await queue.cancel("a"), await queue.cancel("b")]
            states += [(await state(queue, name))[0] for name in ("a", "b")]
            return said, states, rest, await queue.submit(jobs("a", "b"))

    said, states, rest, again = play(scene())
    assert said == [State.running, State.queued, State.unknown, State.done, State.cancelled]
    assert states == [State.running, State.cancelled, State.queued, State.unknown, State.unknown]
    assert rest == ["c"]
    assert again == [Taking.new] * 2


def test_it_is_known_how_many_wait_and_run_and_how_old_the_oldest_is(kind):
    async def scene():
        async with opened(kind) as queue:
            none = await queue.counts()
            await queue.submit(jobs("a", "b", "c"))
            handful = await take(queue, 2)
            some = await queue.counts()
            await queue.give_back([Back(handful.taken[0], ran=False, later_s=9.0)])
            await queue.end(done(handful)[1:])
            return none, some, await queue.counts()

    none, some, after = play(scene())
    assert none == (0, 0, 0, 0)
    assert some[:3] == (1, 2, 0)
    assert some.oldest_s >= 0
    assert after[:3] == (2, 0, 0)


def test_results_are_forgotten_after_their_time(kind):
    async def scene():
        async with opened(kind, keep_s=0.02) as queue:
            await queue.submit(jobs("a", "b"))
            await queue.end(done(await take(queue, 1)))
            while (await state(queue, "a"))[0] is not State.unknown:
                await asyncio.sleep(0.01)
            return await queue.submit(jobs("a")), (await state(queue, "b"))[0]

    assert play(scene()) == ([Taking.new], State.queued)


def test_memory_is_bounded_in_bytes_too():
    async def scene():
        queue = MemoryQueue(100, 60.0, bytes_most=100)
        await queue.submit(jobs(*"abc", body=b"x" * 33))
        with pytest.raises(FullError, match="jobs in memory may have 100 bytes"):
            await queue.submit(jobs("d", body=b"x" * 2))
        handful = await take(queue)
        await queue.end(done(handful, b"y" * 50))
        await queue.submit(jobs("d", body=b"x" * 100))
        return [(await state(queue, name))[0] for name in "abcd"]

    assert play(scene()) == [State.unknown, State.done, State.done, State.queued]


# What only Redis can do


@needs_redis
def test_what_a_silent_server_had_is_run_once_more_apart_from_others(redis):
    async def scene():
        async with opened(redis, lease_s=0.05) as first, opened(redis, lease_s=0.05) as second:
            await first.submit(jobs("a", "b", "c"))
            lost = await take(first, 2)
            await asyncio.sleep(0.2)
            alone = await take(second)
            held = await take(second, 100, alone.taken)
            await second.end(done(alone))
            then = await take(second)
            await second.end(done(then))
            rest = await take(second)
            late = await first.end(done(lost, b'{"late":1}'))
            return names(lost), alone, held, then, rest, late, await state(second, "a")

    lost, alone, held, then, rest, late, after = play(scene())
    assert lost == ["a", "b"]
    assert (names(alone), alone.apart, alone.taken[0].attempt) == (["a"], True, 2)
    assert (names(held), held.held) == ([], True)
    assert (names(then), then.apart) == (["b"], True)
    assert (names(rest), rest.apart, rest.held) == (["c"], False, False)
    assert late == [False, False]
    assert after == (State.done, 2, b'{"ok":1}')


@needs_redis
def test_nobody_takes_the_jobs_of_a_server_that_gives_signs_of_life(redis):
    async def scene():
        async with opened(redis, lease_s=0.6) as first, opened(redis, lease_s=0.6) as second:
            await first.submit(jobs("a"))
            mine = (await take(first)).taken
            clock = asyncio.get_running_loop().time
            until = clock() + 1.5
            while (signed := clock()) < until:
                await take(first, 0, mine)
                await asyncio.sleep(0.02)
                seen, silent_s = names(await take(second)), clock() - signed
                if silent_s < 0.4:  # else this test stood still for as long as the lease
                    assert seen == []
                if seen:
                    break

    play(scene())


@needs_redis
def test_who_ran_twice_in_servers_that_died_is_dead_with_the_reason_until_asked_for(redis):
    async def scene():
        async with opened(redis) as queue:
            await queue.submit(jobs("a", "b", body=b"body"))
            for _ in range(2):
                handful = await take(queue, 1, apart=False)
                why = "the process of server 0 was killed by signal 9"
                await queue.give_back([Back(handful.taken[0], ran=True, reason=why)])
            rest = await take(queue)
            dead, counts = await state(queue, "a"), await queue.counts()
            listed = await queue.buried(10)
            known = await queue.submit(jobs("a", body=b"body"))
            again = await queue.again("a"), await queue.again("a"), await queue.again("nobody")
            back = await take(queue, 100, rest.taken)
            await queue.end(done(back))
            return rest, dead, counts, listed, known, again, back, await state(queue, "a")

    rest, dead, counts, listed, known, again, back, after = play(scene())
    assert (names(rest), rest.buried) == (["b"], 1)
    assert dead == (State.dead, 2, b"the process of server 0 was killed by signal 9")
    assert (counts.waiting, counts.running, counts.dead) == (0, 1, 1)
    assert [status.identity for status in listed] == ["a"]
    assert known == [Taking.known]
    assert again == (State.dead, State.queued, State.unknown)
    assert [(taken.job, taken.attempt) for taken in back.taken] == [(Job("a", b"body"), 1)]
    assert after == (State.done, 1, b'{"ok":1}')


@needs_redis
def test_a_result_that_comes_after_all_wakes_the_dead(redis):
    async def scene():
        async with opened(redis) as queue:
            await queue.submit(jobs("a"))
            for _ in range(2):
                handful = await take(queue)
                await queue.give_back([Back(handful.taken[0], ran=True)])
            await take(queue)
            dead = await state(queue, "a")
            await queue.end(done(handful))
            return dead, await state(queue, "a"), await queue.buried(10), await queue.counts()

    dead, after, listed, counts = play(scene())
    assert dead == (State.dead, 2, b"both servers that it ran in fell silent")
    assert after[0] is State.done
    assert (listed, counts[:3]) == ([], (0, 0, 0))


@needs_redis
def test_dead_ones_are_forgotten_when_asked_to(redis):
    async def scene():
        async with opened(redis) as queue:
            await queue.submit(jobs("a"))
            for _ in range(2):
                await queue.give_back([Back((await take(queue)).taken[0], ran=True)])
            await take(queue)
            return await queue.cancel("a"), await state(queue, "a"), await queue.counts()

    before, after, counts = play(scene())
    assert (before, after[0], counts.dead) == (State.dead, State.unknown, 0)


@needs_redis
def test_an_answer_that_is_lost_on_its_way_costs_no_job_a_run(redis):
    async def scene():
        async with opened(redis) as queue:
            await queue.submit(jobs("a", "b", "c"))
            mine = (await take(queue, 1)).taken
            await take(queue, 2, mine)  # nobody hears of it
            handful = await take(queue, 100, mine)
            return names(handful), [await state(queue, name) for name in "abc"]

    taken, states = play(scene())
    assert taken == ["b", "c"]
    assert [each[:2] for each in states] == [(State.running, 1)] * 3


@needs_redis
def test_a_run_that_is_told_twice_is_counted_and_taken_back_once(redis):
    async def scene():
        async with opened(redis) as first, opened(redis) as second:
            await first.submit(jobs("a"))
            lost = (await take(first)).taken[0]
            await first.give_back([Back(lost, ran=True)])
            ran = (await take(second)).taken[0]
            await second.give_back([Back(ran, ran=False)] * 2)
            await first.give_back([Back(lost, ran=True)] * 2)
            runs = (await state(first, "a"))[1]
            return ran.attempt, runs, (await take(second)).taken[0].attempt

    assert play(scene()) == (2, 1, 2)


@needs_redis
def test_patience_with_who_runs_apart_ends(redis):
    async def scene():
        async with opened(redis) as queue:
            await queue.submit(jobs("a", "b", "c"))
            handful = await take(queue, 2)
            await queue.give_back([Back(taken, ran=True) for taken in handful.taken])
            return await take(queue, 100, apart=False)

    handful = play(scene())
    assert (names(handful), handful.apart) == (["a", "b", "c"], False)


@needs_redis
def test_queues_of_other_models_are_other_queues(redis):
    async def scene():
        other = InRedis(redis.url, f"{redis.model}_other")
        async with opened(redis) as queue, opened(other) as beside:
            await queue.submit(jobs("a"))
            return names(await take(beside)), (await state(beside, "a"))[0]

    assert play(scene()) == ([], State.unknown)


@needs_redis
def test_jobs_survive_the_end_of_redis_and_it_is_told_while_it_is_away():
    async def scene(server):
        async with opened(InRedis(server.url, "m")) as queue:
            assert await queue.open() == []
            await queue.submit(jobs("a", "b", "c", body=b"body"))
            mine = (await take(queue, 2)).taken
            await queue.end([Ended(mine[0], State.done, b"1")])
            server.kill()
            with pytest.raises(AwayError, match=f"Redis at 127.0.0.1:{server.port}/0 is away"):
                await queue.submit(jobs("d"))
            server.start()
            states = [await state(queue, name) for name in "abcd"]
            rest = await take(queue, 100, mine[1:])
            return states, rest, await queue.end([Ended(mine[1], State.done, b"2")])

    with redis_server.running() as server:
        states, rest, ended = play(scene(server))
    assert [each[0] for each in states] == [
        State.done, State.running, State.queued, State.unknown,
    ]  # fmt: skip
    assert [taken.job for taken in rest.taken] == [Job("c", b"body")]
    assert ended == [True]


@needs_redis
def test_a_redis_that_forgot_everything_is_used_anew():
    async def scene(server):
        async with opened(InRedis(server.url, "m")) as queue:
            doubts = await queue.open()
            await queue.submit(jobs("a"))
            mine = (await take(queue)).taken
            server.kill()
            server.start()
            lost = await take(queue, 100, mine)
            await queue.end([Ended(mine[0], State.done, b"1")])
            await queue.submit(jobs("b"))
            return doubts, names(lost), await state(queue, "a"), names(await take(queue))

    with redis_server.running(appendonly="no") as server:
        doubts, lost, after, taken = play(scene(server))
    assert doubts == [
        "Redis keeps jobs in memory only (appendonly no), so that they are lost when it ends: set "
        "appendonly yes"
    ]
    assert (lost, after[0], taken) == ([], State.done, ["b"])


@needs_redis
def test_a_redis_that_may_lose_jobs_is_told_of():
    async def scene(server):
        async with opened(InRedis(server.url, "m")) as queue:
            return await queue.open()

    with redis_server.running(
        **{"appendfsync": "everysec", "maxmemory-policy": "allkeys-lru"}
    ) as server:
        slow, evicts = play(scene(server))
    assert slow.startswith("Redis may lose jobs of the last seconds (appendfsync everysec)")
    assert evicts.startswith("Redis may throw jobs away where it is full (maxmemory-policy allkeys")


async def fill(queue):
    for place in range(10**4):
        await queue.submit([Job(f"n{place}", b"x" * 100_000)])


@needs_redis
def test_a_redis_without_memory_takes_no_job_and_still_takes_results():
    async def scene(server):
        async with opened(InRedis(server.url, "m"), capacity=10**6) as queue:
            await queue.submit(jobs("a", "b"))
            mine = (await take(queue, 1)).taken
            with pytest.raises(FullError, match="has no memory left"):
                await fill(queue)
            await queue.end([Ended(mine[0], State.done, b"1")])
            return (await state(queue, "a"))[0], names(await take(queue, 1))

    with redis_server.running(maxmemory="4mb", appendfsync="no") as server:
        assert play(scene(server)) == (State.done, ["b"])


@needs_redis
def test_who_is_not_let_in_is_told_so_without_the_password():
    async def scene(url):
        queue = InRedis(url, "m").queue()
        try:
            await queue.open()
        finally:
            await queue.close()

    with redis_server.running(requirepass="right") as server:
        url = server.url.replace("redis://", "redis://:wrong-one@")
        with pytest.raises(ScenarioError, match="does not let us in") as error:
            play(scene(url))
        play(scene(server.url.replace("redis://", "redis://:right@")))
    assert "wrong-one" not in str(error.value)
