"""MLServer's own batcher on virtual time, beside the simulated wait that its settings are read as.

The model blocks, as one in the server's own process does.  Where no full batch leaves requests
behind, both serve every batch at the same instant; where some do, they differ, as the export says.
"""

import numpy as np
import pytest
from export_settings import from_idle
from mlserver_process import ask

from sim import kernel
from sim.service import Service
from sim.workload import Workload

SIZE, WAIT_MS, REQUESTS = 8, 10, 1500
SERVICE_NS = 5_000_000 + 500_000 * np.arange(1, SIZE + 1)


def arrivals_ns(rate_per_s: float):
    gaps = np.random.default_rng(1).exponential(1e9 / rate_per_s, REQUESTS)
    return np.cumsum(gaps).astype(np.int64)


def served_by_mlserver(rate_per_s: float) -> list[list[int]]:
    """Start in us and size of each batch."""
    return ask(
        "batches_of",
        arrivals_s=(arrivals_ns(rate_per_s) / 1e9).tolist(),
        wait_s=WAIT_MS / 1000,
        service_s=(SERVICE_NS / 1e9).tolist(),
    )


def served_by_the_simulator(rate_per_s: float) -> list[list[int]]:
    workload = Workload(np.ones(REQUESTS, dtype=np.int32), arrivals_ns(rate_per_s))
    service = Service(SERVICE_NS.reshape(1, SIZE, 1), np.array([1]))
    trace = kernel.run(from_idle(SIZE, WAIT_MS).policy, workload, service)
    starts_us = np.round(trace.batch_start_ns / 1000).astype(int)
    return np.stack([starts_us, trace.batch_size], axis=1).tolist()


@pytest.mark.parametrize("rate_per_s", [50, 200, 400])
def test_batches_start_at_the_same_instants_while_no_full_batch_leaves_requests(rate_per_s):
    real = served_by_mlserver(rate_per_s)
    simulated = served_by_the_simulator(rate_per_s)
    assert [size for _, size in real] == [size for _, size in simulated]
    assert all(abs(a - b) <= 2 for (a, _), (b, _) in zip(real, simulated, strict=True))


def test_batches_differ_where_full_ones_leave_requests_behind():
    real = served_by_mlserver(800)
    simulated = served_by_the_simulator(800)
    assert [size for _, size in real] != [size for _, size in simulated]
