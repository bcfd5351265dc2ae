"""Scenarios with sequences at random, for the tests that hold one driver against another.

Half of them live on a coarse time grid, where arrivals, completions, timers and idle sequences fall
on the same instants.
"""

from __future__ import annotations

import numpy as np
from random_runs import MS, Run

from policies import POLICIES
from sim.sequences import Sequences
from sim.service import Idling, Noise, Service
from sim.workload import Workload


def random_sequences(seed: int, kind: str, requests: int = 120) -> Run:
    """One scenario with a rule of this kind."""
    rng = np.random.default_rng(seed)
    grid = int(rng.choice([1, MS // 4, MS]))
    largest, edges = int(rng.integers(1, 9)), int(rng.integers(1, 4))
    table = rng.integers(1, 8, size=(1, largest, edges)).cumsum(axis=1) * max(grid, MS // 8)
    table += table[..., :1] * np.arange(edges)
    servers = int(rng.integers(1, 4))
    noise = Noise()
    if rng.random() < 0.5:
        shape = (1, servers, int(rng.integers(1, 40)))
        noise = Noise(rng.gamma(4.0, 0.25, shape).astype(np.float32))
    edges_of = np.sort(rng.choice(np.arange(1, 128), size=edges, replace=False)).astype(np.int64)
    idling = Idling(float(rng.uniform(0, 2)) * MS, MS) if rng.random() < 0.2 else Idling()
    service = Service(np.ascontiguousarray(table), edges_of, servers, noise, idling)
    workload = random_workload(rng, grid, requests)
    return Run(random_rule(rng, grid, kind, largest), workload, service)


def random_workload(rng: np.random.Generator, grid: int, requests: int) -> Workload:
    """Sequences that begin at random, pause at random, and do not all say when they end."""
    gap_ms, pace_ms = float(rng.choice([0.5, 2.0, 8.0])), float(rng.choice([0.3, 2.0, 6.0]))
    most, endless = int(rng.integers(1, 15)), float(rng.choice([0.0, 0.0, 0.3]))
    starts = rng.exponential(gap_ms * MS, requests).cumsum()
    sizes = rng.integers(1, most + 1, requests)
    of = np.repeat(np.arange(requests), sizes)
    place = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    pauses = rng.exponential(pace_ms * MS, len(of)) * (place > 0)
    since = pauses.cumsum()
    since -= np.repeat(since[place == 0], sizes)
    arrival_ns = ((starts[of] + since) // grid * grid).astype(np.int64)
    order = np.lexsort((place, of, arrival_ns))[:requests]
    of, arrival_ns = of[order], arrival_ns[order]
    _, first, inverse = np.unique(of, return_index=True, return_inverse=True)
    of = first.argsort().argsort()[inverse].astype(np.int32)
    last = np.zeros(of.max() + 1, dtype=np.int64)
    last[of] = np.arange(requests)
    ends = np.zeros(requests, dtype=np.int8)
    ends[last[rng.random(len(last)) >= endless]] = 1
    length = rng.integers(1, 128, requests).astype(np.int32)
    return Workload(length, arrival_ns, sequences=Sequences(of, ends))


def random_rule(rng: np.random.Generator, grid: int, kind: str, largest: int):
    """A rule of this kind."""
    size = int(rng.integers(1, largest + 1))
    step = max(grid, MS // 4)
    idle = {"max_idle_ns": step * int(rng.choice([8, 40, 4000]))}
    common = {"max_batch_size": size, "max_wait_ns": step * int(rng.integers(0, 9))}
    own = {
        "sequence_direct": {"min_slot_utilization": float(rng.integers(0, 5)) / 4, **idle},
        "sequence_oldest": {
            "max_candidates": int(rng.integers(0, 2 * size + 2)),
            "preferred_batch_size": np.unique(rng.integers(1, size + 1, 2)).astype(np.int64),
            **idle,
        },
    }.get(kind, {})
    return POLICIES[kind](**common, **own)
