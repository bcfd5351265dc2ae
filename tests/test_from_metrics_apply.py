"""A policy that is put with what it was chosen for: new predictions, new times, nobody lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from serving_client import MS, FakeWorker, Served, offer, play, service, until

from experiments.config import load_scenario
from experiments.serving import outlook
from experiments.serving.drift import WINDOW_NS, Drift, Expected, Interval
from experiments.serving.foretold import outlook_of
from experiments.serving.open_inference import RequestError
from experiments.serving.web import Front
from policies.snap import Snap
from sim.endless import Comer

OLD = Expected(
    Interval(0.8, 1.0, 1.2), Interval(0.8, 1.0, 1.2), np.array([10, 20]), np.array([0.5, 1.0]), 1.0
)
NEW = Expected(
    Interval(80.0, 100.0, 120.0), Interval(0.9, 1.0, 1.1), np.array([5, 9, 30]),
    np.array([0.2, 0.7, 1.0]), 2.5,
)  # fmt: skip
RULE = {"kind": "size_or_timeout", "max_batch_size": 2, "max_wait_ms": 1.0}


class Watched(Served):
    """A server with an alarm."""

    def __init__(self, *, at_once=True):
        self.drift = Drift(OLD)
        offered = offer(policy=Snap(), table={"kind": "snap"})
        super().__init__(offered, [FakeWorker(at_once=at_once)], None, (self.drift,))
        self.front = Front(offered, self.driver, self.meters, drift=self.drift)

    async def put(self, content):
        return await self.ask("/policy", json.dumps(content).encode(), "PUT")

    @property
    def station(self):
        return self.driver.desk.station


def watched(scene, **given):
    async def whole():
        served = Watched(**given)
        try:
            return await scene(served)
        finally:
            served.driver.close()
            for worker in served.workers:
                worker.close()

    return play(whole())


def alarmed(drift):
    """Let an alarm ring."""
    for window in range(3):
        for at in range(300):
            drift.arrived(Comer(window * WINDOW_NS + at, 10 + at % 9))
        drift.tick((window + 1) * WINDOW_NS)
    assert drift.alarms["arrivals"]


def told(expected=None, times=None):
    return json.loads(json.dumps(outlook.written(expected, times)))


def test_an_outlook_comes_back_as_it_was_written():
    mine = service()
    found = outlook.read({"policy": {}, **told(NEW, mine)}, mine)
    assert np.array_equal(found.service_ns, mine.service_ns)
    for name in ("arrivals", "service", "distance"):
        assert getattr(found.expected, name) == getattr(NEW, name)
    assert np.array_equal(found.expected.bins, NEW.bins)
    assert np.array_equal(found.expected.below, NEW.below)
    assert outlook.read({}, mine) == outlook.SAME


def test_the_alarm_that_rang_ends_with_the_new_prediction_and_rings_for_what_is_off_that():
    async def scene(served):
        alarmed(served.drift)
        reply = await served.put({"policy": RULE, **told(NEW)})
        rang = dict(served.drift.alarms)
        for window in range(2):  # life as the old prediction had it
            for at in range(90):
                served.drift.arrived(Comer((10 + window) * WINDOW_NS + at, 12))
            served.drift.tick((11 + window) * WINDOW_NS)
        return reply, rang, dict(served.drift.alarms), served.drift.intervals["arrivals"]

    reply, rang, later, interval = watched(scene)
    assert (reply.status, reply.json["policy"]) == (200, RULE)
    assert not any(rang.values())
    assert later["arrivals"]
    assert interval == NEW.arrivals


@pytest.mark.parametrize("content", [RULE, {"policy": RULE}])
def test_a_policy_alone_leaves_the_alarm_and_the_times_as_they_are(content):
    async def scene(served):
        alarmed(served.drift)
        before = served.station.service
        reply = await served.put(content)
        return reply.status, served.drift.alarms["arrivals"], served.station.service is before

    assert watched(scene) == (200, True, True)


def test_rules_know_the_times_that_they_were_tuned_for():
    slower = replace(service(), service_ns=service().service_ns * 3)

    async def scene(served):
        await served.infer(16)
        took = []
        served.drift.window.ran = lambda service_ns, expected_ns: took.append(expected_ns)
        await served.infer(16)
        await served.put({"policy": {"kind": "snap"}, **told(times=slower)})
        served.drift.window.ran = lambda service_ns, expected_ns: took.append(expected_ns)
        await served.infer(16)
        return took, served.station.queues[0].policy.service_ns

    took, known = watched(scene)
    assert took[1] == 3 * took[0]
    assert np.array_equal(known, slower.service_ns[0])


def test_who_waits_and_who_runs_is_answered_when_policy_times_and_prediction_change():
    slower = replace(service(), service_ns=service().service_ns * 3)

    async def scene(served):
        (worker,) = served.workers
        asked = [asyncio.create_task(served.infer(16)) for _ in range(7)]
        await until(lambda: served.driver.desk.present == 7 and worker.batches)
        reply = await served.put({"policy": RULE, **told(NEW, slower)})
        while not all(task.done() for task in asked):
            before = len(worker.batches)
            worker.finish()
            await until(
                lambda seen=before: len(worker.batches) > seen or served.driver.desk.present == 0
            )
        return reply.status, [task.result().status for task in asked], worker.batches

    status, answers, batches = watched(scene, at_once=False)
    assert status == 200
    assert answers == [200] * 7
    assert sum(map(len, batches)) == 7
    assert max(map(len, batches[1:])) == 2


def test_get_says_how_long_windows_are():
    async def scene(served):
        return (await served.ask("/policy", method="GET")).json

    assert watched(scene) == {"policy": {"kind": "snap"}, "drift": {"window_s": 90.0}}


def wrong(**changed):
    """An outlook of which a part is something else."""
    content = {"policy": RULE, **told(NEW, service())}
    for path, value in changed.items():
        *way, last = path.split("__")
        here = content
        for key in way:
            here = here[key]
        here[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (wrong(expectd={}), "unknown key expectd; there are policy, expected and times"),
        (wrong(policy=[]), "policy must be an object with a kind"),
        (wrong(expected=[]), "expected must be an object"),
        (wrong(expected__arrivals=[3, 2, 1]), "expected.arrivals must be [low, usual, high]"),
        (wrong(expected__service=[1, 2]), "expected.service must be [low, usual, high]"),
        (wrong(expected__service="x"), "expected.service must be numbers of at least 0"),
        (wrong(expected__lengths__up_to=[5, 5, 6]), "lengths that increase"),
        (wrong(expected__lengths__share=[1.0]), "but there are 3 and 1"),
        (wrong(times__lengths=[600, 4]), "times.lengths must be lengths that increase"),
        (wrong(times__lengths=[4]), "times.ns[0] must have 1 numbers, one a length"),
        (wrong(times__ns=[[1, 2]]), "times.ns must be a list of 4 lists, one a batch size"),
        (wrong(times__ns=[[1]] * 4), "times.ns[0] must have 2 numbers, one a length"),
        (wrong(times__ns=[[0, 1]] * 4), "times.ns[0] must be times above 0"),
        (wrong(policy={"kind": "snapp"}), "policy.kind"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_changes_nothing(content, words):
    async def scene(served):
        before = served.station.service
        reply = await served.put(content)
        unchanged = served.station.service is before and served.drift.expected is OLD
        return reply.status, reply.error, unchanged, served.driver.changes

    status, error, unchanged, changes = watched(scene)
    assert (status, unchanged, changes) == (400, True, 0)
    assert words in error


def test_times_of_other_lengths_are_read_at_the_servers_own():
    own = service()
    low, high = own.length_edges.tolist()
    edges = [low + (high - low) // 4, low + (high - low) // 2]
    at = [np.array([np.interp(edge, (low, high), row) for edge in edges])
          for row in own.service_ns[0]]  # fmt: skip
    content = {"policy": RULE, "times": {
        "lengths": edges, "ns": [(row * (2.0, 3.0)).tolist() for row in at]}}  # fmt: skip

    async def scene(served):
        reply = await served.put(content)
        return reply.status, served.station.service.service_ns

    status, times_ns = watched(scene)
    assert status == 200
    assert np.allclose(times_ns, own.service_ns * (2.0, 3.0), atol=1)


def test_a_policy_that_cannot_be_bound_leaves_the_times_as_they_were():
    slower = replace(service(), service_ns=service().service_ns * 3)

    async def scene(served):
        rule = {"kind": "length_bucketed", "boundaries": [20, 10], "max_batch_size": 2,
                "max_wait_ms": 1.0}  # fmt: skip
        reply = await served.put({"policy": rule, **told(NEW, slower)})
        return reply.status, np.array_equal(served.station.service.service_ns, slower.service_ns)

    assert watched(scene) == (400, False)


SCENARIO = """
name = "s"
[workload]
requests = 2_000
arrivals = { process = "poisson", rate_per_s = 40.0 }
lengths = { distribution = "uniform", min = 4, max = 512 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.5, per_length_ms = 0.005, max_batch_size = 4 }
[policies.greedy]
kind = "greedy"
"""


def test_a_scenario_that_is_read_again_tells_its_outlook_at_the_servers_own_lengths(tmp_path):
    (tmp_path / "s.toml").write_text(SCENARIO)
    scenario = load_scenario(tmp_path / "s.toml")
    slower = load_scenario(tmp_path / "s.toml", ["service.model.base_ms=9"])
    other = load_scenario(tmp_path / "s.toml", ["service.model.max_batch_size=5"])
    _, served = scenario.draw()
    policy = scenario.policies["greedy"]
    found = outlook_of(slower, policy, served, WINDOW_NS)
    assert found.service_ns[0, 0, 0] - served.service_ns[0, 0, 0] == 7 * MS
    assert found.expected.arrivals.usual == pytest.approx(40.0, rel=0.1)
    assert outlook_of(slower, policy, served, None).expected is None
    shorter = load_scenario(tmp_path / "s.toml", ["workload.lengths.max=20"])
    assert shorter.length_edges.tolist() != served.length_edges.tolist()
    at_own = outlook_of(shorter, policy, served, None).service_ns
    assert np.abs(at_own - served.service_ns).max() <= 1, "the same model, on another grid"
    with pytest.raises(ValueError, match="batches of up to 5, and the server was started with up"):
        outlook_of(other, policy, served, WINDOW_NS)


def test_numbers_that_are_none_are_refused():
    for text in ("NaN", "Infinity"):
        content = json.loads(json.dumps(told(NEW)).replace("80.0", text))
        with pytest.raises(RequestError, match=r"expected\.arrivals must be numbers"):
            outlook.read(content, service())
