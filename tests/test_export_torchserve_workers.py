"""Workers of TorchServe, written as ``Model.pollBatch`` is, serve the batches that were simulated.

A worker holds the lock of its model while it collects: it waits for a first job without an end,
then polls for more until the batch is full or ``maxBatchDelay`` after the first is over.  That is
``from_idle`` for any number of workers; a wait that begins with the arrival is another policy.
"""

import numpy as np
import pytest
import simpy
from export_settings import from_arrival, from_idle

from sim import kernel
from sim.service import Service
from sim.workload import Workload

SIZE, WAIT_MS, REQUESTS = 8, 4, 2000
COST_NS = 5_000_000 + 500_000 * np.arange(1, SIZE + 1)


def arrivals_ns(rate_per_s: float, seed: int):
    gaps = np.random.default_rng(seed).exponential(1e9 / rate_per_s, REQUESTS)
    return np.cumsum(gaps).astype(np.int64)


def collect(env, jobs):
    """One batch, from the instant that the worker has the lock."""
    batch = [(yield jobs.get())]
    over = env.now + WAIT_MS * 10**6
    while len(batch) < SIZE:
        more = jobs.get()
        yield more | env.timeout(max(0, over - env.now))
        if not more.triggered:
            more.cancel()
            return batch
        batch.append(more.value)
    return batch


def worker(env, lock, jobs, batches):
    while True:
        with lock.request() as turn:
            yield turn
            batch = yield from collect(env, jobs)
        batches.append((int(env.now), len(batch)))
        yield env.timeout(int(COST_NS[len(batch) - 1]))


def served_by_workers(workers: int, instants) -> list[tuple[int, int]]:
    """Start and size of each batch."""
    env = simpy.Environment()
    lock, jobs, batches = simpy.Resource(env), simpy.Store(env), []

    def arrive():
        for instant_ns in instants.tolist():
            yield env.timeout(instant_ns - env.now)
            yield jobs.put(instant_ns)

    env.process(arrive())
    for _ in range(workers):
        env.process(worker(env, lock, jobs, batches))
    env.run(until=int(instants[-1]) + 10**12)
    return sorted(batches)


def served_by_the_simulator(wanted, instants) -> list[tuple[int, int]]:
    service = Service(COST_NS.reshape(1, -1, 1), np.array([1]), wanted.servers)
    workload = Workload(np.ones(REQUESTS, dtype=np.int32), instants)
    trace = kernel.run(wanted.policy, workload, service)
    return sorted(zip(trace.batch_start_ns.tolist(), trace.batch_size.tolist(), strict=True))


CASES = [(workers, load) for workers in (1, 2, 4) for load in (0.2, 0.6, 0.95)]


@pytest.mark.parametrize(("workers", "load"), CASES)
def test_batches_start_at_the_same_instants(workers, load):
    rate_per_s = load * workers * SIZE / COST_NS[SIZE - 1] * 1e9
    instants = arrivals_ns(rate_per_s, seed=workers)
    simulated = served_by_the_simulator(from_idle(SIZE, WAIT_MS, servers=workers), instants)
    assert served_by_workers(workers, instants) == simulated


def test_a_wait_that_begins_with_the_arrival_gives_other_batches():
    instants = arrivals_ns(0.6 * SIZE / COST_NS[SIZE - 1] * 1e9, seed=1)
    simulated = served_by_the_simulator(from_arrival(SIZE, WAIT_MS), instants)
    assert served_by_workers(1, instants) != simulated
