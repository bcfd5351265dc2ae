"""Live runs that never were: windows of the simulator itself, with known times and known drift.

The device takes gamma-distributed jitter around a hidden truth.  A calibration calls it shape by
shape; windows run policies on it, each with its own luck and its own drift.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experiments.validation import Calibration, Condition, Window, judged
from experiments.validation.rig import Trip
from policies.greedy import Greedy
from policies.size_or_timeout import SizeOrTimeout
from profiles.latency import Metadata, Samples, from_samples
from sim import kernel
from sim.service import Noise, Service
from sim.workload import Workload

SIZES, LENGTHS = (1, 2, 4, 8), (32, 128)
CV = 0.05
GOOD = Condition(0.1, 0.2, 1.0, 0.0, 1.0, 0.5)
POLICIES = {
    "greedy": Greedy(max_batch_size=8),
    "patient": SizeOrTimeout(max_batch_size=4, max_wait_ns=3_000_000),
}
CREW = """
name = "crew"
[workload]
requests = 2000
arrivals = { process = "poisson", load = 0.25 }
lengths = { distribution = "uniform", min = 10, max = 300 }
[[workload.tiers]]
name = "interactive"
share = 0.6
slo = { percentile = 99, ms = 60.0 }
[[workload.tiers]]
name = "offline"
share = 0.4
capacity = { requests = 50 }
[service]
model = { base_ms = 8.0, per_request_ms = 1.0, per_length_ms = 0.01, max_batch_size = 4 }
servers = 2
[service.cluster]
router = "least_loaded"
[policies.greedy]
kind = "greedy"
"""
"""Two servers behind a router, two tiers."""
ABOUT = Metadata("model", "device", "fp32", "framework 1", "round trips", "MIT")


def true_ns(size, length):
    """What a batch takes on average."""
    return 2_000_000 + 300_000 * size * length // 128


def trips(factors, calls=200, spread=CV):
    """Calibrating calls of one shape on servers that are slower by their factors."""
    rng = np.random.default_rng(1)
    return [
        Trip(
            1,
            32,
            k // calls,
            k,
            round(true_ns(1, 32) * slow * rng.gamma(spread**-2, spread**2)),
            0,
            server,
        )
        for k in range(2 * calls)
        for server, slow in enumerate(factors)
    ]


def calibrated(seed=1, calls=40, slow=1.0, blocks=(1.0, 1.0)):
    """A calibration: ``calls`` of every shape, all ``slow`` times too slow."""
    rng = np.random.default_rng(seed)
    shapes = np.array([(size, length) for size in SIZES for length in LENGTHS] * calls)
    rng.shuffle(shapes)
    usual = np.array([true_ns(*shape) for shape in shapes.tolist()])
    took = np.rint(slow * usual * rng.standard_gamma(CV**-2, len(shapes)) * CV**2)
    starts = np.cumsum(took) - took
    columns = (shapes[:, 0], shapes[:, 1], starts, took)
    samples = Samples(*(column.astype(np.int64) for column in columns))
    return Calibration(from_samples("by-hand", samples, "tokens", ABOUT), tuple(blocks))


def workload_at(load, requests=1000, seed=5):
    """Poisson arrivals at a share of what batches of 8 could do; lengths of both kinds."""
    rng = np.random.default_rng(seed)
    rate = load * 8 / true_ns(8, 80)
    arrival_ns = np.rint(np.cumsum(rng.exponential(1 / rate, requests))).astype(np.int64)
    length = rng.choice(LENGTHS, requests).astype(np.int32)
    return Workload(length=length, arrival_ns=arrival_ns)


def device(seed, drift=1.0, servers=1, batches=4000):
    """The true service, with the luck of one window."""
    rng = np.random.default_rng(seed)
    draws = drift * rng.standard_gamma(CV**-2, (1, servers, batches)) * CV**2
    table = [[true_ns(size, length) for length in LENGTHS] for size in range(1, 9)]
    edges = np.array(LENGTHS, dtype=np.int64)
    return Service(np.array([table]), edges, servers, Noise(draws.astype(np.float32)))


def window(policy, load, workload, seed, *, place=0, drift=1.0, condition=GOOD, attempt=0):
    """One window on the device."""
    trace = kernel.run(POLICIES[policy], workload, device(seed, drift))
    return Window(policy, load, place, attempt, trace, condition)


def windows_of(workloads, rounds=3, drift=1.0, seed=100):
    """Every policy at every load, round after round."""
    found = []
    for place in range(rounds):
        for load, workload in workloads.items():
            for name in POLICIES:
                seed += 1
                found.append(window(name, load, workload, seed, place=place, drift=drift))
    return found


def validated(
    loads=(0.3, 0.5), rounds=3, drift=1.0, calibration=None, change=None, replications=60
):
    """A whole validation; ``change`` makes other windows of those that were measured."""
    workloads = {load: workload_at(load) for load in loads}
    windows = windows_of(workloads, rounds, drift)
    calibration = calibration or calibrated()
    return judged(
        {"name": "by-hand", "requests": 1000},
        POLICIES,
        workloads,
        calibration,
        change(windows) if change else windows,
        calibration.service(),
        device={"device": "by hand"},
        replications=replications,
        seconds=12.5,
    )


def rejected(windows, places, reason="the generator was late"):
    """The windows at these places did not count."""
    bad = replace(GOOD, rejected=reason)
    return [
        replace(one, condition=bad) if place in places else one for place, one in enumerate(windows)
    ]
