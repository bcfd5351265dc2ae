"""The state that a compiled run begins with: nobody has arrived, every server is idle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import (
    NEVER,
    NOBODY,
    IntArray,
    Policy,
    lane_count,
    memory_slots,
    seals,
    sheds,
)
from policies.sticky import has_places, max_idle_ns, slots

from .changes import OFF, READY
from .cluster import Cluster
from .sequences import UNKNOWN, is_seated
from .service import Service
from .system import (
    ASK_NS,
    AVAILABLE,
    BATCH,
    BATCHES,
    COUNTERS,
    FATE,
    FINISH_NS,
    FIRST_SERVER,
    GPU,
    IDLE,
    IDLE_SINCE_NS,
    KIND,
    LAST_SERVER,
    LINKS,
    OLDEST_NS,
    PROFILE,
    QUEUE,
    SEAL,
    SERVERS,
    SIZE,
    STATE,
    STATE_OF,
    TAKE,
    UNTIL_NS,
    UP,
    WAITING,
    WAS_IDLE,
    Clients,
    Clock,
    Limits,
    Scaling,
    Seating,
    System,
)
from .trace import UNFINISHED
from .workload import Workload


def empty_system(policy: Policy, kind_of: IntArray, workload: Workload, service: Service) -> System:
    """Everything that a compiled run changes or reads, at instant 0."""
    total, group = len(workload), service.grouping
    fails = group.outages_ns.size > 0
    closed = workload.closed is not None
    impatient = workload.timeout_ns.shape[0] > 0
    ahead = seals(policy)
    seated = is_seated(policy, workload.sequences)
    remembers = closed or fails or ahead > 0 or seated
    # every failure may end a batch on each server
    batches = total + group.outages_ns.size // 2 * group.servers
    return System(
        arrival_ns=_arrivals(workload, seated),
        length=workload.length,
        tier=workload.tier if workload.tier.shape[0] else np.zeros(total, dtype=np.int8),
        deadline_ns=_deadlines(workload),
        next=np.full(total, NOBODY, dtype=np.int32),
        fates=_rows(total, FATE, batch=-1, status=UNFINISHED),
        links=_rows(total if remembers or impatient else 0, LINKS, client=-1),
        patience=np.empty(total if impatient else 0, dtype=np.int64),
        # these are touched only where rows are written
        batches=np.empty(batches, dtype=BATCH),
        formed_ns=np.empty(batches if ahead else 0, dtype=np.int64),
        sealed=np.empty(total if ahead else 0, dtype=SEAL),
        lanes=_table(5, lane_count(policy) * group.queues, {WAITING: 0, OLDEST_NS: NEVER, TAKE: 0}),
        servers=_servers(group),
        queues=_queues(group, kind_of),
        of_tier=np.zeros(
            (group.queues, len(workload.tiers) if len(service.tier_capacity) else 0),
            dtype=np.int64,
        ),
        route_u=group.route_u,
        replicas=_replicas(group),
        outages_ns=group.outages_ns,
        orphans=np.zeros(total if fails else 0, dtype=np.int64),
        shed_ns=np.full(total if sheds(policy) else 0, -1),
        lost_ns=np.zeros(total if fails and group.loses else 0, dtype=np.int64),
        scaling=Scaling(
            group.scaler.interval_ns,
            group.scaler.min_replicas,
            group.scaler.max_replicas,
            group.cold_start_ns,
        ),
        scale_memory=np.zeros(group.scaler.memory_slots),
        log=_log(group, workload),
        clock=Clock(
            service.tables_ns,
            service.length_edges,
            service.noise.draws,
            service.noise.quantiles,
            service.size_classes,
            float(service.idling.extra_ns),
            float(service.idling.half_ns),
            group.slowdown,
            np.zeros(int(group.gpus.max()) + 1, dtype=np.int64),
        ),
        limits=Limits(
            service.capacity,
            service.capacity_counts_in_system,
            service.longest_admitted,
            service.tier_capacity,
            workload.until_ns,
            remembers,
            ahead,
            sheds(policy),
        ),
        clients=_clients(workload),
        tiers=np.zeros(service.service_ns.shape[0], dtype=np.int64),
        memory=np.zeros((group.queues, memory_slots(policy))),
        seating=_seating(policy, workload, group),
        count=_counters(group),
    )


def _arrivals(workload: Workload, seated: bool) -> IntArray:
    """When requests arrive; a copy where rules are shown when their turn comes."""
    if workload.closed is not None:
        return np.full(len(workload), -1)
    return workload.arrival_ns.copy() if seated else workload.arrival_ns


def _seating(policy: Policy, workload: Workload, group: Cluster) -> Seating:
    """All slots free, and no sequence has begun; nothing where rules are not sticky."""
    known = workload.sequences if is_seated(policy, workload.sequences) else None
    total = 0 if known is None else len(workload)
    count = 0 if known is None else known.count
    # a sequence takes the lowest free slot, so more than there are sequences are never needed
    seats = min(slots(policy), max(1, count)) * group.servers if known is not None else 0
    initial = {STATE_OF: UNKNOWN, WAS_IDLE: 0}
    return Seating(
        of=np.zeros(0, dtype=np.int32) if known is None else known.of,
        ends=np.zeros(0, dtype=np.int8) if known is None else known.ends,
        arrival_ns=workload.arrival_ns[:total],
        ready_ns=np.full(total, -1),
        sits=np.full(total, -1, dtype=np.int32),
        sequences=_table(9, count, initial),
        seats=np.full((2, seats), -1),
        free=np.arange(seats),
        order=np.zeros(seats, dtype=np.int64),
        turns=np.array([0, seats, NOBODY, NOBODY]),
        max_idle_ns=max_idle_ns(policy),
        places=has_places(policy),
    )


def _counters(group: Cluster) -> Any:
    """All 0, but for what does not come."""
    never = dict.fromkeys(("ask_ns", "next_finish_ns", "change_ns", "tick_ns"), NEVER)
    made = _rows(1, COUNTERS, **never, server=-1, logged=1)
    if group.changes:
        made["change_ns"], made["tick_ns"] = 0, group.scaler.interval_ns
    return made.view(np.recarray)[0]


def _replicas(group: Cluster) -> IntArray:
    """The first of them ready, the others off; none where they never change."""
    count = group.replicas if group.changes else 0
    made = np.zeros((5, count), dtype=np.int64)
    if count:
        bounds = np.searchsorted(group.replica_of, np.arange(count + 1))
        made[FIRST_SERVER], made[LAST_SERVER] = bounds[:-1], bounds[1:]
        made[STATE] = np.where(np.arange(count) < group.initial, READY, OFF)
        made[UNTIL_NS] = NEVER
    return made


def _log(group: Cluster, workload: Workload) -> IntArray:
    """Room for every instant at which the number of replicas may change."""
    if not group.changes:
        return np.zeros((1, 3), dtype=np.int64)
    last_ns = int(workload.arrival_ns.max(initial=0))
    ticks = last_ns // group.scaler.interval_ns + 1
    made = np.zeros((2 * ticks + group.outages_ns.size + 2, 3), dtype=np.int64)
    made[0, 1] = min(group.replicas, group.initial)
    return made


def _servers(group: Cluster) -> IntArray:
    """All idle since 0."""
    initial = {IDLE_SINCE_NS: 0, FINISH_NS: NEVER, SIZE: 0, BATCHES: 0}
    made = _table(11, group.servers, initial)
    made[QUEUE], made[PROFILE], made[GPU] = group.queue_of, group.profiles, group.gpus
    made[UP] = group.replica_of < group.initial
    return made


def _queues(group: Cluster, kind_of: IntArray) -> IntArray:
    """All empty."""
    bounds = group.bounds()
    made = np.zeros((19, group.queues), dtype=np.int64)
    made[FIRST_SERVER], made[LAST_SERVER], made[KIND] = bounds[:-1], bounds[1:], kind_of
    made[SERVERS] = np.diff(bounds)
    made[IDLE] = np.bincount(
        group.queue_of[group.replica_of < group.initial], minlength=len(bounds) - 1
    )
    made[ASK_NS] = NEVER
    made[AVAILABLE] = np.arange(group.queues) < group.initial if group.queues > 1 else 1
    return made


def _rows(rows: int, dtype: np.dtype[Any], **initial: int) -> NDArray[Any]:
    """Zeroed rows of a structured array, but for some columns."""
    made = np.zeros(rows, dtype=dtype)
    for name, value in initial.items():
        made[name] = value
    return made


def _table(height: int, columns: int, rows: dict[int, int]) -> IntArray:
    """Rows of -1, but for those given."""
    made = np.full((height, columns), -1)
    for row, value in rows.items():
        made[row] = value
    return made


def _deadlines(workload: Workload) -> IntArray:
    """Instants at which requests give up; in a closed loop, before they arrive, their patience."""
    patience = workload.timeout_ns
    if patience.shape[0] == 0:
        return np.full(len(workload), NEVER)
    if workload.closed is not None:
        return patience.copy()
    never = patience >= NEVER - workload.arrival_ns
    return np.where(never, NEVER, workload.arrival_ns + np.where(never, 0, patience))


def _clients(workload: Workload) -> Clients:
    think_ns = np.zeros((0, 1), dtype=np.int64)
    if workload.closed is not None:
        think_ns = workload.closed.think_ns
    clients = think_ns.shape[0]
    return Clients(
        think_ns=think_ns,
        wake_ns=np.full(clients, NEVER),
        cycle=np.zeros(clients, dtype=np.int64),
        heap=np.zeros(clients, dtype=np.int64),
    )
