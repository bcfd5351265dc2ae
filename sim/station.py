"""Queues of lanes in front of servers, without a clock: what the SimPy model and live runs share.

It is told what happened and says which batches start.  Whoever owns the clock works through an
instant in the order that every driver keeps:

1. ``settle``: requests whose patience has ended leave, in id order; then completions, each shown
   to ``observe``, in the order of their instants and then of the servers;
2. ``admit``: arrivals, in id order, those included that this instant's completions cause; where
   there are several queues the router says which one each joins;
3. ``dispatch``: queue by queue, where anything happened to it or its policy asked for this instant,
   the policy decides, again and again, until it waits, no server is idle, nobody waits, or the run
   is over.  ``ask_ns`` is then when to ask again, at the latest.  A policy that seals is also asked
   while no server is idle, until as many batches wait for one as may; they start first, in the
   order in which they were formed.

Who is in a sealed batch still waits, and counts as waiting where that is limited, but does not give
up any more, and leaves the batch only with a replica that fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np

from policies.contract import NEVER, SHED, Policy, lane_count

from .answer import NO_SUCH_LANE, NO_SUCH_REPLICA, blame
from .replicas import Replicas
from .seating import Seating
from .sequences import is_seated, with_slots
from .served_queue import AHEAD, Sealed, ServedQueue
from .service import Service
from .service_times import Batch
from .station_trace import trace_of
from .station_views import batch_on, route_view
from .trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from .waiting_room import WaitingRoom
from .workload import Workload

SEALED = 2**31 - 1
"""In the place of a batch's index: a batch that is sealed, or was, and never started."""


