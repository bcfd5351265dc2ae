"""The scheduler of TensorFlow Serving, written as its source has it, serves what was simulated.

A queue (``internal::Queue`` of ``shared_batch_scheduler.h``) is a list of batches of which the
last is open.  An arrival that finds the open batch full closes it and opens the next, or is refused
where ``max_enqueued_batches`` are there.  A free thread takes the first batch if it is closed,
full, or if its first task has waited ``batch_timeout_micros``.
"""

import heapq

import numpy as np
import pytest
from export_settings import from_arrival, from_idle

from experiments.export import tensorflow_serving
from experiments.export.pbtxt import parse
from sim import kernel
from sim.service import Service
from sim.trace import REJECTED
from sim.workload import Workload

SIZE, WAIT_MS, REQUESTS = 8, 4, 2000
COST_NS = 5_000_000 + 500_000 * np.arange(1, SIZE + 1)


def instants_ns(load: float, threads: int):
    rate_per_ns = load * threads * SIZE / COST_NS[SIZE - 1]
    gaps = np.random.default_rng(threads).exponential(1 / rate_per_ns, REQUESTS)
    return np.cumsum(gaps).astype(np.int64)


class Scheduler:
    """One queue and its threads."""

    def __init__(self, text: str) -> None:
        fields = {name: each[0] for name, each in parse("", text).items()}
        self.size = fields["max_batch_size"]["value"][0]
        self.wait_ns = fields["batch_timeout_micros"]["value"][0] * 1000
        self.most = fields["max_enqueued_batches"]["value"][0]
        self.idle = fields["num_batch_threads"]["value"][0]
        self.batches = [[]]
        self.started, self.refused = [], []

    def add(self, request: int, now_ns: int) -> None:
        if len(self.batches[-1]) == self.size:
            if len(self.batches) == self.most:
                self.refused.append(request)
                return
            self.batches.append([])
        self.batches[-1].append(now_ns)

    def ready(self, now_ns: int) -> bool:
        first = self.batches[0]
        closed = len(self.batches) > 1 or len(first) == self.size
        return closed or (bool(first) and now_ns >= first[0] + self.wait_ns)

    def run(self, instants) -> None:
        """Serve all; an instant's completions come before its arrivals, and these before starts."""
        events = [(int(instant), 1, request) for request, instant in enumerate(instants)]
        heapq.heapify(events)
        while events:
            now_ns, kind, request = heapq.heappop(events)
            if kind == 0:
                self.idle += 1
            elif kind == 1:
                self.add(request, now_ns)
                heapq.heappush(events, (now_ns + self.wait_ns, 2, 0))
            while self.idle and self.ready(now_ns):
                batch = self.batches.pop(0)
                self.batches = self.batches or [[]]
                self.started.append((now_ns, len(batch)))
                self.idle -= 1
                heapq.heappush(events, (now_ns + int(COST_NS[len(batch) - 1]), 0, 0))


def simulated(wanted, instants):
    service = Service(
        COST_NS.reshape(1, -1, 1),
        np.array([1]),
        wanted.servers,
        **({} if wanted.capacity is None else {"capacity": wanted.capacity}),
    )
    workload = Workload(np.ones(REQUESTS, dtype=np.int32), instants)
    trace = kernel.run(wanted.policy, workload, service)
    started = zip(trace.batch_start_ns.tolist(), trace.batch_size.tolist(), strict=True)
    return sorted(started), np.flatnonzero(trace.status == REJECTED).tolist()


def scheduled(wanted, instants, *, nearest=False):
    exported = tensorflow_serving.export(wanted, nearest=nearest)
    scheduler = Scheduler(exported.files["batching_parameters.pbtxt"])
    scheduler.run(instants)
    return sorted(scheduler.started), scheduler.refused


@pytest.mark.parametrize("wait_ms", [0, WAIT_MS])
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("load", [0.3, 0.8])
def test_batches_start_at_the_same_instants(threads, load, wait_ms):
    instants = instants_ns(load, threads)
    wanted = from_arrival(SIZE, wait_ms, servers=threads)
    assert scheduled(wanted, instants) == simulated(wanted, instants)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batches", [1, 3])
def test_a_full_queue_refuses_the_same_requests(threads, batches):
    instants = instants_ns(1.2, threads)
    wanted = from_arrival(SIZE, WAIT_MS, servers=threads, capacity=batches * SIZE)
    found = simulated(wanted, instants)
    assert scheduled(wanted, instants) == found
    assert len(found[1]) > 20


def test_a_wait_that_begins_at_an_idle_server_gives_other_batches():
    instants = instants_ns(0.6, 1)
    wanted = from_idle(SIZE, WAIT_MS)
    assert scheduled(wanted, instants, nearest=True) != simulated(wanted, instants)
