"""The sequences of a station: who holds which slot, who waits for one, whose turn it is.

The rules are those of :mod:`sim.sequences`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from policies.contract import NEVER, Policy, later
from policies.sticky import has_places, max_idle_ns, slots

from .sequences import (
    GONE,
    IN_LINE,
    SEATED,
    TIMED_OUT,
    UNKNOWN,
    Sequences,
    SequenceTimes,
)

if TYPE_CHECKING:
    from .station import Station

NONE = -1
"""In the place of a sequence or of a request: there is none."""


class Seating:
    """Slots of all servers: that of number k on server s is seat ``k x servers + s``."""

    def __init__(self, station: Station, policy: Policy, sequences: Sequences) -> None:
        """Start with all slots free.

        Args:
            station: what they belong to.
            policy: sticky, and bound.
            sequences: of the requests.
        """
        self.station, self.of, self.ends = station, sequences.of, sequences.ends
        self.slots, self.places = slots(policy), has_places(policy)
        self.max_idle_ns = max_idle_ns(policy)
        self.servers, count, total = station.service.servers, sequences.count, len(sequences.of)
        self.arrival_ns, self.ready_ns = np.full(total, -1), np.full(total, -1)
        self.state = np.full(count, UNKNOWN)
        self.seat, self.latest = np.full(count, NONE), np.full(count, NONE)
        self.seated_ns, self.freed_ns = np.full(count, -1), np.full(count, -1)
        self.timed_out = np.zeros(count, dtype=np.int8)
        self.waiting: defaultdict[int, deque[int]] = defaultdict(deque)
        """Requests of each sequence that are not ready."""
        seats = min(self.slots, max(1, count)) * self.servers  # more are never needed
        self.free = list(range(seats))
        self.occupant, self.current = [NONE] * seats, [NONE] * seats
        """The sequence of each seat, and its request that is ready or running."""
        self.line: deque[int] = deque()
        """Sequences that wait for a slot."""
        self.sent: deque[int] = deque()
        """Requests after which a sequence may time out, by arrival."""

    @property
    def idle_ns(self) -> int:
        """When the next sequence times out."""
        while self.sent and not self._may_be_last(self.sent[0]):
            self.sent.popleft()
        return later(int(self.arrival_ns[self.sent[0]]), self.max_idle_ns) if self.sent else NEVER

    def _may_be_last(self, request: int) -> bool:
        return bool(self.latest[self.of[request]] == request and not self.ends[request])

    # the steps of an instant

    def time_out(self, now_ns: int) -> None:
        """Sequences that sent nothing for too long lose their slots."""
        while self.idle_ns <= now_ns:
            sequence = int(self.of[self.sent.popleft()])
            self.timed_out[sequence] = 1
            if self.state[sequence] == SEATED:
                self.state[sequence] = TIMED_OUT
                self._advance(int(self.seat[sequence]), now_ns)

    def answered(self, server: int, members: Sequence[int], now_ns: int) -> None:
        """A batch is done: whose turn it is next."""
        found = [self.current.index(request) for request in members]
        for seat in found:
            self.current[seat] = NONE
            if not self.places:
                self._advance(seat, now_ns)
        if self.places:
            for seat in range(server, len(self.occupant), self.servers):
                self._advance(seat, now_ns)

    def arrive(self, request: int, arrival_ns: int, now_ns: int) -> bool:
        """Let a request in; False where its sequence has timed out."""
        self.arrival_ns[request] = arrival_ns
        sequence = int(self.of[request])
        if self.state[sequence] in (TIMED_OUT, GONE):
            return False
        if self.state[sequence] == UNKNOWN:
            self.state[sequence] = IN_LINE
            if self.free:
                self._sit(sequence, heappop(self.free), now_ns)
            else:
                self.line.append(sequence)
        self.latest[sequence] = request
        self.timed_out[sequence] = 0
        self.sent.append(request)
        self.station.ongoing += 1
        self.station.room.lane[request] = self.station.lane_for(request, self.station.queues[0])
        self.waiting[sequence].append(request)
        if self.state[sequence] == SEATED:
            self._advance(int(self.seat[sequence]), now_ns)
        return True

    def taken(self, server: int, members: Sequence[int], now_ns: int) -> int:
        """A batch starts: how many places it is charged for."""
        if not self.places:
            return len(members)
        last = 0
        for seat in range(server, len(self.occupant), self.servers):
            if self.current[seat] not in members:
                continue
            last = seat // self.servers
            if self.ends[self.current[seat]]:
                self._give_back(seat, now_ns)
        return last + 1

    # slots

    def _advance(self, seat: int, now_ns: int) -> None:
        """Let the next request of a seat be ready, or give the seat back."""
        while self.current[seat] == NONE and self.occupant[seat] != NONE:
            sequence = self.occupant[seat]
            if self.waiting[sequence]:
                self._ready(self.waiting[sequence].popleft(), seat, now_ns)
            elif self.state[sequence] == TIMED_OUT and self._may_let_go(seat):
                self._give_back(seat, now_ns)
            else:
                return

    def _may_let_go(self, seat: int) -> bool:
        """Where batches have places, slots are looked at only between two of them."""
        return not self.places or self.station.running[seat % self.servers] is None

    def _ready(self, request: int, seat: int, now_ns: int) -> None:
        self.current[seat] = request
        self.ready_ns[request] = now_ns
        self._join(request, seat % self.servers, now_ns)
        if self.ends[request] and not self.places:
            self._give_back(seat, now_ns)

    def _join(self, request: int, server: int, now_ns: int) -> None:
        """Put a request into the queue of a server."""
        room, queue = self.station.room, self.station.queues[self.station.queue_of[server]]
        lane = queue.lanes.start + self.station.lane_for(request, queue)
        if self.places:
            room.join_by_id(request, lane)
        else:
            room.arrival_ns[request] = now_ns
            room.join(request, lane)
        queue.arrived += 1
        queue.present += 1
        queue.of_tier[room.tier[request]] += 1
        queue.touched = True

    def _sit(self, sequence: int, seat: int, now_ns: int) -> None:
        self.occupant[seat] = sequence
        self.seat[sequence], self.seated_ns[sequence] = seat, now_ns
        self.state[sequence] = TIMED_OUT if self.timed_out[sequence] else SEATED

    def _give_back(self, seat: int, now_ns: int) -> None:
        """A seat is free; the first in line takes it."""
        sequence = self.occupant[seat]
        self.state[sequence], self.freed_ns[sequence] = GONE, now_ns
        self.occupant[seat] = NONE
        if self.line:
            self._sit(self.line.popleft(), seat, now_ns)
        else:
            heappush(self.free, seat)

    def times(self, arrived: int) -> SequenceTimes:
        """Columns of those who arrived."""
        count = int(self.of[:arrived].max(initial=-1)) + 1
        seat = self.seat[:count]
        has = seat >= 0
        return SequenceTimes(
            self.of[:arrived],
            self.ends[:arrived],
            self.ready_ns[:arrived],
            np.where(has, seat % self.servers, -1).astype(np.int16),
            np.where(has, seat // self.servers, -1).astype(np.int16),
            self.seated_ns[:count],
            self.freed_ns[:count],
            self.timed_out[:count],
            self.slots,
            self.places,
        )