class Station:
    """Everything that waits and runs."""

    def __init__(self, policy: Policy, workload: Workload, service: Service) -> None:
        """Bind the policy to the service and start empty.

        Raises:
            ValueError: a parameter of the policy is out of range.
        """
        service.check_open(workload.closed is not None, policy)
        service = with_slots(policy, workload, service)
        self.workload, self.service = workload, service
        total, servers = len(workload), service.servers
        kinds, kind_of = service.policies(policy, workload.tiers)
        lanes, bounds = lane_count(kinds[0]), service.grouping.bounds().tolist()
        self.arrived = self.routed = 0
        self.room = WaitingRoom(workload, lanes * service.grouping.queues)
        self.queues = [
            ServedQueue(
                self,
                kinds[kind_of[place]],
                slice(place * lanes, (place + 1) * lanes),
                range(first, last),
                len(workload.tiers),
            )
            for place, (first, last) in enumerate(pairwise(bounds))
        ]
        self.queue_of = service.grouping.queue_of
        self.batch_of = np.full(total, -1)
        self.status = np.full(total, UNFINISHED)

        self.idle_since_ns = np.zeros(servers, dtype=np.int64)
        self.busy_since_ns, self.expected_ns = np.full(servers, -1), np.full(servers, -1)
        self.size, self.batches = np.zeros(servers, dtype=np.int64), np.zeros(servers, dtype=int)
        self.on_gpu = np.zeros(int(service.grouping.gpus.max()) + 1, dtype=np.int64)
        """Batches that run on each GPU."""
        self.running: list[Batch | None] = [None] * servers
        self.records: list[list[int]] = []
        self.failed: list[int] = []
        """Batches that ended because their replica failed."""
        self.lost_ns: dict[int, int] = {}
        self.shed_ns: dict[int, int] = {}
        self.shed: list[int] = []
        """Requests that the policy let go unserved in the last ``dispatch``."""
        self.ongoing = self.ongoing_ns = self.last_ns = 0
        """Requests that wait or are in service, the integral of that, and up to when."""
        self._impatient: list[tuple[int, int]] = []  # heap of (deadline, request)
        self.replicas = Replicas(self) if service.grouping.changes else None
        self.seating: Seating | None = None
        if is_seated(policy, workload.sequences):
            assert workload.sequences is not None
            self.seating = Seating(self, kinds[0], workload.sequences)

    @property
    def busy(self) -> bool:
        """Whether a batch runs."""
        return any(queue.in_service for queue in self.queues)

    @property
    def ask_ns(self) -> int:
        """When a policy wants to be asked again; an event asks it earlier."""
        return min(queue.ask_ns for queue in self.queues)

    @property
    def next_ns(self) -> int:
        """When to work through an instant again, at the latest: a question, or someone goes."""
        change_ns = NEVER if self.replicas is None else self.replicas.change_ns
        idle_ns = NEVER if self.seating is None else self.seating.idle_ns
        return min(self.ask_ns, change_ns, idle_ns)

    @property
    def expiry_ns(self) -> int:
        """When the next waiting request gives up; NEVER where none does."""
        while self._impatient and not self._gives_up(self._impatient[0][1]):
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
        self.ongoing_ns += self.ongoing * (now_ns - self.last_ns)
        self.last_ns = now_ns
        answered = self._expire(now_ns)
        if self.seating is not None:
            self.seating.time_out(now_ns)
        for finish_ns, server in sorted(done):
            answered += self._release(server, finish_ns, now_ns)
        if self.replicas is not None and self.replicas.change_ns <= now_ns:
            answered += self.replicas.change(now_ns)
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
            if self.seating is not None:
                joined = self.seating.arrive(request, instant_ns, now_ns)
            else:
                joined = self._join(request, self.route(request, now_ns))
            if not joined:
                self.status[request] = REJECTED
                refused.append(request)
        return refused + self._expire(now_ns)

    def dispatch(self, now_ns: int) -> Iterator[Batch]:
        """Ask the policy until it waits; yields each batch as it starts.

        Those that it lets go unserved are in ``shed`` afterwards.

        Raises:
            PolicyError: the policy broke the contract.
        """
        self.shed.clear()
        for queue in self.queues:
            if not queue.touched and queue.ask_ns > now_ns:
                continue
            queue.touched = False
            queue.ask_ns = NEVER
            while now_ns < self.workload.until_ns:
                if queue.sealed and queue.idle:
                    yield self._start(queue, queue.idle[0], queue.sealed.popleft(), now_ns)
                    continue
                answer = queue.ask(now_ns)
                if answer is None:
                    break
                server, action = answer
                if action == SHED:
                    self._shed(queue, now_ns)
                    continue
                queue.formed_ns = now_ns
                batch = Sealed(*self.room.collect(), now_ns)
                if server == AHEAD:
                    self.batch_of[batch.members] = SEALED
                    queue.sealed.append(batch)
                else:
                    yield self._start(queue, server, batch, now_ns)

    # settle

    def _gives_up(self, request: int) -> bool:
        """Whether a request may give up: it waits, and was never in a batch, sealed or running."""
        return bool(self.status[request] == UNFINISHED and self.batch_of[request] < 0)

    def _expire(self, now_ns: int) -> list[int]:
        gone = []
        while self.expiry_ns <= now_ns:
            _, request = heappop(self._impatient)
            queue = self._queue_of_lane(int(self.room.lane[request]))
            self.room.leave(request)
            self.left(queue, [request])
            queue.touched = True
            self.ongoing -= 1
            self.status[request] = EXPIRED
            gone.append(request)
        return sorted(gone)

    def _queue_of_lane(self, lane: int) -> ServedQueue:
        return self.queues[lane * len(self.queues) // len(self.room.queue)]

    def left(self, queue: ServedQueue, requests: Sequence[int]) -> None:
        """Requests do not wait in a queue any more."""
        queue.present -= len(requests)
        np.subtract.at(queue.of_tier, self.room.tier[requests], 1)

    def _release(self, server: int, finish_ns: int, now_ns: int) -> tuple[int, ...]:
        batch = self.running[server]
        assert batch is not None, f"server {server} finished a batch that it never got"
        self.records[batch.place][1] = finish_ns
        self.frees(server, finish_ns)
        self.ongoing -= len(batch.members)
        self.queues[self.queue_of[server]].release(batch, finish_ns, now_ns)
        if self.seating is not None:
            self.seating.answered(server, batch.members, now_ns)
        return batch.members

    def frees(self, server: int, finish_ns: int) -> None:
        """A server runs nothing from now on."""
        self.running[server] = None
        self.size[server] = 0
        self.busy_since_ns[server] = self.expected_ns[server] = -1
        self.idle_since_ns[server] = finish_ns
        self.on_gpu[self.service.grouping.gpus[server]] -= 1

    # admit

    def route(self, request: int, now_ns: int) -> ServedQueue:
        """The queue that a request joins, or finds full."""
        place, group = 0, self.service.grouping
        if len(self.queues) > 1:
            view = route_view(self, request, now_ns)
            u = float(group.route_u[request % len(group.route_u)])
            place = int(group.router.route(view, u))
            if not 0 <= place < len(self.queues) or not view.available[place]:
                blame(group.router, NO_SUCH_REPLICA, now_ns, self.service.largest_batch)
        self.routed += 1
        return self.queues[place]

    def _join(self, request: int, queue: ServedQueue) -> bool:
        """Put a request into its lane of a queue, unless there is no room for it."""
        service, room = self.service, self.room
        queue.arrived += 1
        queue.touched = True
        present = queue.present
        if service.capacity_counts_in_system:
            present += queue.in_service
        if present >= service.capacity or room.length[request] > service.longest_admitted:
            return False
        tier = int(room.tier[request])
        if len(service.tier_capacity) and queue.of_tier[tier] >= service.tier_capacity[tier]:
            return False
        room.join(request, queue.lanes.start + self.lane_for(request, queue))
        queue.present += 1
        queue.of_tier[tier] += 1
        self.ongoing += 1
        arrival_ns = int(room.arrival_ns[request])
        timeouts = self.workload.timeout_ns
        if len(timeouts) and timeouts[request] < NEVER - arrival_ns:
            deadline_ns = arrival_ns + int(timeouts[request])
            room.deadline_ns[request] = deadline_ns
            heappush(self._impatient, (deadline_ns, request))
        return True

    def lane_for(self, request: int, queue: ServedQueue) -> int:
        """The lane within its queue."""
        lane_of = getattr(queue.policy, "lane_of", None)
        if lane_of is None:
            return 0
        room = self.room
        lane = int(lane_of(int(room.length[request]), int(room.tier[request])))
        if not 0 <= lane < queue.lanes.stop - queue.lanes.start:
            instant_ns = int(room.arrival_ns[request])
            blame(queue.policy, NO_SUCH_LANE, instant_ns, self.service.largest_batch)
        return lane

    # dispatch

    def _shed(self, queue: ServedQueue, now_ns: int) -> None:
        """Let those go unserved that ``take`` names."""
        members, _ = self.room.collect()
        self.left(queue, members)
        self.ongoing -= len(members)
        self.status[members] = EXPIRED
        self.shed_ns.update(dict.fromkeys(members, now_ns))
        self.shed += members

    def _start(self, queue: ServedQueue, server: int, formed: Sealed, now_ns: int) -> Batch:
        members, lane, formed_ns = formed
        self.left(queue, members)
        queue.in_service += len(members)
        queue.idle.remove(server)
        self.on_gpu[self.service.grouping.gpus[server]] += 1
        places = 0
        if self.seating is not None:
            places = self.seating.taken(server, members, now_ns)
        batch = batch_on(self, server, members, lane, now_ns, places)
        self.status[members] = SERVED
        self.batch_of[members] = batch.place
        self.running[server] = batch
        self.batches[server] += 1
        self.busy_since_ns[server] = now_ns
        self.expected_ns[server] = now_ns + batch.expected_ns
        self.size[server] = len(members)
        self.records.append([now_ns, -1, len(members), batch.longest, lane, server, formed_ns])
        return batch

    def trace(self) -> Trace:
        """Columns of those who arrived and of the batches that ran; no batch may be running."""
        return trace_of(self)
