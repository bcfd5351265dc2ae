"""Scenarios at random for the tests that hold one driver against another.

One seed gives one policy, workload and service.  Half of them live on a coarse time grid, where
arrivals, completions, time-outs and timers fall on the same instants.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from policies import POLICIES
from policies.autoscalers import AUTOSCALERS
from policies.contract import NEVER, Policy, Tier
from policies.routers import ROUTERS
from policies.routing import bind_router
from sim.cluster import Cluster
from sim.service import Idling, Noise, Service
from sim.trace import Trace
from sim.workload import ClosedLoop, Workload

MS = 1_000_000


class Run(NamedTuple):
    policy: Policy
    workload: Workload
    service: Service


def random_run(
    seed: int,
    kind: str | None = None,
    requests: int = 120,
    *,
    ends: bool = False,
    router: str = "",
    scaler: str = "",
) -> Run:
    """One scenario; ``kind`` fixes the policy, and where it ``ends`` some do with a queue.

    With a ``router`` the servers are those of a cluster; with a ``scaler``, or "none", its
    replicas come and go.
    """
    rng = np.random.default_rng(seed)
    kind = kind or str(rng.choice(list(POLICIES)))
    grid = int(rng.choice([1, MS // 4, MS]))
    service = _service(rng, grid)
    closed = rng.random() < 0.25 and not hasattr(POLICIES[kind], "sheds")
    bounded = rng.random() < 0.3
    if bounded:
        service = Service(
            **{
                **vars(service),
                "capacity": int(rng.integers(1, 20)),
                "capacity_counts_in_system": bool(rng.random() < 0.5),
            }
        )
    if rng.random() < 0.15:
        service = Service(**{**vars(service), "longest_admitted": int(rng.integers(60, 120))})
    refuses = bounded or service.longest_admitted != NEVER
    workload = _workload(rng, grid, requests, service, closed, refuses)
    if ends and seed % 6 == 0:
        workload = replace(workload, until_ns=int(rng.integers(1, 60)) * MS)
    if router:
        service = random_cluster(rng, service, workload, router)
    if scaler:
        service = random_changes(rng, grid, service, workload, scaler)
    policy = _policy(kind, rng, grid, service, len(workload.tiers))
    return Run(policy, workload, service)


def _service(rng: np.random.Generator, grid: int) -> Service:
    models = 1 if rng.random() < 0.7 else 2
    largest, edges = int(rng.integers(1, 13)), int(rng.integers(1, 4))
    table = rng.integers(1, 8, size=(models, largest, edges)).cumsum(axis=1) * max(grid, MS // 8)
    table += table[..., :1] * np.arange(edges)
    servers = int(rng.integers(1, 5))
    return Service(
        np.ascontiguousarray(table),
        np.sort(rng.choice(np.arange(1, 128), size=edges, replace=False)).astype(np.int64),
        servers,
        _noise(rng, models, largest, servers),
        _idling(rng),
    )


def random_cluster(
    rng: np.random.Generator, service: Service, workload: Workload, router: str
) -> Service:
    """The same service as a cluster: queues, mixed profiles, shared GPUs, limits of tiers."""
    replicas, each = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    servers = replicas * each
    profiles = int(rng.integers(1, 3))
    cuts = np.unique(rng.integers(1, 128, int(rng.integers(1, replicas)))).astype(np.int64)
    spill = int(rng.integers(0, 3))
    given = (cuts, spill) if router == "length_affinity" else ()
    cluster = Cluster(
        np.repeat(np.arange(replicas), each),
        own_queues=bool(rng.random() < 0.8),
        router=bind_router(ROUTERS[router](*given), replicas),
        route_u=rng.random(int(rng.integers(1, 90))),
        gpu_of=rng.integers(0, servers, servers) if rng.random() < 0.5 else np.zeros(0, int),
        slowdown=np.append([1.0, 1.0], 1.0 + rng.random(servers).cumsum()),
        profile_of=rng.integers(0, profiles, replicas),
        service_ns=service.service_ns[np.newaxis] * rng.integers(1, 4, (profiles, 1, 1, 1)),
    )
    draws = service.noise.draws[:, rng.integers(0, service.noise.draws.shape[1], servers)]
    limits = np.zeros(0, dtype=np.int64)
    if workload.closed is None and rng.random() < 0.4:  # refused clients must not be too eager
        limits = rng.integers(1, 9, len(workload.tiers))
    return replace(
        service,
        servers=servers,
        cluster=cluster,
        noise=replace(service.noise, draws=np.ascontiguousarray(draws)),
        tier_capacity=limits,
    )


def random_changes(
    rng: np.random.Generator, grid: int, service: Service, workload: Workload, scaler: str
) -> Service:
    """Replicas that fail and come back, and an autoscaler in open workloads."""
    cluster = service.cluster
    replicas, step = cluster.replicas, max(grid, MS // 4)
    outages = np.full((replicas, 3, 2), NEVER)
    for one in outages[: int(rng.integers(0, replicas + 1))]:
        gaps = step * rng.integers(1, 60, size=2 * int(rng.integers(1, 4)))
        one.reshape(-1)[: len(gaps)] = gaps.cumsum()
    given = {"outages_ns": outages, "loses": bool(rng.random() < 0.5)}
    if scaler != "none" and workload.closed is None:
        least = int(rng.integers(1, replicas + 1))
        common = {
            "min_replicas": least,
            "max_replicas": int(rng.integers(least, replicas + 1)),
            "interval_ns": step * int(rng.integers(1, 9)),
        }
        few = float(rng.uniform(0.5, 8))
        own = {
            "ray_serve": {
                "target_ongoing_requests": few,
                "upscale_delay_ns": step * int(rng.integers(0, 20)),
                "downscale_delay_ns": step * int(rng.integers(0, 20)),
                "look_back_ns": step * int(rng.integers(0, 40)),
            },
            "knative": {
                "target_concurrency": few,
                "panic_window_ns": common["interval_ns"] * 2,
                "stable_window_ns": common["interval_ns"] * int(rng.integers(2, 12)),
                "scale_down_delay_ns": step * int(rng.integers(0, 20)),
            },
        }[scaler]
        given["scaler"] = AUTOSCALERS[scaler](**common, **own).bind(replicas)
        given["initial"] = least
        given["cold_start_ns"] = step * int(rng.integers(0, 15))
    return replace(service, cluster=replace(cluster, **given))


def _noise(rng: np.random.Generator, models: int, largest: int, servers: int) -> Noise:
    which = rng.random()
    shape = (models, servers, int(rng.integers(1, 40)))
    if which < 0.4:
        return Noise()
    if which < 0.7:
        return Noise(rng.gamma(4.0, 0.25, shape).astype(np.float32))
    quantiles = np.sort(rng.uniform(0.5, 2.0, size=(2, 9)), axis=1)
    scores = rng.standard_normal(shape).astype(np.float32)
    return Noise(scores, quantiles, (np.arange(largest + 1) > 3).astype(np.int64))


def _idling(rng: np.random.Generator) -> Idling:
    if rng.random() < 0.8:
        return Idling()
    return Idling(float(rng.uniform(0, 2)) * MS, float(rng.uniform(0.01, 3)) * MS)


def _workload(
    rng: np.random.Generator,
    grid: int,
    requests: int,
    service: Service,
    closed: bool,
    refuses: bool,
) -> Workload:
    tiers = service.service_ns.shape[0] if service.service_ns.shape[0] > 1 else rng.integers(1, 4)
    gap = float(rng.choice([0.2, 0.7, 2.0])) * MS
    arrival_ns = (rng.exponential(gap, requests).cumsum() // grid * grid).astype(np.int64)
    if rng.random() < 0.3:
        arrival_ns = np.sort(rng.choice(arrival_ns[: max(1, requests // 6)], requests))
    loop = None
    if closed:
        lowest = grid if refuses else 0
        think = rng.integers(0, 6, size=(int(rng.integers(1, 12)), int(rng.integers(1, 9))))
        loop = ClosedLoop(lowest + think * max(grid, MS // 4))
    timeout_ns = np.zeros(0, dtype=np.int64)
    which = rng.random()
    if which < 0.25:
        timeout_ns = np.full(requests, int(rng.integers(1, 12)) * max(grid, MS // 4))
    elif which < 0.5:
        drawn = grid + rng.exponential(4 * MS, requests) // grid * grid
        timeout_ns = np.where(rng.random(requests) < 0.2, NEVER, drawn.astype(np.int64))
    return Workload(
        length=rng.integers(1, 128, requests).astype(np.int32),
        arrival_ns=np.zeros(0, dtype=np.int64) if closed else arrival_ns,
        tier=rng.integers(0, tiers, requests).astype(np.int8),
        timeout_ns=timeout_ns,
        closed=loop,
        tiers=tuple(Tier(f"t{tier}", slo_ns=(tier + 1) * 9 * MS) for tier in range(int(tiers))),
    )


def _policy(kind: str, rng: np.random.Generator, grid: int, service: Service, tiers: int) -> Policy:
    largest = service.largest_batch
    size = int(rng.integers(1, largest + 1))
    wait_ns = int(rng.integers(0, 9)) * max(grid, MS // 4)
    buckets = np.unique(rng.integers(1, 128, size=int(rng.integers(1, 5)))).astype(np.int64)
    parameters: dict[str, dict[str, object]] = {
        "static": {"batch_size": size},
        "greedy": {"max_batch_size": size},
        "size_or_timeout": {
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
            "min_batch_size": int(rng.integers(0, size + 1)),
            "from_idle": bool(rng.random() < 0.5),
        },
        "preferred_sizes": {
            "preferred_batch_size": np.unique(rng.integers(1, size + 1, 2)).astype(np.int64),
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
        },
        "timer_from_pick": {
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
            **[{}, {"clock_ns": MS}, {"poll_ns": MS // 10}][int(rng.integers(0, 3))],
        },
        "token_budget_ahead": {
            "max_tokens": int(rng.integers(128, 600)),
            "padded": bool(rng.random() < 0.5),
        },
        "cork": {"max_batch_size": size, "max_latency_ns": int(rng.integers(1, 40)) * MS},
        "collection_window": {"max_batch_size": size, "max_wait_ns": wait_ns},
        "sealed_batches": {
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
            "max_ongoing_requests": int(rng.integers(0, 20)) * int(rng.integers(0, 2)),
        },
        "queue_depth_wait": {"max_batch_size": size, "max_wait_ns": wait_ns},
        "aimd": {"max_wait_ns": wait_ns, "decrease": float(rng.uniform(0.3, 0.95))},
        "deadline_aware": {"margin_ns": wait_ns},
        "rate_aware": {"max_batch_size": size, "window": int(rng.integers(2, 300))},
        "length_bucketed": {
            "boundaries": buckets,
            "max_batch_size": np.array([size]),
            "max_wait_ns": np.array([wait_ns]),
        },
        "nearest_lengths": {
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
            "length_lanes": int(rng.integers(1, 20)),
        },
        "token_budget": {"max_tokens": int(rng.integers(128, 600)), "max_wait_ns": wait_ns},
        "snap": {"max_batch_size": size},
        "balanced_cap": {"window": int(rng.integers(2, 300))},
        "optimal": {"take": _table(rng, largest)},
    }
    tiered = {
        "boundaries": buckets if rng.random() < 0.5 else buckets[:0],
        "max_batch_size": np.array([size]),
    }
    waits = {"max_wait_ns": np.array([wait_ns])}
    parameters |= {
        "priority": {**tiered, **waits},
        "priority_fill": {**tiered, "max_batch_size": size, "max_wait_ns": wait_ns},
        "headroom": {
            **tiered,
            "max_block_ns": int(rng.integers(0, 12)) * max(grid, MS // 4),
            "reserved": float(rng.integers(0, 5)) / 4,
            "max_fill_ns": int(rng.integers(0, 12)) * max(grid, MS // 4),
            "interactive": np.arange(int(rng.integers(0, 2))),
        },
        "weighted_fair": {**tiered, **waits, "weights": 1.0 + rng.integers(0, 4, tiers)},
        "ageing": {**tiered, **waits, "rates": rng.uniform(0.05, 1.0, tiers)},
        "edf": {
            **tiered,
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
            "default_slo_ns": int(rng.integers(1, 90)) * MS,
        },
        "shortest_first": {
            "max_age_ns": int(rng.integers(0, 12)) * max(grid, MS // 4),
            "max_batch_size": size,
            "max_wait_ns": wait_ns,
            "length_lanes": int(rng.integers(1, 20)),
        },
    }
    made: Policy = POLICIES[kind](**parameters.get(kind, {}))
    return made


def _table(rng: np.random.Generator, largest: int) -> np.ndarray:
    """What a rule that looks at the queue's length alone may be: it waits here and there."""
    counts = np.arange(int(rng.integers(2, 3 * largest + 3)))
    take = rng.integers(0, np.minimum(counts, largest) + 1)
    take[-1] = max(1, take[-1])
    return take


COLUMNS = (
    *("arrival_ns", "length", "tier", "lane", "start_ns", "finish_ns", "batch", "server"),
    *("status", "batch_start_ns", "batch_finish_ns", "batch_size", "batch_longest"),
    *("batch_lane", "batch_server", "batch_formed_ns"),
)


def differences(one: Trace, other: Trace) -> list[str]:
    """Names of the columns in which two traces differ."""
    return [
        name
        for name in COLUMNS
        if not np.array_equal(getattr(one, name), getattr(other, name))
        or getattr(one, name).dtype != getattr(other, name).dtype
    ]
