"""Runs with a fault planted in them, at a random strength: what a diagnosis has to find.

Each fault is one function: it draws a healthy service and spoils one thing.  Where it is not
``spoilt``, the same draws give the same service without the fault.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from planted_services import (
    EDGES,
    LARGEST,
    MS,
    REQUESTS,
    Planted,
    healthy_plan,
    simulated,
    through,
)

from policies.contract import Tier
from policies.routers import AtRandom
from sim.arrivals import Clumped, Poisson, draw_arrivals
from sim.cluster import Cluster
from sim.modulated import Mmpp


def healthy(rng, spoilt):
    return simulated("healthy", healthy_plan(rng))


def burst(rng, spoilt):
    plan = healthy_plan(rng)
    rate = rng.uniform(0.3, 0.5) * plan.rate_per_s(plan.cap)
    clump = round(rng.uniform(1, 4) * plan.cap * plan.servers)
    high, quiet_per_s = rng.uniform(4, 10), rng.uniform(0.3, 1.5)
    process = Clumped(clump, int(rng.uniform(0, 10) * MS), rate)
    if rng.random() < 0.5:
        process = Mmpp((rate * 0.5, rate * high), (quiet_per_s, quiet_per_s * 9)).at_rate(rate)
    process = process if spoilt else Poisson(rate)
    return simulated("burst", plan, draw_arrivals(process, rng, REQUESTS))


def long_requests(rng, spoilt):
    plan = replace(healthy_plan(rng), servers=1)
    rate = rng.uniform(0.25, 0.4) * plan.rate_per_s(plan.cap)
    long = rng.random(REQUESTS) < rng.uniform(0.003, 0.03)
    length = np.where(long & spoilt, rng.integers(1_500, 3_500, REQUESTS), plan.length)
    return simulated("long_requests", replace(plan, length=length), rate=rate)


def small_batch(rng, spoilt):
    plan = healthy_plan(rng)
    cap = int(rng.integers(2, 6))
    rate = rng.uniform(0.88, 1.2) * plan.rate_per_s(cap)
    return simulated("small_batch", replace(plan, cap=cap) if spoilt else plan, rate=rate)


def timer(rng, spoilt):
    plan = healthy_plan(rng)
    wait_ms = plan.base_ms * rng.uniform(4, 30)
    rate = min(rng.uniform(0.2, 0.6) * plan.cap / wait_ms * 1000, 0.4 * plan.rate_per_s(plan.cap))
    return simulated("timer", replace(plan, wait_ms=wait_ms) if spoilt else plan, rate=rate)


def overload(rng, spoilt):
    plan = replace(healthy_plan(rng), cap=LARGEST)
    load = rng.uniform(1.03, 1.5) if spoilt else 0.5
    return simulated("overload", plan, rate=load * plan.rate_per_s(LARGEST))


def memory_limit(rng, spoilt):
    largest = int(rng.integers(2, 7))
    plan = replace(healthy_plan(rng), cap=largest, wait_ms=0.0)
    rate = rng.uniform(0.9, 1.15) * plan.rate_per_s(largest)
    if not spoilt:
        return simulated("memory_limit", replace(plan, cap=LARGEST), rate=rate)
    return simulated("memory_limit", plan, rate=rate, largest=largest)


def noisy_neighbour(rng, spoilt):
    plan = healthy_plan(rng)
    factors = plan.factors()
    first = simulated("noisy_neighbour", plan, factors=factors)
    batches = len(first.trace.batch_size) // plan.servers
    slower = rng.uniform(1.8, 3.5)
    lasts = int(batches * rng.uniform(0.02, 0.08))
    for begin in rng.choice(np.arange(1, 10), int(rng.integers(2, 5)), replace=False):
        place = int(begin * batches / 10)
        factors[:, :, place : place + lasts] *= slower
    if not spoilt:
        return first
    return simulated("noisy_neighbour", plan, first.trace.arrival_ns, factors)


def cold_start(rng, spoilt):
    plan = healthy_plan(rng)
    factors = plan.factors()
    count = int(rng.integers(15, 60))
    if spoilt:
        factors[:, :, :count] *= np.linspace(rng.uniform(8, 25), 2.0, count, dtype=np.float32)
    return simulated("cold_start", plan, factors=factors)


def slow_server(rng, spoilt):
    plan = replace(healthy_plan(rng), servers=int(rng.integers(2, 5)))
    factors = plan.factors()
    if spoilt:
        factors[:, int(rng.integers(plan.servers))] *= rng.uniform(1.8, 4.0)
    return simulated("slow_server", plan, factors=factors)


def routing(rng, spoilt):
    """Each server has a queue of its own, and a balancer sends one of them more than its share."""
    plan = replace(healthy_plan(rng), servers=int(rng.integers(2, 7)))
    share = np.ones(plan.servers)
    share[int(rng.integers(plan.servers))] = rng.uniform(2.2, 4.0)
    route = rng.choice(plan.servers, REQUESTS, p=share / share.sum())
    group = Cluster(
        np.arange(plan.servers), own_queues=True, router=AtRandom(),
        route_u=(route + 0.5) / plan.servers,
    )  # fmt: skip
    return simulated("routing", plan, cluster=group if spoilt else None)


def shared_gpu(rng, spoilt):
    """Two or three servers on one GPU."""
    plan = replace(healthy_plan(rng), servers=int(rng.integers(2, 4)), cap=LARGEST)
    plan = replace(plan, load=rng.uniform(0.2, 0.4))
    slower = rng.uniform(1.35, 1.9)
    slowdown = np.array([1.0, 1.0, slower, slower**1.5])
    gpu_of = np.zeros(plan.servers, dtype=np.int64)
    group = Cluster(np.arange(plan.servers), gpu_of=gpu_of, slowdown=slowdown)
    return simulated("shared_gpu", plan, cluster=group if spoilt else None)


def tier_blocking(rng, spoilt):
    """Interactive requests, and now and then an offline job of many long ones."""
    plan = replace(healthy_plan(rng), servers=1)
    rate = plan.rate_per_s(plan.cap)
    urgent = draw_arrivals(Poisson(rng.uniform(0.2, 0.35) * rate), rng, REQUESTS * 3 // 4)
    span = int(urgent[-1])
    jobs = np.sort(rng.integers(0, span, int(rng.integers(20, 60))))
    clump = min(REQUESTS // 4 // len(jobs), int(0.3 * rate * span / 1e9 / len(jobs)))
    offline = np.repeat(jobs, clump if spoilt else 0)
    arrival = np.concatenate([urgent, offline])
    tier = np.repeat([0, 1], [len(urgent), len(offline)])
    order = np.argsort(arrival, kind="stable")
    length = np.concatenate([
        rng.choice(plan.length, len(urgent)), rng.integers(100, 300, len(offline))
    ])  # fmt: skip
    return simulated(
        "tier_blocking", replace(plan, length=length[order]), arrival[order], tier=tier[order],
        tiers=(Tier("interactive"), Tier("offline")),
    )  # fmt: skip


def slow_stage(rng, kind, pre_load, post_load):
    """Workers before and after the servers, as busy as given."""
    plan = healthy_plan(rng)
    rate = plan.load * plan.rate_per_s(plan.cap)
    arrival = draw_arrivals(Poisson(rate), rng, REQUESTS)
    workers = rng.integers(1, 5, 2).tolist()
    loads = (pre_load, post_load)
    takes = [
        np.rint(rng.gamma(4.0, many * load * 1e9 / rate / 4.0, REQUESTS)).astype(np.int64) + 1
        for many, load in zip(workers, loads, strict=True)
    ]
    pre_start, queued = through(arrival, takes[0], workers[0])
    order = np.argsort(queued, kind="stable")
    found = simulated(kind, replace(plan, length=plan.length[order]), queued[order])
    post_start, done = through(found.trace.finish_ns, takes[1], workers[1])
    stages = {
        "arrival": arrival[order], "pre_start": pre_start[order], "pre_finish": queued[order],
        "post_start": post_start, "post_finish": done,
    }  # fmt: skip
    return replace(found, stages=stages)


def slow_pre(rng, spoilt):
    load, other = rng.uniform(0.9, 1.1), rng.uniform(0.2, 0.5)
    return slow_stage(rng, "slow_pre", load if spoilt else 0.4, other)


def slow_post(rng, spoilt):
    load, other = rng.uniform(0.9, 1.1), rng.uniform(0.2, 0.5)
    return slow_stage(rng, "slow_post", other, load if spoilt else 0.4)


FAULTS = {
    plant.__name__: plant
    for plant in (
        burst, long_requests, small_batch, timer, overload, memory_limit, noisy_neighbour,
        cold_start, slow_server, routing, shared_gpu, tier_blocking, slow_pre, slow_post,
    )
}  # fmt: skip

WORSE = 1.5
"""A fault makes p99 at least so many times what it is without."""


def p99_ms(planted: Planted) -> float:
    """Of the most urgent tier, from arrival to answer."""
    trace, stages = planted.trace, planted.stages or {}
    done = stages.get("post_finish", trace.finish_ns)
    latency = done - stages.get("arrival", trace.arrival_ns)
    return float(np.quantile(latency[trace.tier == 0], 0.99)) / MS


def is_sound(planted: Planted) -> bool:
    """Whether p99 is at most twice what a full batch of usual lengths takes."""
    length = np.median(planted.trace.length)
    row = planted.service.service_ns[0, planted.policy.max_batch_size - 1]
    return p99_ms(planted) <= 2 * float(np.interp(length, EDGES, row)) / MS


def plant(kind: str, seed: int) -> Planted:
    """A fault at a random strength; drawn again until it makes a difference.

    Half of the runs have a target, between what p99 is and what it would be without the fault.
    """
    for attempt in range(50):
        key = [seed, sorted(FAULTS).index(kind), attempt]
        spoilt = FAULTS[kind](np.random.default_rng(key), True)
        twin = FAULTS[kind](np.random.default_rng(key), False)
        sound = p99_ms(twin)
        if is_sound(twin) and p99_ms(spoilt) >= WORSE * sound:
            target = float(np.sqrt(sound * p99_ms(spoilt)))
            return replace(spoilt, slo_ms=target if seed % 2 else None)
    raise AssertionError(f"{kind} {seed}: no strength makes a difference")


def sound_run(seed: int) -> Planted:
    """A healthy run; half of them have a target that they meet."""
    for attempt in range(50):
        rng = np.random.default_rng([seed, 99, attempt])
        found = healthy(rng, False)
        if is_sound(found):
            break
    return replace(found, slo_ms=p99_ms(found) * rng.uniform(1.02, 1.5) if seed % 2 else None)
