"""A station without an end: requests come one by one, and nothing is kept of who is gone.

A :class:`~sim.station.Station` knows beforehand how many requests come, and keeps a row of each for
the trace.  Here:

1. Ids are those of a run that ends, 0, 1, 2, ... in order of arrival, so that a policy sees the
   same; their rows are a :class:`~sim.ring.Ring`, which is used again and again.
2. A row is used again only when its request is answered.  Where one that has waited for long is in
   the way the ring grows, to ``ROWS_MOST``; from then on who needs its row is refused.
3. Whatever else is kept of the past is bounded, too: batches that run, deadlines of who waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, cast

import numpy as np

from policies.contract import NEVER, NOBODY, IntArray, Policy, Tier, lane_count

from .ring import Ring
from .served_queue import ServedQueue
from .service import Service
from .station import Station
from .trace import REJECTED, UNFINISHED
from .workload import Workload

ROWS, ROWS_MOST = 2**14, 2**21
"""Of the ring, at first and at most; 150 MB then."""
RECORDS = 4096
"""Rows of batches, before those that are over are dropped."""


class Comer(NamedTuple):
    """A request that arrives."""

    arrival_ns: int
    length: int
    tier: int = 0
    timeout_ns: int = NEVER
    """Patience from arrival to start."""


class EndlessStation(Station):
    """See the module's docstring."""

    def __init__(
        self,
        policy: Policy,
        service: Service,
        tiers: tuple[Tier, ...] = (Tier("all"),),
        length_unit: str = "tokens",
    ) -> None:
        """Bind the policy to the service and start empty.

        Args:
            policy: any policy.
            service: what is known of the servers; its queue is bounded.
            tiers: most urgent first.
            length_unit: of the requests' lengths.

        Raises:
            ValueError: a parameter of the policy is out of range.
        """
        assert service.capacity != NEVER, "an endless station needs a bounded queue"
        patience_ns, nobody = cast("Any", Ring(ROWS, NEVER)), np.zeros(0, dtype=np.int64)
        shape = Workload(
            np.zeros(0, dtype=np.int32), nobody, timeout_ns=patience_ns, tiers=tiers,
            length_unit=length_unit,
        )  # fmt: skip
        super().__init__(policy, shape, service)
        self.room.arrival_ns, self.room.length, self.room.tier = _columns(-1, 1, 0)
        self.room.deadline_ns, self.room.next, self.room.lane = _columns(NEVER, NOBODY, -1)
        self.status, self.batch_of, self.owner = _columns(UNFINISHED, -1, -1)

    @property
    def waiting(self) -> int:
        """Requests that wait, in all queues."""
        return sum(queue.present for queue in self.queues)

    @property
    def in_service(self) -> int:
        """Requests that run, in all queues."""
        return sum(queue.in_service for queue in self.queues)

    @property
    def expiry_ns(self) -> int:
        """When the next waiting request gives up; NEVER where none does."""
        while self._impatient and not self._is_here(self._impatient[0][1]):
            heappop(self._impatient)
        return super().expiry_ns

    def settle(self, now_ns: int, done: Sequence[tuple[int, int]] = ()) -> list[int]:
        """As a station; the rows of who is answered may be read until somebody is taken in."""
        answered = super().settle(now_ns, done)
        self.owner[answered] = NOBODY
        return answered

    def take_in(self, now_ns: int, comers: Sequence[Comer]) -> list[int]:
        """Admit requests, in the order of their arrival; they get the next ids.

        Args:
            now_ns: the instant.
            comers: who arrived by then.

        Returns:
            The ids that are answered by this: they were refused, or gave up already.
        """
        refused = []
        for comer in comers:
            request = self.arrived
            self.arrived += 1
            if not (self._has_row(request) and self._joins(request, comer, now_ns)):
                refused.append(request)
        gone = self._expire(now_ns)
        self.owner[gone] = NOBODY
        return refused + gone

    def let_go(self, request: int, now_ns: int) -> bool:
        """Let a request give up at the next instant; False where it is in a batch, or gone."""
        waits = self._is_here(request) and self._gives_up(request)
        if waits:
            heappush(self._impatient, (now_ns, request))
        return waits

    def change(self, policy: Policy) -> dict[int, int]:
        """Another policy from now on, which knows nothing of the past.

        Whoever waits or runs is numbered anew, from 0 on in the order of arrival, as in a run that
        has just begun; who waits is put into the lanes of the new policy, in that order.

        Returns:
            The new id of everybody who is here.

        Raises:
            ValueError: a parameter of the policy is out of range; nothing is changed then.
        """
        kinds, kind_of = self.service.policies(policy, self.workload.tiers)
        owners = self.owner.rows
        here = np.sort(owners[owners != NOBODY])
        new_of = {old: new for new, old in enumerate(here.tolist())}
        waiting = [
            sorted(new_of[old] for lane in self.room.queue[queue.lanes] for old in lane)
            for queue in self.queues
        ]
        self._renumber(here, new_of)
        lanes = lane_count(kinds[0])
        self.room.set_lanes(lanes * len(self.queues))
        for place, (queue, requests) in enumerate(zip(self.queues, waiting, strict=True)):
            queue.take_over(
                kinds[kind_of[place]], slice(place * lanes, (place + 1) * lanes), len(here)
            )
            for request in requests:
                self.room.join(request, queue.lanes.start + self.lane_for(request, queue))
        return new_of

    def _renumber(self, here: IntArray, new_of: Mapping[int, int]) -> None:
        """Move everybody to the first rows."""
        self._impatient = [
            (deadline_ns, new_of[request])
            for deadline_ns, request in self._impatient
            if self._is_here(request) and self._gives_up(request)
        ]
        heapify(self._impatient)
        for ring in self._rings():
            ring.keep(here)
        self.owner[np.arange(len(here))] = np.arange(len(here))
        self.room.next[np.arange(len(here))] = NOBODY
        self.arrived = len(here)
        for server, batch in enumerate(self.running):
            if batch is not None:
                members = tuple(new_of[member] for member in batch.members)
                self.running[server] = batch._replace(members=members)
        for queue in self.queues:
            for at, formed in enumerate(queue.sealed):
                queue.sealed[at] = formed._replace(
                    members=[new_of[member] for member in formed.members]
                )

    def _joins(self, request: int, comer: Comer, now_ns: int) -> bool:
        room = self.room
        room.arrival_ns[request], room.length[request], room.tier[request] = comer[:3]
        room.deadline_ns[request], room.next[request] = NEVER, NOBODY
        self.workload.timeout_ns[request] = comer.timeout_ns
        self.status[request], self.batch_of[request] = UNFINISHED, NOBODY
        self.owner[request] = request
        if self._join(request, self.route(request, now_ns)):
            self._drop_deadlines()
            return True
        self.status[request], self.owner[request] = REJECTED, NOBODY
        return False

    def _has_row(self, request: int) -> bool:
        """Whether a request's row is free, or can be made so."""
        while self.owner[request] != NOBODY and len(self.owner) < ROWS_MOST:
            for ring in self._rings():
                ring.grow(request)
        return bool(self.owner[request] == NOBODY)

    def _release(self, server: int, finish_ns: int, now_ns: int) -> tuple[int, ...]:
        members = super()._release(server, finish_ns, now_ns)
        if len(self.records) >= RECORDS:
            self._drop_records()
        return members

    def _shed(self, queue: ServedQueue, now_ns: int) -> None:
        super()._shed(queue, now_ns)
        self.owner[self.shed] = NOBODY
        self.shed_ns.clear()

    def _drop_records(self) -> None:
        """Keep the rows of batches that run, which move to the front."""
        kept: list[list[int]] = []
        for server, batch in enumerate(self.running):
            if batch is not None:
                self.running[server] = batch._replace(place=len(kept))
                kept.append(self.records[batch.place])
        self.records = kept

    def _drop_deadlines(self) -> None:
        """Forget those of who is gone, where they are most of all."""
        if len(self._impatient) > 2 * self.ongoing + 1024:
            self._impatient = [
                (deadline_ns, request)
                for deadline_ns, request in self._impatient
                if self._is_here(request) and self._gives_up(request)
            ]
            heapify(self._impatient)

    def _is_here(self, request: int) -> bool:
        return bool(self.owner[request] == request)

    def _rings(self) -> list[Any]:
        room = self.room
        return [
            room.arrival_ns, room.length, room.tier, room.deadline_ns, room.next, room.lane,
            self.status, self.batch_of, self.owner, self.workload.timeout_ns,
        ]  # fmt: skip


def _columns(*fills: int) -> list[Any]:
    """Rings of so many rows that a station takes for arrays."""
    return [Ring(ROWS, fill) for fill in fills]


__all__ = ["Comer", "EndlessStation"]
