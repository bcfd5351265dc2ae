"""Sequences: requests that belong together, and slots of servers that hold one of them at a time.

Under a sticky rule (:mod:`policies.sticky`) every server has a queue and slots of its own.  The
rules are those of Triton's sequence batcher (``sequence_batch_scheduler.cc`` of
triton-inference-server/core, 2026-06), the same in every driver:

1. A sequence that begins takes a free slot: that of the lowest number, of the lowest server where
   several have it.  Where none is free it waits in line, and its requests with it.
2. A slot serves the requests of its sequence one at a time and in order.  The next joins the queue
   of its server when the one before it is answered: then it is *ready*.  A rule with places sees
   when it arrived, any other when it was ready, as Triton's two batchers do.
3. A sequence that ends gives its slot back when its last request is ready or, where batches have
   places, when that is taken into a batch.  Whoever is first in line takes it at once; the requests
   of the new one wait until the slot's running request is answered.
4. A sequence that has sent nothing for ``max_idle_ns`` without having ended is timed out: what came
   is still served, what comes later is rejected, and the slot is given back when nothing of it is
   left; where batches have places, no earlier than the server is idle.  In line nobody is timed
   out; who has been idle for so long then is as soon as it gets a slot.
5. In an instant sequences are timed out first, before completions and arrivals.
6. A batch with places costs as much as one of all slots up to the last that it takes.

Triton looks at sequences in line that are too long idle every 50 ms, and between servers with equal
slots it goes by the order in a heap: there it may differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, IntArray, Policy, seals, sheds
from policies.sticky import slots

from .cluster import Cluster
from .errors import WorkloadError
from .service import Service

UNKNOWN, IN_LINE, SEATED, TIMED_OUT, GONE = range(5)
"""What a sequence is: it has not begun; it waits for a slot; it has one; it has one, but what comes
is rejected; it has given it back."""


@dataclass(frozen=True)
class Sequences:
    """Which sequence each of N requests belongs to; a sequence begins with the first of it."""

    of: NDArray[np.int32]
    """int32 (N,): 0 to the number of sequences - 1, in the order of their first requests."""
    ends: NDArray[np.int8]
    """int8 (N,): 1 where the request says that it is the last of its sequence."""

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.of.max(initial=-1)) + 1


def ended(sequences: Sequences, requests: int) -> Sequences:
    """Those of the first requests; what is cut off ends with its last one."""
    of, ends = sequences.of[:requests], sequences.ends[:requests].copy()
    whole = np.bincount(sequences.of)[: int(of.max(initial=-1)) + 1]
    last = np.zeros(len(whole), dtype=np.int64)
    last[of] = np.arange(len(of))
    ends[last[np.bincount(of, minlength=len(whole)) < whole]] = 1
    return Sequences(of, ends)


def at_pace(
    arrival_ns: IntArray, sequences: Sequences, factor: float
) -> tuple[IntArray, Sequences, IntArray]:
    """The same sequences, beginning ``factor`` times as fast; their own requests keep their gaps.

    Returns:
        Arrivals int64 (N,), the sequences, and int64 (N,), which request each was.
    """
    of = sequences.of
    _, first = np.unique(of, return_index=True)
    start_ns = arrival_ns[first]
    paced = np.rint(start_ns / factor).astype(np.int64)[of] + arrival_ns - start_ns[of]
    order = np.lexsort((np.arange(len(of)), of, paced))
    return paced[order], Sequences(of[order], sequences.ends[order]), order


class SequenceTimes(NamedTuple):
    """What became of S sequences and when the turn of each of N requests came."""

    sequence: NDArray[np.int32]
    """int32 (N,)"""
    ends: NDArray[np.int8]
    """int8 (N,): whether it said that it is the last"""
    ready_ns: IntArray
    """int64 (N,): when it joined the queue of a server; -1 where it never did"""

    server: NDArray[np.int16]
    """int16 (S,): where the sequence had a slot; -1 where it never had one"""
    slot: NDArray[np.int16]
    """int16 (S,)"""
    seated_ns: IntArray
    """int64 (S,): when it got its slot; -1 where it never did"""
    freed_ns: IntArray
    """int64 (S,): when it gave it back; -1 where it never did"""
    timed_out: NDArray[np.int8]
    """int8 (S,): 1 where it sent nothing for too long"""

    slots: int = 0
    """Of each server; 0 where the rule is not sticky."""
    places: bool = False
    """Whether batches have a place for each slot."""

    def equals(self, other: SequenceTimes | None) -> bool:
        """Whether every column and every number is the same."""
        return (
            other is not None
            and (self.slots, self.places) == (other.slots, other.places)
            and all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in (*SEQUENCE_COLUMNS, *SLOT_COLUMNS)
            )
        )

    def places_of(self, batch: NDArray[np.int32], size: NDArray[np.int32]) -> NDArray[np.int32]:
        """What each batch is charged for, int32 (M,).

        Args:
            batch: int32 (N,), -1 where a request has none.
            size: int32 (M,), requests in each batch.
        """
        if not self.places:
            return size
        found = np.zeros(len(size), dtype=np.int32)
        served = np.flatnonzero(batch >= 0)
        slot = self.slot[self.sequence[served]].astype(np.int32)
        np.maximum.at(found, batch[served], slot + 1)
        return found


SEQUENCE_COLUMNS: dict[str, type[np.signedinteger[Any]]] = {
    "sequence": np.int32,
    "ends": np.int8,
    "ready_ns": np.int64,
}
"""Columns per request of :class:`SequenceTimes`, with their dtypes."""

SLOT_COLUMNS: dict[str, type[np.signedinteger[Any]]] = {
    "server": np.int16,
    "slot": np.int16,
    "seated_ns": np.int64,
    "freed_ns": np.int64,
    "timed_out": np.int8,
}
"""Columns per sequence of :class:`SequenceTimes`, with their dtypes."""


def unseated(sequences: Sequences | None, arrival_ns: IntArray) -> SequenceTimes | None:
    """What there is to say of sequences where the rule knows none: every request is ready at once.

    Args:
        sequences: of the workload.
        arrival_ns: int64 (N,), of those who arrived.
    """
    if sequences is None:
        return None
    arrived, count = len(arrival_ns), int(sequences.of[: len(arrival_ns)].max(initial=-1)) + 1
    nowhere, never = np.full(count, -1, dtype=np.int16), np.full(count, -1)
    return SequenceTimes(
        sequences.of[:arrived], sequences.ends[:arrived], arrival_ns,
        nowhere, nowhere.copy(), never, never.copy(), np.zeros(count, dtype=np.int8),
    )  # fmt: skip


def is_seated(policy: Policy, sequences: Sequences | None) -> bool:
    """Whether a run of this policy has slots."""
    return sequences is not None and hasattr(type(policy), "slots")


def with_slots(policy: Policy, workload: Any, service: Service) -> Service:
    """The service as a sticky rule has it: every server with a queue of its own.

    Args:
        policy: any; where it is not sticky the service stays as it is.
        workload: a :class:`sim.workload.Workload`.
        service: what serves.

    Raises:
        WorkloadError: something stands beside sequences that no slot can hold.
    """
    if not is_seated(policy, workload.sequences):
        return service
    beside = {
        "a closed loop": workload.closed is not None,
        "tiers": len(workload.tiers) > 1,
        "timeouts": len(workload.timeout_ns) > 0,
        "a limited capacity": service.capacity < NEVER or len(service.tier_capacity) > 0,
        "lengths that are rejected": service.longest_admitted < NEVER,
        "CPU stages": service.stages is not None,
        "a cluster": service.cluster is not None,
        "batches that are sealed or requests that are shed": seals(policy) > 0 or sheds(policy),
    }
    for what, there in beside.items():
        if there:
            raise WorkloadError(
                f"{type(policy).__name__} keeps sequences on slots of servers, which goes with "
                f"open arrivals in one tier and one queue for all of them, not with {what}"
            )
    own = Cluster(np.arange(service.servers), own_queues=service.servers > 1)
    return replace(service, cluster=own)


def crowd_of(policy: Policy, servers: int, requests: int, largest: int) -> Sequences | None:
    """So many sequences as hold all slots, none of which ends; None where the policy is not sticky.

    Args:
        policy: bound or not: slots of 0 stand for the profile's largest batch.
        servers: how many hold them.
        requests: of all sequences together.
        largest: the profile's largest batch.
    """
    if not hasattr(type(policy), "slots"):
        return None
    held = (slots(policy) or getattr(policy, "max_batch_size", 0) or largest) * servers
    of = (np.arange(requests) % max(1, held)).astype(np.int32)
    return Sequences(of, np.zeros(requests, dtype=np.int8))
