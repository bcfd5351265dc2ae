"""MLServer's own batcher on virtual time, beside the simulated wait that its settings are read as.

The model blocks, as one in the server's own process does.  Where no full batch leaves requests
behind, both serve every batch at the same instant; where some do, they differ, as the export says.
"""

import asyncio
import selectors
import types

import numpy as np
import pytest
from export_settings import from_idle

from sim import kernel
from sim.service import Service
from sim.workload import Workload

adaptive = pytest.importorskip("mlserver.batching.adaptive", reason="MLServer is not installed")

SIZE = 8
WAIT_MS = 10
SERVICE_NS = np.array([5_000_000 + 500_000 * size for size in range(1, SIZE + 1)])
REQUESTS = 1500


class JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: a clock jumps instead."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout=None):
        events = super().select(0)
        if timeout and not events:
            self.clock.now_s += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock that jumps from timer to timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(JumpingSelector(self))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now_s


class Merged:
    """A batch, as the batcher makes it of its requests."""

    def __init__(self, requests) -> None:
        self.inference_requests = requests
        self.merged_request = list(requests.values())

    def split_response(self, response):
        return dict.fromkeys(self.inference_requests, response)


class BlockingModel:
    """Holds the event loop for as long as a batch takes, and writes the batch down."""

    settings = types.SimpleNamespace(max_batch_size=SIZE, max_batch_time=WAIT_MS / 1000)

    def __init__(self, loop) -> None:
        self.loop = loop
        self.batches = []

    async def predict(self, merged) -> list:
        self.batches.append((round(self.loop.now_s * 1e6), len(merged)))
        self.loop.now_s += SERVICE_NS[len(merged) - 1] / 1e9
        return merged


def arrivals_ns(rate_per_s: float):
    gaps = np.random.default_rng(1).exponential(1e9 / rate_per_s, REQUESTS)
    return np.cumsum(gaps).astype(np.int64)


def served_by_mlserver(rate_per_s: float, monkeypatch) -> list[tuple[int, int]]:
    """Start in us and size of each batch."""
    loop = VirtualLoop()
    silent = types.SimpleNamespace(register=lambda *_: None, log=lambda **_: None)
    monkeypatch.setattr(adaptive, "time", types.SimpleNamespace(time=loop.time))
    monkeypatch.setattr(adaptive, "BatchedRequests", Merged)
    monkeypatch.setattr(adaptive, "metrics", silent)
    model = BlockingModel(loop)
    batcher = adaptive.AdaptiveBatcher(model)
    tasks = []

    def arrive(request: int) -> None:
        tasks.append(loop.create_task(batcher.predict(request)))

    async def all_served() -> None:
        while len(tasks) < REQUESTS:
            await asyncio.sleep(1)
        await asyncio.gather(*tasks)

    for request, instant_ns in enumerate(arrivals_ns(rate_per_s)):
        loop.call_at(instant_ns / 1e9, arrive, request)
    loop.run_until_complete(all_served())
    loop.close()
    return model.batches


def served_by_the_simulator(rate_per_s: float) -> list[tuple[int, int]]:
    workload = Workload(np.ones(REQUESTS, dtype=np.int32), arrivals_ns(rate_per_s))
    service = Service(SERVICE_NS.reshape(1, SIZE, 1), np.array([1]))
    trace = kernel.run(from_idle(SIZE, WAIT_MS).policy, workload, service)
    starts_us = np.round(trace.batch_start_ns / 1000).astype(int)
    return list(zip(starts_us.tolist(), trace.batch_size.tolist(), strict=True))


@pytest.mark.parametrize("rate_per_s", [50, 200, 400])
def test_batches_start_at_the_same_instants_while_no_full_batch_leaves_requests(
    rate_per_s, monkeypatch
):
    real = served_by_mlserver(rate_per_s, monkeypatch)
    simulated = served_by_the_simulator(rate_per_s)
    assert [size for _, size in real] == [size for _, size in simulated]
    assert all(abs(a - b) <= 2 for (a, _), (b, _) in zip(real, simulated, strict=True))


def test_batches_differ_where_full_ones_leave_requests_behind(monkeypatch):
    real = served_by_mlserver(800, monkeypatch)
    simulated = served_by_the_simulator(800)
    assert [size for _, size in real] != [size for _, size in simulated]
