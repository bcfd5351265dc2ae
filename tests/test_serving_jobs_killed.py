"""Servers and Redis are killed while jobs are done: none is lost, and none runs more than twice."""

from __future__ import annotations

import pytest
import redis_server

pytest.importorskip("prometheus_client")

from kill_jobs import kills, tormented

pytestmark = pytest.mark.skipif(bool(redis_server.missing()), reason=redis_server.missing())


def check(found, jobs, count):
    assert sum(found.kills.values()) == count
    assert sum(found.states.values()) == jobs
    assert set(found.states) <= {"done", "dead"}, "some were lost"
    twice = [job for job, runs in found.ran.items() if runs == 2]
    assert max(found.ran.values()) <= 2
    assert len(found.ran) == jobs, "some never ran"
    assert found.states["dead"] <= len(twice), "some are dead that did not run twice"
    assert not found.wrong
    assert found.begun_again == 0


def test_three_kills_lose_none_of_three_hundred_jobs():
    check(tormented(300, 3, seed=5, lease_s=1), 300, 3)


@pytest.mark.slow
def test_twenty_kills_lose_none_of_ten_thousand_jobs():
    check(tormented(10_000, 20, seed=1, servers=2), 10_000, 20)


def test_half_of_the_kills_are_of_servers_and_half_of_redis():
    for seed in range(20):
        plan = kills(10_000, 20, seed)
        victims = [victim for kill in plan for victim in kill.victims]
        assert (victims.count("server"), victims.count("redis")) == (10, 10)
        assert [kill.begun for kill in plan] == sorted(kill.begun for kill in plan)
