"""The state of a compiled run: columns of requests, batches, lanes and servers.

Rows are packed where the event loop reads them together, and as narrow as they can be: ten million
requests fit into a gigabyte.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

Records = NDArray[Any]
"""A structured array: one row per request or batch."""

FATE = np.dtype(
    [
        ("batch", np.int32),  # -1 while it has none
        ("lane", np.int16),  # within its queue before it arrives; -1 if it was rejected
        ("status", np.int8),
    ],
    align=True,
)
LINKS = np.dtype(
    [
        ("previous", np.int64),  # in its lane
        ("mate", np.int64),  # another request of its batch, where batches remember
        ("client", np.int64),  # who sent it, -1 in open workloads
    ],
    align=True,
)
BATCH = np.dtype(
    [
        ("start_ns", np.int64),
        ("finish_ns", np.int64),
        ("size", np.int32),
        ("longest", np.int32),
        ("lane", np.int16),  # -1 if it is mixed
        ("server", np.int16),
        ("failed", np.int8),  # 1 where its replica failed before its end
    ],
    align=True,
)
SEAL = np.dtype(
    [
        ("formed_ns", np.int64),
        ("after", np.int64),  # the first request of the next sealed batch of the queue
        ("size", np.int32),
        ("longest", np.int32),
        ("lane", np.int16),  # -1 if it is mixed
    ],
    align=True,
)
"""A sealed batch, in the row of one of its requests: the first of its chain of mates."""

WAITING, OLDEST_NS, HEAD, TAIL, TAKE = range(5)
"""Rows of ``System.lanes``; the lanes of a queue stand together."""

IDLE_SINCE_NS, BUSY_SINCE_NS, FINISH_NS, EXPECTED_NS, SIZE, BATCHES, FIRST = range(7)
QUEUE, PROFILE, GPU, UP = range(7, 11)
"""Rows of ``System.servers``: BATCHES counts those that it started, FIRST is a request of the
running batch (where batches remember); while idle SIZE is 0, FINISH_NS is NEVER, the others -1.
QUEUE, PROFILE and GPU stay as they are; UP is 1 where it may start batches."""

(
    FIRST_SERVER,
    LAST_SERVER,
    KIND,
    ARRIVED,
    PRESENT,
    IN_SERVICE,
    IDLE,
    ASK_NS,
    TOUCHED,
    FINISHED,
    FINISHED_SIZE,
    FINISHED_SERVICE_NS,
    AVAILABLE,
    SERVERS,
    FORMED_NS,
    SEALED,
    SEALED_REQUESTS,
    FIRST_SEALED,
    LAST_SEALED,
) = range(19)
"""Rows of ``System.queues``: its servers, which policy it has, requests that came, wait (those in
sealed batches too) and run, idle servers, when the policy asked for another question, whether
anything happened since the last one, its last completed batch, whether it takes requests, how many
servers it has, when the policy fired last, and its sealed batches: how many, the requests in them,
the rows of the first and the last."""

OCCUPANT, CURRENT = range(2)
"""Rows of ``Seating.seats``: the sequence of each, and its request that is ready or running."""

(
    STATE_OF,
    SEAT,
    FIRST_WAITING,
    LAST_WAITING,
    LATEST,
    WAS_IDLE,
    NEXT_IN_LINE,
    SEATED_NS,
    FREED_NS,
) = range(9)
"""Rows of ``Seating.sequences``: what it is (:mod:`sim.sequences`), the seat that it has or had,
its requests that are not ready (a list by ``System.next``), the request that came last, whether
it was idle for too long since then, who is behind it in line, when it got its slot and when it gave
it back."""

SENT, FREE, LINE_HEAD, LINE_TAIL = range(4)
"""Cells of ``Seating.turns``: the first request that may be the last of an idle sequence, the size
of the heap of free seats, and the sequences in line."""

IN_SEALED = 2**31 - 1
"""In the place of a batch's index: a batch that is sealed, or was, and never started."""

STATE, UNTIL_NS, OUTAGE = range(2, 5)
"""Rows of ``System.replicas``, after FIRST_SERVER and LAST_SERVER; see :mod:`sim.changes`.  OUTAGE
counts those that are over or have begun."""

COUNTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "now_ns",
            "ask_ns",  # the earliest answer of all queues
            "next_finish_ns",
            "queue",  # that the question at hand is about
            "server",  # that the question at hand is about; -1 before the first of a round
            "request",  # that arrives
            "arrived",
            "started",  # batches
            "deadlines",  # size of the heap of deadlines
            "thinking",  # size of the heap of clients
            "routed",  # requests that a router was asked for
            "ongoing",  # requests that wait or are in service
            "ongoing_ns",  # integral of that
            "change_ns",  # when replicas may come or go next, or a sequence times out
            "tick_ns",  # when the autoscaler is asked next
            "orphans",  # size of the heap of requests whose replica failed
            "logged",  # changes that are written down
            "fault",
        )
    ]
)


