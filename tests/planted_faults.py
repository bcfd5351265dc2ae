"""Runs with a fault planted in them, at a random strength: what a diagnosis has to find.

Each fault is one function: it draws a healthy service and spoils one thing.  Nothing of the
diagnosis is used here; stages before and after the servers are a recursion of their own.
"""

from __future__ import annotations

import csv
import heapq
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from policies.contract import Tier
from policies.size_or_timeout import SizeOrTimeout
from sim.arrivals import Clumped, Poisson, draw_arrivals
from sim.kernel import run
from sim.modulated import Mmpp
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
        load=rng.uniform(0.35, 0.6),
        noise_cv=rng.uniform(0.03, 0.15),
        length=np.clip(np.rint(rng.lognormal(np.log(60), 0.3, REQUESTS)), 8, 150).astype(np.int64),
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
) -> Planted:
    rate = rate or plan.load * plan.rate_per_s(plan.cap)
    if arrival is None:
        arrival = draw_arrivals(Poisson(rate), plan.rng, len(plan.length))
    noise = Noise(plan.factors() if factors is None else factors)
    service = Service(plan.table(largest), EDGES, plan.servers, noise)
    policy = SizeOrTimeout(plan.cap, round(plan.wait_ms * MS), 0 if plan.wait_ms else 1)
    workload = Workload(
        plan.length.astype(np.int32), arrival,
        np.zeros(0, np.int8) if tier is None else tier.astype(np.int8), tiers=tiers,
    )  # fmt: skip
    return Planted(kind, run(policy, workload, service), service, policy)


def healthy(rng):
    plan = healthy_plan(rng)
    found = simulated("healthy", plan)
    latency = (found.trace.finish_ns - found.trace.arrival_ns) / MS
    slo = float(np.quantile(latency, 0.99)) * rng.uniform(1.05, 1.5)
    return replace(found, slo_ms=slo if rng.random() < 0.5 else None)


def burst(rng):
    plan = healthy_plan(rng)
    rate = rng.uniform(0.3, 0.5) * plan.rate_per_s(plan.cap)
    if rng.random() < 0.5:
        clump = int(rng.integers(2, 5)) * plan.cap * plan.servers
        process = Clumped(clump, int(rng.uniform(0, 10) * MS), rate)
    else:
        process = Mmpp((rate * 0.5, rate * rng.uniform(4, 7)), (1.0, 9.0)).at_rate(rate)
    return simulated("burst", plan, draw_arrivals(process, rng, REQUESTS))


def long_requests(rng):
    plan = replace(healthy_plan(rng), servers=1)
    long = rng.random(REQUESTS) < rng.uniform(0.005, 0.02)
    length = np.where(long, rng.integers(1_500, 3_500, REQUESTS), plan.length)
    rate = rng.uniform(0.25, 0.4) * plan.rate_per_s(plan.cap)
    return simulated("long_requests", replace(plan, length=length), rate=rate)


def small_batch(rng):
    plan = replace(healthy_plan(rng), cap=int(rng.integers(1, 5)))
    plan = replace(plan, wait_ms=0.0 if plan.cap == 1 else plan.wait_ms)
    return simulated("small_batch", plan, rate=rng.uniform(0.93, 1.1) * plan.rate_per_s(plan.cap))


def timer(rng):
    plan = healthy_plan(rng)
    plan = replace(plan, wait_ms=plan.base_ms * rng.uniform(5, 25))
    filled = plan.cap / plan.wait_ms * 1000
    rate = min(rng.uniform(0.2, 0.6) * filled, 0.4 * plan.rate_per_s(plan.cap))
    return simulated("timer", plan, rate=rate)


def overload(rng):
    plan = replace(healthy_plan(rng), cap=LARGEST)
    return simulated("overload", plan, rate=rng.uniform(1.05, 1.4) * plan.rate_per_s(LARGEST))


def memory_limit(rng):
    largest = int(rng.integers(2, 7))
    plan = replace(healthy_plan(rng), cap=largest, wait_ms=0.0)
    rate = rng.uniform(0.93, 1.1) * plan.rate_per_s(largest)
    return simulated("memory_limit", plan, rate=rate, largest=largest)


