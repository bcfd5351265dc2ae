"""Healthy services, drawn at random, for faults to be planted in, and their logs.

Nothing of the diagnosis is used here; stages before and after the servers are a recursion of their
own.
"""

from __future__ import annotations

import csv
import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.contract import Tier
from policies.size_or_timeout import SizeOrTimeout
from sim.arrivals import Poisson, draw_arrivals
from sim.cluster import Cluster
from sim.kernel import run
from sim.service import Noise, Service
from sim.trace import Trace
from sim.workload import Workload

MS = 1_000_000
REQUESTS = 20_000
LARGEST = 32
EDGES = np.array([1, 4_000], dtype=np.int64)


@dataclass(frozen=True)
class Plan:
    """A healthy service; every fault changes some of it."""

    rng: np.random.Generator
    base_ms: float
    per_request_ms: float
    per_length_ms: float
    servers: int
    cap: int
    wait_ms: float
    load: float
    noise_cv: float
    length: np.ndarray

    def table(self, largest: int = LARGEST) -> np.ndarray:
        size = np.arange(1, largest + 1)[:, None]
        times = self.base_ms + size * (self.per_request_ms + self.per_length_ms * EDGES)
        return np.rint(times * MS).astype(np.int64)[None]

    def rate_per_s(self, size: int) -> float:
        """What the servers do with batches of one size and the mean length."""
        longest = float(self.length.mean())
        one = self.base_ms + size * (self.per_request_ms + self.per_length_ms * longest)
        return self.servers * size * 1000 / one

    def factors(self) -> np.ndarray:
        shape = 1.0 / self.noise_cv**2
        return self.rng.gamma(shape, 1 / shape, (1, self.servers, REQUESTS)).astype(np.float32)


@dataclass(frozen=True)
class Planted:
    """A run with a fault, or a healthy one."""

    kind: str
    trace: Trace
    service: Service
    policy: SizeOrTimeout
    slo_ms: float | None = None
    stages: dict[str, np.ndarray] | None = None
    """Instants by column of a log, where there are workers beside the servers."""


def healthy_plan(rng: np.random.Generator) -> Plan:
    base = rng.uniform(2, 6)
    return Plan(
        rng=rng,
        base_ms=base,
        per_request_ms=base * rng.uniform(0.03, 0.08),
        per_length_ms=base * rng.uniform(0.0005, 0.0015),
        servers=int(rng.integers(1, 4)),
        cap=int(rng.choice([16, 24, 32])),
        wait_ms=float(rng.choice([0.0, 0.3 * base])),
        load=rng.uniform(0.35, 0.65),
        noise_cv=rng.uniform(0.03, 0.3),
        length=np.clip(
            np.rint(rng.lognormal(np.log(60), rng.uniform(0.1, 0.5), REQUESTS)), 8, 256
        ).astype(np.int64),
    )


def simulated(
    kind: str,
    plan: Plan,
    arrival: np.ndarray | None = None,
    factors: np.ndarray | None = None,
    rate: float | None = None,
    largest: int = LARGEST,
    tier: np.ndarray | None = None,
    tiers: tuple[Tier, ...] = (Tier("all"),),
    cluster: Cluster | None = None,
) -> Planted:
    rate = rate or plan.load * plan.rate_per_s(plan.cap)
    if arrival is None:
        arrival = draw_arrivals(Poisson(rate), plan.rng, len(plan.length))
    noise = Noise(plan.factors() if factors is None else factors)
    service = Service(plan.table(largest), EDGES, plan.servers, noise, cluster=cluster)
    policy = SizeOrTimeout(plan.cap, round(plan.wait_ms * MS), 0 if plan.wait_ms else 1)
    workload = Workload(
        plan.length.astype(np.int32), arrival,
        np.zeros(0, np.int8) if tier is None else tier.astype(np.int8), tiers=tiers,
    )  # fmt: skip
    return Planted(kind, run(policy, workload, service), service, policy)


def through(ready: np.ndarray, takes: np.ndarray, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """A FIFO queue of workers: when each request starts and ends."""
    free, start = [0] * workers, np.zeros(len(ready), dtype=np.int64)
    for one in np.argsort(ready, kind="stable"):
        start[one] = max(ready[one], heapq.heappop(free))
        heapq.heappush(free, start[one] + takes[one])
    return start, start + takes


def write_log(planted: Planted, path: Path) -> Path:
    """The run as a service would log it, in milliseconds with six decimals, in order of arrival."""
    trace, stages = planted.trace, planted.stages or {}
    columns = {
        "arrival": stages.get("arrival", trace.arrival_ns), "start": trace.start_ns,
        "finish": trace.finish_ns,
    } | {name: instants for name, instants in stages.items() if name != "arrival"}  # fmt: skip
    cells = {f"{name}_ms": [f"{ns / MS:.6f}" for ns in values] for name, values in columns.items()}
    cells |= {"batch": trace.batch.tolist(), "length": trace.length.tolist()}
    if len(trace.tiers) > 1:
        cells["tier"] = [trace.tiers[k].name for k in trace.tier]
    if trace.servers > 1:
        cells["server"] = [f"gpu{k}" for k in trace.server]
    rows = sorted(zip(*cells.values(), strict=True), key=lambda row: float(row[0]))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(cells)
        writer.writerows(rows)
    return path