class Clock(NamedTuple):
    """How long a batch takes: the arrays of :class:`sim.service.Service`."""

    service_ns: IntArray  # (profiles, models, largest batch, edges)
    length_edges: IntArray
    draws: NDArray[np.float32]
    quantiles: FloatArray
    class_of_size: IntArray  # (profiles, largest batch + 1)
    idle_extra_ns: float
    idle_half_ns: float
    slowdown: FloatArray  # by batches on one GPU
    on_gpu: IntArray  # (gpus,) batches that run


class Limits(NamedTuple):
    """Who is let in, and whether batches have to know who is in them."""

    capacity: int
    counts_in_system: bool
    longest_admitted: int
    tier_capacity: IntArray  # (tiers,) or (0,)
    until_ns: int  # no batch starts from then on
    remembers: bool
    seals: int  # sealed batches that may wait for a server
    sheds: bool  # whether requests may be let go unserved


class Scaling(NamedTuple):
    """How many replicas there are."""

    interval_ns: int
    min_replicas: int
    max_replicas: int
    cold_start_ns: int


class Clients(NamedTuple):
    """A closed loop; no clients in an open one."""

    think_ns: IntArray  # (clients, cycles)
    wake_ns: IntArray  # (clients,) when a client that thinks sends its next request
    cycle: IntArray  # (clients,) how often it has thought
    heap: IntArray  # (clients,) those that think, by (wake_ns, client)


class Seating(NamedTuple):
    """Sequences and the slots of servers that hold them; S sequences, K seats.

    Nothing where rules are not sticky.
    """

    of: NDArray[np.int32]  # (N,)
    ends: NDArray[np.int8]  # (N,)
    arrival_ns: IntArray  # (N,) of the workload: what rules see may be another
    ready_ns: IntArray  # (N,) -1 where it was never ready
    sits: NDArray[np.int32]  # (N,) the seat of a request that is or was ready
    sequences: IntArray  # (9, S)
    seats: IntArray  # (2, K)
    free: IntArray  # (K,) heap
    order: IntArray  # (K,) zeros: seats are ordered by themselves
    turns: IntArray  # (4,)
    max_idle_ns: int
    places: bool


class System(NamedTuple):
    """Everything that a run changes or reads; N requests."""

    arrival_ns: IntArray  # (N,)
    length: NDArray[np.int32]  # (N,)
    tier: NDArray[np.int8]  # (N,)
    deadline_ns: IntArray  # (N,); in a closed loop, before it arrives, its patience
    next: NDArray[np.int32]  # (N,) the next request of the same lane
    fates: Records  # (N,) of FATE
    links: Records  # (N,) of LINKS where requests give up or loop, else (0,)
    patience: IntArray  # (N,) heap of those that may give up, or (0,)
    batches: Records  # (N,) of BATCH, the first ones are filled
    formed_ns: IntArray  # (N,) of batches, where rules seal; else (0,)
    sealed: Records  # (N,) of SEAL, where rules seal; else (0,)
    lanes: IntArray  # (5, queues x lanes)
    servers: IntArray  # (11, servers)
    queues: IntArray  # (19, queues)
    of_tier: IntArray  # (queues, tiers) that wait, where tiers have capacities; else (queues, 0)
    route_u: FloatArray  # (any,)
    replicas: IntArray  # (5, replicas) where they come or go, else (5, 0)
    outages_ns: IntArray  # (replicas, outages, 2)
    orphans: IntArray  # (N,) heap where replicas fail, else (0,)
    lost_ns: IntArray  # (N,) where requests are lost, else (0,)
    shed_ns: IntArray  # (N,) where rules shed: when, or -1; else (0,)
    scaling: Scaling
    scale_memory: FloatArray  # (memory_slots of the autoscaler,)
    log: IntArray  # (changes, 3)
    clock: Clock
    limits: Limits
    clients: Clients
    tiers: IntArray  # (models,) requests of each model in the batch at hand
    memory: FloatArray  # (memory_slots,)
    seating: Seating
    count: Any  # a record of COUNTERS


class Outcome(NamedTuple):
    """Columns of the requests that arrived, as :class:`sim.trace.Trace` has them."""

    lane: NDArray[np.int16]
    start_ns: IntArray
    finish_ns: IntArray
    batch: NDArray[np.int32]
    server: NDArray[np.int16]
    status: NDArray[np.int8]