def noisy_neighbour(rng):
    plan = healthy_plan(rng)
    factors = plan.factors()
    first = simulated("", plan, factors=factors)
    batches = len(first.trace.batch_size) // plan.servers
    slower = rng.uniform(2.0, 3.5)
    lasts = int(batches * rng.uniform(0.02, 0.08))
    for begin in rng.choice(np.arange(1, 10), int(rng.integers(2, 5)), replace=False):
        place = int(begin * batches / 10)
        factors[:, :, place : place + lasts] *= slower
    return simulated("noisy_neighbour", replace(plan, rng=rng), first.trace.arrival_ns, factors)


def cold_start(rng):
    plan = healthy_plan(rng)
    factors = plan.factors()
    first = simulated("", plan, factors=factors)
    count = int(rng.integers(15, 60))
    factors[:, :, :count] *= np.linspace(rng.uniform(12, 25), 2.5, count).astype(np.float32)
    return simulated("cold_start", plan, first.trace.arrival_ns, factors)


def slow_server(rng):
    plan = replace(healthy_plan(rng), servers=int(rng.integers(2, 5)))
    factors = plan.factors()
    factors[:, int(rng.integers(plan.servers))] *= rng.uniform(2.0, 4.0)
    return simulated("slow_server", plan, factors=factors)


def tier_blocking(rng):
    plan = replace(healthy_plan(rng), servers=1)
    rate = plan.rate_per_s(plan.cap)
    urgent = draw_arrivals(Poisson(rng.uniform(0.2, 0.35) * rate), rng, REQUESTS * 3 // 4)
    span = int(urgent[-1])
    jobs = np.sort(rng.integers(0, span, int(rng.integers(20, 60))))
    clump = min(REQUESTS // 4 // len(jobs), int(0.3 * rate * span / 1e9 / len(jobs)))
    offline = np.repeat(jobs, clump)
    arrival = np.concatenate([urgent, offline])
    tier = np.repeat([0, 1], [len(urgent), len(offline)])
    order = np.argsort(arrival, kind="stable")
    length = np.concatenate([
        rng.choice(plan.length, len(urgent)), rng.integers(100, 300, len(offline))
    ])  # fmt: skip
    plan = replace(plan, length=length[order])
    tiers = (Tier("interactive"), Tier("offline"))
    return simulated(
        "tier_blocking", plan, arrival[order], factors=np.ones((1, 1, 1), np.float32),
        tier=tier[order], tiers=tiers,
    )  # fmt: skip


def through(ready: np.ndarray, takes: np.ndarray, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """A FIFO queue of workers: when each request starts and ends."""
    free, start = [0] * workers, np.zeros(len(ready), dtype=np.int64)
    for one in np.argsort(ready, kind="stable"):
        start[one] = max(ready[one], heapq.heappop(free))
        heapq.heappush(free, start[one] + takes[one])
    return start, start + takes


def slow_stage(rng, kind, pre_load, post_load):
    plan = healthy_plan(rng)
    rate = plan.load * plan.rate_per_s(plan.cap)
    arrival = draw_arrivals(Poisson(rate), rng, REQUESTS)
    workers = [int(rng.integers(1, 5)) for _ in range(2)]
    mean_ns = [
        w * load * 1e9 / rate for w, load in zip(workers, (pre_load, post_load), strict=True)
    ]
    takes = [np.rint(rng.gamma(4.0, mean / 4.0, REQUESTS)).astype(np.int64) + 1 for mean in mean_ns]
    pre_start, queued = through(arrival, takes[0], workers[0])
    order = np.argsort(queued, kind="stable")
    found = simulated(kind, replace(plan, length=plan.length[order]), queued[order])
    finish = found.trace.finish_ns
    post_start, done = through(finish, takes[1], workers[1])
    stages = {
        "arrival": arrival[order], "pre_start": pre_start[order], "pre_finish": queued[order],
        "post_start": post_start, "post_finish": done,
    }  # fmt: skip
    return replace(found, stages=stages)


def slow_pre(rng):
    return slow_stage(rng, "slow_pre", rng.uniform(0.94, 1.05), rng.uniform(0.2, 0.5))


def slow_post(rng):
    return slow_stage(rng, "slow_post", rng.uniform(0.2, 0.5), rng.uniform(0.94, 1.05))


KINDS = {
    plant.__name__: plant
    for plant in (
        burst, long_requests, small_batch, timer, overload, memory_limit, noisy_neighbour,
        cold_start, slow_server, tier_blocking, slow_pre, slow_post, healthy,
    )
}  # fmt: skip


def plant(kind: str, seed: int) -> Planted:
    return KINDS[kind](np.random.default_rng([seed, sorted(KINDS).index(kind)]))


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
