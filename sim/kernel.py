"""The compiled driver: the SimPy model's twin in numba, request for request equal, for big runs.

The event loop is in :mod:`sim.steps`; a policy's own methods are compiled into it by
:mod:`sim.compiled`.  It releases the GIL, so that threads use all cores.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from policies.contract import (
    IntArray,
    Policy,
    PolicyError,
)
from policies.sticky import has_places, slots

from .answer import NO_SUCH_REPLICA, SOUND, blame
from .changes import Changes, Unchanging
from .compiled import compiled
from .empty_system import empty_system
from .sequences import SequenceTimes, is_seated, unseated, with_slots
from .service import Service
from .steps_outcome import write_outcome
from .system import (
    FREED_NS,
    SEAT,
    SEATED_NS,
    WAS_IDLE,
    Outcome,
    System,
)
from .tandem import in_tandem
from .trace import BATCH_COLUMNS, Trace
from .workload import Workload

BATCH_NAMES = tuple(name for name in BATCH_COLUMNS if name != "formed_ns")


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
    service = with_slots(policy, workload, service)
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
    router, policy = service.grouping.router, kinds[0]
    service.check_open(workload.closed is not None, policy)
    scaler = service.grouping.scaler if service.grouping.changes else Unchanging()
    classes: Any = (type(policy), type(router), type(scaler))
    system = empty_system(policy, kind_of, workload, service)
    many = kinds[0] if len(kinds) == 1 else tuple(kinds)
    try:
        compiled(*classes)(many, router, scaler, system)
    except NumbaError as error:
        raise PolicyError(not_compiled(policy, error)) from error
    fault = int(system.count.fault)
    if fault != SOUND:
        culprit = router if fault == NO_SUCH_REPLICA else policy
        blame(culprit, fault, int(system.count.now_ns), service.largest_batch)
    return trace_of(system, kinds[0], workload, service)


def not_compiled(policy: Policy, error: Exception) -> str:
    """One sentence for a policy that numba refuses."""
    told = [" ".join(line.split()) for line in str(error).splitlines()]
    where = next((line for line in told if line.startswith("File ")), "its methods")
    return (
        f"policy {type(policy).__name__} does not compile: numba refuses {where.rstrip(':')}; keep "
        "to numbers, comparisons and loops over the view, make no arrays (rule 8), or run it with "
        "the SimPy engine"
    )


def trace_of(system: System, policy: Policy, workload: Workload, service: Service) -> Trace:
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
    left_ns = (system.deadline_ns, system.lost_ns, system.shed_ns)
    write_outcome(system.fates, system.batches, *left_ns, outcome)
    changes = None
    if service.grouping.changes:
        failed = system.batches["failed"][:started].astype(np.bool_)
        changes = Changes(failed, system.log[: int(system.count.logged)].copy())
    batches: Any = {f"batch_{name}": system.batches[name][:started].copy() for name in BATCH_NAMES}
    batches["batch_formed_ns"] = batches["batch_start_ns"]
    if system.limits.seals:
        batches["batch_formed_ns"] = system.formed_ns[:started].copy()
    arrival_ns = system.arrival_ns[:arrived]
    sequences = unseated(workload.sequences, arrival_ns)
    if is_seated(policy, workload.sequences):
        arrival_ns, sequences = system.seating.arrival_ns[:arrived], times_of(system, policy)
    return Trace(
        arrival_ns=arrival_ns,
        length=system.length[:arrived],
        tier=system.tier[:arrived],
        **outcome._asdict(),
        **batches,
        changes=changes,
        sheds=system.limits.sheds,
        sequences=sequences,
        servers=service.servers,
        tiers=workload.tiers,
        length_unit=workload.length_unit,
    )


def times_of(system: System, policy: Policy) -> SequenceTimes:
    """Columns of the sequences that began, and of their requests."""
    seating, arrived = system.seating, int(system.count.arrived)
    of = seating.of[:arrived]
    known = seating.sequences[:, : int(of.max(initial=-1)) + 1]
    servers, seat = system.servers.shape[1], known[SEAT]
    has = seat >= 0
    return SequenceTimes(
        of,
        seating.ends[:arrived],
        seating.ready_ns[:arrived],
        np.where(has, seat % servers, -1).astype(np.int16),
        np.where(has, seat // servers, -1).astype(np.int16),
        known[SEATED_NS],
        known[FREED_NS],
        known[WAS_IDLE].astype(np.int8),
        slots(policy),
        has_places(policy),
    )
