"""A server without sockets and models: an ASGI client, and workers that answer when told."""

from __future__ import annotations

import asyncio
import json
import os
from array import array
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np

from experiments.serving.desk import Desk
from experiments.serving.driver import Driver
from experiments.serving.meters import Meters
from experiments.serving.offer import Offer
from experiments.serving.web import Front
from policies.contract import NEVER, Tier
from policies.greedy import Greedy
from sim.service import Service
from sim.tensors import tensor_of
from sim.worker import Answer, WorkerError

MS = 1_000_000
PATH = "/v2/models/m/infer"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def json_and_bytes(self):
        """An answer whose outputs follow the JSON."""
        header = int(self.headers["inference-header-content-length"])
        return json.loads(self.body[:header]), self.body[header:]

    @property
    def error(self):
        return self.json["error"]


class FakeWorker:
    """Answers a batch when it is told to, or at once."""

    def __init__(self, server=0, *, at_once=True):
        self.server, self.at_once = server, at_once
        self.reading, self.writing = os.pipe()
        self.batches, self.dies = [], False

    def fileno(self):
        return self.reading

    def start(self, place, lengths):
        self.batches.append(list(array("q", lengths)))
        if self.at_once:
            self.finish()

    def finish(self):
        os.write(self.writing, b".")

    def die(self):
        self.dies = True
        self.finish()

    def answer(self):
        os.read(self.reading, 1)
        if self.dies:
            raise WorkerError(f"the process of server {self.server} was killed by signal 9")
        return Answer(0, 0, -1, 0)

    def hanging(self, waited_ns):
        return WorkerError(f"server {self.server} has not answered")

    def close(self):
        os.close(self.reading)
        os.close(self.writing)


class FakeAnswerer(FakeWorker):
    """Answers each request from its own tensors, as ``respond`` says: outputs, or an error."""

    def __init__(self, respond, server=0, *, at_once=True):
        super().__init__(server, at_once=at_once)
        self.respond, self.said, self.failure = respond, [], ""

    def start(self, place, lengths, groups=()):
        self.said = [
            self.respond({part.name: part.array() for part in parts}, wanted)
            for parts, wanted in groups
        ]
        super().start(place, lengths)

    def answer(self):
        answer = super().answer()
        failure, self.failure = self.failure, ""
        if failure:
            return answer._replace(failure=failure)
        groups = [
            ((), said) if isinstance(said, list)
            else ([tensor_of(name, np.asarray(array)) for name, array in said.items()], None)
            for said in self.said
        ]  # fmt: skip
        return answer._replace(outputs=groups)


def service(capacity=8, servers=1, largest=4, longest=512):
    table_ns = (2 * MS + np.arange(largest) * MS)[None, :, None].repeat(2, axis=2)
    edges = np.array([4, longest])
    return Service(np.ascontiguousarray(table_ns), edges, servers, capacity=capacity)


ONE_TIER = (Tier("all"),)


def offer(policy=None, tiers=ONE_TIER, **changed):
    rule = Greedy() if policy is None else policy
    given = {
        "name": "m", "platform": "fake", "policy": rule, "table": {"kind": "greedy"},
        "service": service(), "tiers": tiers, "unit": "tokens", "rate_per_s": 100.0,
        "timeouts_ns": (NEVER,) * len(tiers), "longest": 512, "cuts": False,
    }  # fmt: skip
    return Offer(**{**given, **changed})


class Served:
    """A server, and a client of it."""

    def __init__(self, offered, workers, token, watches):
        self.offer, self.workers = offered, workers
        self.failures = []
        self.meters = Meters(offered.tiers, offered.service, {"model": offered.name})
        desk = Desk(
            offered.policy, offered.service, offered.tiers, offered.unit, (self.meters, *watches)
        )
        self.driver = Driver(desk, workers, offered.rate_per_s, offered.table, self.failures.append)
        self.front = Front(offered, self.driver, self.meters, token)

    async def ask(self, path=PATH, body=b"", method="POST", headers=None, parts=None):
        """One request, and its answer."""
        given = {"content-length": str(len(body)), **(headers or {})}
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(),
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
        }  # fmt: skip
        coming = list(parts) if parts is not None else [body]
        sent = []

        async def receive():
            if not coming:
                await asyncio.Event().wait()
            part = coming.pop(0)
            return {"type": "http.request", "body": part, "more_body": parts is not None}

        async def send(message):
            sent.append(message)

        await self.front(scope, receive, send)
        start, *rest = sent
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        whole = b"".join(part["body"] for part in rest)
        assert int(names["content-length"]) == len(whole) or method == "HEAD"
        return Reply(start["status"], names, whole)

    async def infer(self, length=16, path=PATH, headers=None, **parameters):
        """An inference of a length."""
        return await self.ask(path, inference(length, **parameters), headers=headers)

    def counted(self, name, **labels):
        """A value of the metrics."""
        return self.meters.registry.get_sample_value(f"batchwright_{name}", labels)


def inference(length=16, **parameters):
    """A body."""
    tensor = {"name": "input_ids", "datatype": "INT64", "shape": [1, length], "data": [7] * length}
    return json.dumps({"id": "one", "parameters": parameters, "inputs": [tensor]}).encode()


@asynccontextmanager
async def serving(offered=None, workers=None, token=None, watches=()):
    """A server of an offer in front of workers."""
    offered = offered or offer()
    workers = workers or [FakeWorker(at) for at in range(offered.service.servers)]
    served = Served(offered, workers, token, watches)
    try:
        yield served
    finally:
        served.driver.close()
        for worker in workers:
            worker.close()


def play(scene, seconds=60):
    """Run it; whatever hangs is a failure."""
    return asyncio.run(asyncio.wait_for(scene, seconds))


async def until(true):
    """Let the loop go on until something is so."""
    while not true():
        await asyncio.sleep(0.001)
