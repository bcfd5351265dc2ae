"""The compiled driver: the SimPy model's twin in numba, request for request equal, for big runs.

The event loop is in :mod:`sim.steps`; a policy's own methods are compiled into it by
:mod:`sim.compiled`.  It releases the GIL, so that threads use all cores.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from policies.contract import (
    NEVER,
    NOBODY,
    IntArray,
    Policy,
    PolicyError,
    lane_count,
    memory_slots,
)

from .answer import NO_SUCH_REPLICA, SOUND, blame
from .changes import OFF, READY, Changes, Unchanging
from .cluster import Cluster
from .compiled import compiled
from .service import Service
from .steps import write_outcome
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
    SERVERS,
    SIZE,
    STATE,
    TAKE,
    UNTIL_NS,
    UP,
    WAITING,
    Clients,
    Clock,
    Limits,
    Outcome,
    Scaling,
    System,
)
from .tandem import in_tandem
from .trace import BATCH_COLUMNS, UNFINISHED, Trace
from .workload import Workload

BATCH_NAMES = tuple(BATCH_COLUMNS)


def run(policy: Policy, workload: Workload, service: Service) -> Trace:
    """Simulate a policy until no event remains.

    Args:
        policy: any policy that compiles; it is bound to the service first.
        workload: who arrives when.
        service: how long a batch takes.

    Raises:
        ValueError: a parameter of the policy is out of range.
        PolicyError: the policy broke the contract.
    """
    kinds, kind_of = service.policies(policy, workload.tiers)
    return _run(kinds, kind_of, workload, service)


def run_bound(policy: Policy, workload: Workload, service: Service) -> Trace:
    """Simulate a policy that is bound already, maybe to other times than batches now take.

    Args:
        policy: bound to a service with as many servers, batch sizes and edges.
        workload: who arrives when.
        service: how long a batch takes, and what the policy is told to expect of running batches.

    Raises:
        PolicyError: as :func:`run`.
    """
    kind_of = np.zeros(service.grouping.queues, dtype=np.int64)
    return _run([policy], kind_of, workload, service)


def _run(kinds: list[Policy], kind_of: IntArray, workload: Workload, service: Service) -> Trace:
    """Run bound policies; queue q has ``kinds[kind_of[q]]``."""
    if service.stages is not None:
        return in_tandem(partial(_run, kinds, kind_of), workload, service)
    service.check_open(workload.closed is not None)
    router, policy = service.grouping.router, kinds[0]
    scaler = service.grouping.scaler if service.grouping.changes else Unchanging()
    classes: Any = (type(policy), type(router), type(scaler))
    system = prepare(policy, kind_of, workload, service)
    many = kinds[0] if len(kinds) == 1 else tuple(kinds)
    try:
        compiled(*classes)(many, router, scaler, system)
    except NumbaError as error:
        raise PolicyError(not_compiled(policy, error)) from error
    fault = int(system.count.fault)
    if fault != SOUND:
        culprit = router if fault == NO_SUCH_REPLICA else policy
        blame(culprit, fault, int(system.count.now_ns), service.largest_batch)
    return trace_of(system, workload, service)


def not_compiled(policy: Policy, error: Exception) -> str:
    """One sentence for a policy that numba refuses."""
    told = [" ".join(line.split()) for line in str(error).splitlines()]
    where = next((line for line in told if line.startswith("File ")), "its methods")
    return (
        f"policy {type(policy).__name__} does not compile: numba refuses {where.rstrip(':')}; keep "
        "to numbers, comparisons and loops over the view, make no arrays (rule 8), or run it with "
        "the SimPy engine"
    )


def prepare(policy: Policy, kind_of: IntArray, workload: Workload, service: Service) -> System:
    """An empty system at instant 0."""
    total, group = len(workload), service.grouping
    fails = group.outages_ns.size > 0
    closed = workload.closed is not None
    impatient = workload.timeout_ns.shape[0] > 0
    return System(
        arrival_ns=np.full(total, -1) if closed else workload.arrival_ns,
        length=workload.length,
        tier=workload.tier if workload.tier.shape[0] else np.zeros(total, dtype=np.int8),
        deadline_ns=_deadlines(workload),
        next=np.full(total, NOBODY, dtype=np.int32),
        fates=_rows(total, FATE, batch=-1, status=UNFINISHED),
        links=_rows(total if closed or impatient or fails else 0, LINKS, client=-1),
        patience=np.empty(total if impatient else 0, dtype=np.int64),
        # touched only where rows are written; every failure may end a batch on each server
        batches=np.empty(total + group.outages_ns.size // 2 * group.servers, dtype=BATCH),
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
            closed or fails,
        ),
        clients=_clients(workload),
        tiers=np.zeros(service.service_ns.shape[0], dtype=np.int64),
        memory=np.zeros((group.queues, memory_slots(policy))),
        count=_counters(group),
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
    made = np.zeros((14, group.queues), dtype=np.int64)
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


def trace_of(system: System, workload: Workload, service: Service) -> Trace:
    """Columns of those who arrived and of the batches that ran."""
    arrived, started = int(system.count.arrived), int(system.count.started)
    outcome = Outcome(
        lane=np.empty(arrived, dtype=np.int16),
        start_ns=np.empty(arrived, dtype=np.int64),
        finish_ns=np.empty(arrived, dtype=np.int64),
        batch=np.empty(arrived, dtype=np.int32),
        server=np.empty(arrived, dtype=np.int16),
        status=np.empty(arrived, dtype=np.int8),
    )
    write_outcome(system.fates, system.batches, system.deadline_ns, system.lost_ns, outcome)
    changes = None
    if service.grouping.changes:
        failed = system.batches["failed"][:started].astype(np.bool_)
        changes = Changes(failed, system.log[: int(system.count.logged)].copy())
    batches: Any = {f"batch_{name}": system.batches[name][:started].copy() for name in BATCH_NAMES}
    return Trace(
        arrival_ns=system.arrival_ns[:arrived],
        length=system.length[:arrived],
        tier=system.tier[:arrived],
        **outcome._asdict(),
        **batches,
        changes=changes,
        servers=service.servers,
        tiers=workload.tiers,
        length_unit=workload.length_unit,
    )
