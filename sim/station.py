"""A queue of lanes in front of servers, without a clock: what the SimPy model and live runs share.

It is told what happened and says which batches start.  Whoever owns the clock works through an
instant in the order that every driver keeps:

1. ``settle``: requests whose patience has ended leave, in id order; then completions, each shown
   to ``observe``, in the order of their instants and then of the servers;
2. ``admit``: arrivals, in id order, those included that this instant's completions cause;
3. ``dispatch``: the policy decides, again and again, until it waits, no server is idle or nobody
   waits, or the run is over.  ``ask_ns`` is then when to ask again, at the latest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from policies.contract import (
    FIRE,
    NEVER,
    Policy,
    View,
    bind,
    expected_ns,
    lane_count,
    memory_slots,
)

from .answer import NO_SUCH_LANE, SOUND, blame, fault_of
from .service import Service, drawn_ns
from .service_times import Batch
from .trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from .waiting_room import WaitingRoom
from .workload import Workload


class Station:
    """Everything that waits and runs."""

    def __init__(self, policy: Policy, workload: Workload, service: Service) -> None:
        """Bind the policy to the service and start empty.

        Raises:
            ValueError: a parameter of the policy is out of range.
        """
        table = service.service_ns.max(axis=0)
        self.policy = bind(policy, table, service.length_edges, workload.tiers, service.servers)
        self.workload, self.service = workload, service
        total, servers = len(workload), service.servers
        self.arrived = 0
        self.ask_ns = NEVER
        """When the policy wants to be asked again; an event asks it earlier."""
        self.room = WaitingRoom(workload, lane_count(self.policy))
        self.batch_of = np.full(total, -1)
        self.status = np.full(total, UNFINISHED)

        self.idle = list(range(servers))  # longest idle first, then by index
        self.idle_since_ns = np.zeros(servers, dtype=np.int64)
        self.busy_since_ns, self.expected_ns = np.full(servers, -1), np.full(servers, -1)
        self.size, self.batches = np.zeros(servers, dtype=np.int64), np.zeros(servers, dtype=int)
        self.running: list[Batch | None] = [None] * servers
        self.records: list[list[int]] = []
        self.finished = (0, 0, 0)
        self.memory = np.zeros(memory_slots(self.policy))
        self._impatient: list[tuple[int, int]] = []  # heap of (deadline, request)

    @property
    def busy(self) -> bool:
        """Whether a batch runs."""
        return len(self.idle) < self.service.servers

    @property
    def expiry_ns(self) -> int:
        """When the next waiting request gives up; NEVER where none does."""
        while self._impatient and self.status[self._impatient[0][1]] != UNFINISHED:
            heappop(self._impatient)
        return self._impatient[0][0] if self._impatient else NEVER

    # the three steps of an instant

    def settle(self, now_ns: int, done: Sequence[tuple[int, int]] = ()) -> list[int]:
        """Let go who gave up, and take back the servers that are done.

        Args:
            now_ns: the instant.
            done: (finish instant, server); not after now.

        Returns:
            The requests that are answered by this.
        """
        answered = self._expire(now_ns)
        for finish_ns, server in sorted(done):
            answered += self._release(server, finish_ns, now_ns)
        return answered

    def admit(self, now_ns: int, arrival_ns: Sequence[int]) -> list[int]:
        """Take in the next requests, as many as the workload still has.

        Args:
            now_ns: the instant.
            arrival_ns: when each arrived: now, or a little earlier where a live run was late.

        Returns:
            The requests that are answered by this: they were rejected, or gave up already.
        """
        refused = []
        for instant_ns in arrival_ns[: len(self.workload) - self.arrived]:
            request, self.arrived = self.arrived, self.arrived + 1
            self.room.arrival_ns[request] = instant_ns
            if not self._join(request):
                self.status[request] = REJECTED
                refused.append(request)
        return refused + self._expire(now_ns)

    def dispatch(self, now_ns: int) -> Iterator[Batch]:
        """Ask the policy until it waits; yields each batch as it starts.

        Raises:
            PolicyError: the policy broke the contract.
        """
        while True:
            self.ask_ns = NEVER
            server = self._ask(now_ns)
            if server is None:
                return
            yield self._start(server, now_ns)

    # settle

    def _expire(self, now_ns: int) -> list[int]:
        gone = []
        while self.expiry_ns <= now_ns:
            _, request = heappop(self._impatient)
            self.room.leave(request)
            self.status[request] = EXPIRED
            gone.append(request)
        return sorted(gone)

    def _release(self, server: int, finish_ns: int, now_ns: int) -> tuple[int, ...]:
        batch = self.running[server]
        assert batch is not None, f"server {server} finished a batch that it never got"
        self.records[batch.place][1] = finish_ns
        self.finished = (self.finished[0] + 1, len(batch.members), finish_ns - batch.start_ns)
        self.running[server] = None
        self.size[server] = 0
        self.busy_since_ns[server] = self.expected_ns[server] = -1
        self.idle_since_ns[server] = finish_ns
        self.idle.append(server)
        observe = getattr(self.policy, "observe", None)
        if observe is not None:
            observe(self._view(server, now_ns))
        return batch.members

    # admit

    def _join(self, request: int) -> bool:
        """Put a request into its lane, unless there is no room for it."""
        service, room = self.service, self.room
        present = room.present
        if service.capacity_counts_in_system:
            present += int(self.size.sum())
        if present >= service.capacity or room.length[request] > service.longest_admitted:
            return False
        room.join(request, self._lane_for(request))
        arrival_ns = int(room.arrival_ns[request])
        timeouts = self.workload.timeout_ns
        if len(timeouts) and timeouts[request] < NEVER - arrival_ns:
            deadline_ns = arrival_ns + int(timeouts[request])
            room.deadline_ns[request] = deadline_ns
            heappush(self._impatient, (deadline_ns, request))
        return True

    def _lane_for(self, request: int) -> int:
        lane_of = getattr(self.policy, "lane_of", None)
        if lane_of is None:
            return 0
        room = self.room
        lane = int(lane_of(int(room.length[request]), int(room.tier[request])))
        if not 0 <= lane < len(room.queue):
            instant_ns = int(room.arrival_ns[request])
            blame(self.policy, NO_SUCH_LANE, instant_ns, self.service.largest_batch)
        return lane

    # dispatch

    def _ask(self, now_ns: int) -> int | None:
        """Ask every idle server, longest idle first; the one that is to start, if any."""
        if self.room.present == 0 or now_ns >= self.workload.until_ns:
            return None
        largest = self.service.largest_batch
        earliest = NEVER
        for server in self.idle:
            answer = int(self.policy.decide(self._view(server, now_ns)))
            fault = fault_of(answer, self.room.take, self.room.waiting, now_ns, largest)
            if fault != SOUND:
                blame(self.policy, fault, now_ns, largest)
            if answer == FIRE:
                return server
            earliest = min(earliest, answer)
        self.ask_ns = earliest
        return None

    def _start(self, server: int, now_ns: int) -> Batch:
        members, lane = self.room.collect()
        self.idle.remove(server)
        longest = int(self.room.length[members].max())
        service = self.service
        models = {0} if len(service.service_ns) == 1 else set(self.room.tier[members].tolist())
        usual = max(
            expected_ns(service.service_ns[model], service.length_edges, len(members), longest)
            for model in models
        )
        batch = Batch(
            place=len(self.records),
            server=server,
            number=int(self.batches[server]),
            members=tuple(members),
            longest=longest,
            lane=lane,
            models=tuple(sorted(models)),
            start_ns=now_ns,
            expected_ns=drawn_ns(usual, 1.0),
            idle_ns=now_ns - int(self.idle_since_ns[server]),
        )
        self.status[members] = SERVED
        self.batch_of[members] = batch.place
        self.running[server] = batch
        self.batches[server] += 1
        self.busy_since_ns[server] = now_ns
        self.expected_ns[server] = now_ns + batch.expected_ns
        self.size[server] = len(members)
        self.records.append([now_ns, -1, len(members), longest, lane, server])
        return batch

    def _view(self, server: int, now_ns: int) -> View:
        return View(
            now_ns=now_ns,
            waiting=self.room.waiting,
            oldest_ns=self.room.oldest_ns,
            head=self.room.head,
            tail=self.room.tail,
            arrival_ns=self.room.arrival_ns,
            length=self.room.length,
            tier=self.room.tier,
            deadline_ns=self.room.deadline_ns,
            next=self.room.next,
            server=server,
            servers=self.service.servers,
            idle_servers=len(self.idle),
            idle_since_ns=int(self.idle_since_ns[server]),
            busy_since_ns=self.busy_since_ns,
            size=self.size,
            expected_finish_ns=self.expected_ns,
            arrived=self.arrived,
            finished=self.finished[0],
            finished_size=self.finished[1],
            finished_service_ns=self.finished[2],
            memory=self.memory,
            take=self.room.take,
        )

    def trace(self) -> Trace:
        """Columns of those who arrived and of the batches that ran; no batch may be running."""
        assert not self.busy, "a batch is running"
        arrived = slice(0, self.arrived)
        batch = self.batch_of[arrived]
        columns: Any = np.array(self.records, dtype=np.int64).reshape(-1, 6).T
        start_ns, finish_ns, size, longest, lane, server = columns
        served, expired = batch >= 0, self.status[arrived] == EXPIRED
        request_times = {
            name: np.where(served, values[np.maximum(batch, 0)], -1) if len(values) else batch
            for name, values in (("start", start_ns), ("finish", finish_ns), ("server", server))
        }
        return Trace(
            arrival_ns=self.room.arrival_ns[arrived],
            length=self.workload.length[arrived],
            tier=self.room.tier[arrived].astype(np.int8),
            lane=self.room.lane[arrived].astype(np.int16),
            start_ns=request_times["start"],
            finish_ns=np.where(expired, self.room.deadline_ns[arrived], request_times["finish"]),
            batch=batch.astype(np.int32),
            server=request_times["server"].astype(np.int16),
            status=self.status[arrived].astype(np.int8),
            batch_start_ns=start_ns,
            batch_finish_ns=finish_ns,
            batch_size=size.astype(np.int32),
            batch_longest=longest.astype(np.int32),
            batch_lane=lane.astype(np.int16),
            batch_server=server.astype(np.int16),
            servers=self.service.servers,
            tiers=self.workload.tiers,
            length_unit=self.workload.length_unit,
        )
