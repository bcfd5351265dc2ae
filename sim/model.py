"""The SimPy driver: the readable reference, for any policy in plain Python.

Clients, batches and patience are SimPy processes and events.  They only *note* what happened and
ask for a tick.  The tick works through the instant in the order that every driver keeps:

1. requests whose patience has ended leave, in id order (they share their deadline);
2. completions, in server order, each shown to ``observe``;
3. arrivals, in id order, those included that this instant's completions cause (closed loops);
4. the policy decides, again and again, until it waits, no server is idle or nobody waits.

Steps 1 and 2 run as an event after all normal ones of the instant (``SETTLE``), steps 3 and 4 as
one after that (``DECIDE``): between them the clients of a closed loop react to their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from operator import itemgetter
from typing import Any

import numpy as np
import simpy
from simpy.events import EventPriority

from policies.contract import (
    FIRE,
    NEVER,
    IntArray,
    Policy,
    View,
    bind,
    expected_ns,
    lane_count,
    memory_slots,
)

from .answer import NO_SUCH_LANE, SOUND, blame, fault_of
from .service import Service, drawn_ns, noise_factor
from .trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from .waiting_room import WaitingRoom
from .workload import Workload

SETTLE, DECIDE = EventPriority(2), EventPriority(3)
"""Priorities of a tick's two halves; SimPy's own are 0 (urgent) and 1 (normal)."""


Events = Generator[simpy.Event, Any, None]


class Tick(simpy.Event):
    """An event of this very instant that comes after every normal one."""

    def __init__(
        self,
        env: simpy.Environment,
        priority: EventPriority,
        action: Callable[[simpy.Event], None],
    ) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        self.callbacks = [action]
        env.schedule(self, priority=priority)


def run(policy: Policy, workload: Workload, service: Service) -> Trace:
    """Simulate a policy until no event remains.

    Args:
        policy: any policy; it is bound to the service first.
        workload: who arrives when.
        service: how long a batch takes.

    Raises:
        ValueError: a parameter of the policy is out of range.
        PolicyError: the policy broke the contract.
    """
    table = service.service_ns.max(axis=0)
    policy = bind(policy, table, service.length_edges, workload.tiers, service.servers)
    model = Model(policy, workload, service)
    model.env.run()
    return model.trace()


class Model:
    """A queue of lanes in front of servers, in SimPy."""

    def __init__(self, policy: Policy, workload: Workload, service: Service) -> None:
        self.policy, self.workload, self.service = policy, workload, service
        self.env = simpy.Environment(initial_time=0)
        total, lanes, servers = len(workload), lane_count(policy), service.servers
        self.arrived = 0
        self.room = WaitingRoom(workload, lanes)
        self.batch_of = np.full(total, -1)
        self.status = np.full(total, UNFINISHED)
        self.answered: dict[int, simpy.Event] = {}

        self.idle = list(range(servers))  # longest idle first, then by index
        self.idle_since_ns = np.zeros(servers, dtype=np.int64)
        self.busy_since_ns, self.expected_ns = np.full(servers, -1), np.full(servers, -1)
        self.size, self.batches = np.zeros(servers, dtype=np.int64), np.zeros(servers, dtype=int)
        self.members: list[list[int]] = [[] for _ in range(servers)]
        self.records: list[tuple[int, int, int, int, int, int]] = []
        self.finished = (0, 0, 0)
        self.memory = np.zeros(memory_slots(policy))

        self.noted_expired: list[int] = []
        self.noted_done: list[int] = []
        self.noted_arrivals: list[tuple[int, simpy.Event | None]] = []
        self.tick_ns = -1
        self.ask_ns = NEVER
        self._start_sources()

    @property
    def now_ns(self) -> int:
        """The instant; SimPy's clock only ever adds integers here."""
        return int(self.env.now)

    # what happens to requests and servers: processes that note and ask for a tick

    def _start_sources(self) -> None:
        closed = self.workload.closed
        if closed is None:
            self.env.process(self._open_arrivals())
            return
        for client, think_ns in enumerate(closed.think_ns):
            self.env.process(self._client(client, think_ns))

    def _open_arrivals(self) -> Events:
        for request, arrival_ns in enumerate(self.workload.arrival_ns.tolist()):
            if arrival_ns > self.now_ns:
                yield self.env.timeout(arrival_ns - self.now_ns)
            self.noted_arrivals.append((request, None))
            self._ask_for_tick()

    def _client(self, client: int, think_ns: IntArray) -> Events:
        cycle = 0
        while True:
            yield self.env.timeout(int(think_ns[cycle % len(think_ns)]))
            cycle += 1
            answer = self.env.event()
            self.noted_arrivals.append((client, answer))
            self._ask_for_tick()
            yield answer

    def _patience(self, request: int) -> Events:
        yield self.env.timeout(int(self.room.deadline_ns[request]) - self.now_ns)
        if self.status[request] == UNFINISHED:
            self.noted_expired.append(request)
            self._ask_for_tick()

    def _batch(self, server: int, service_ns: int) -> Events:
        yield self.env.timeout(service_ns)
        self.noted_done.append(server)
        self._ask_for_tick()

    def _alarm(self, ask_ns: int) -> Events:
        yield self.env.timeout(ask_ns - self.now_ns)
        if self.ask_ns == ask_ns:
            self._ask_for_tick()

    def _ask_for_tick(self) -> None:
        if self.tick_ns != self.now_ns:
            self.tick_ns = self.now_ns
            Tick(self.env, SETTLE, self._settle)

    # the two halves of a tick

    def _settle(self, _: simpy.Event) -> None:
        for request in sorted(self.noted_expired):
            self._leave(request)
        self.noted_expired.clear()
        for server in sorted(self.noted_done):
            self._release(server)
        self.noted_done.clear()
        Tick(self.env, DECIDE, self._admit_and_decide)

    def _admit_and_decide(self, _: simpy.Event) -> None:
        for _who, answer in sorted(self.noted_arrivals, key=itemgetter(0)):
            if self.arrived < len(self.workload):
                self._arrive(answer)
        self.noted_arrivals.clear()
        self._dispatch()

    # step 1 and 2

    def _leave(self, request: int) -> None:
        self.room.leave(request)
        self.status[request] = EXPIRED
        self._answer(request)

    def _release(self, server: int) -> None:
        size, begun_ns = int(self.size[server]), int(self.busy_since_ns[server])
        self.finished = (self.finished[0] + 1, size, self.now_ns - begun_ns)
        self.size[server] = 0
        self.busy_since_ns[server] = self.expected_ns[server] = -1
        self.idle_since_ns[server] = self.now_ns
        self.idle.append(server)
        for request in self.members[server]:
            self._answer(request)
        observe = getattr(self.policy, "observe", None)
        if observe is not None:
            observe(self._view(server))

    def _answer(self, request: int) -> None:
        if request in self.answered:
            self.answered.pop(request).succeed()

    # step 3

    def _arrive(self, answer: simpy.Event | None) -> None:
        request, self.arrived = self.arrived, self.arrived + 1
        self.room.arrival_ns[request] = self.now_ns
        if answer is not None:
            self.answered[request] = answer
        service = self.service
        present = self.room.present
        if service.capacity_counts_in_system:
            present += int(self.size.sum())
        if present >= service.capacity or self.room.length[request] > service.longest_admitted:
            self.status[request] = REJECTED
            self._answer(request)
            return
        self.room.join(request, self._lane_for(request))
        timeouts = self.workload.timeout_ns
        if len(timeouts) and timeouts[request] < NEVER - self.now_ns:
            self.room.deadline_ns[request] = self.now_ns + timeouts[request]
            self.env.process(self._patience(request))

    def _lane_for(self, request: int) -> int:
        lane_of = getattr(self.policy, "lane_of", None)
        if lane_of is None:
            return 0
        lane = int(lane_of(int(self.room.length[request]), int(self.room.tier[request])))
        if not 0 <= lane < len(self.room.queue):
            blame(self.policy, NO_SUCH_LANE, self.now_ns, self.service.largest_batch)
        return lane

    # step 4

    def _dispatch(self) -> None:
        answers = self._round()
        while answers is None:
            answers = self._round()
        self.ask_ns = min(answers, default=NEVER)
        if self.ask_ns != NEVER:
            self.env.process(self._alarm(self.ask_ns))

    def _round(self) -> list[int] | None:
        """Ask every idle server, longest idle first; None as soon as a batch starts."""
        answers: list[int] = []
        if self.room.present == 0:
            return answers
        for server in self.idle:
            answer = int(self.policy.decide(self._view(server)))
            largest = self.service.largest_batch
            fault = fault_of(answer, self.room.take, self.room.waiting, self.now_ns, largest)
            if fault != SOUND:
                blame(self.policy, fault, self.now_ns, largest)
            if answer == FIRE:
                self._start(server)
                return None
            answers.append(answer)
        return answers

    def _start(self, server: int) -> None:
        members, lane = self.room.collect()
        self.idle.remove(server)
        longest = int(self.room.length[members].max())
        drawn, expected = self._times(server, members, longest)
        self.status[members] = SERVED
        self.batch_of[members] = len(self.records)
        self.members[server] = members
        self.batches[server] += 1
        self.busy_since_ns[server] = self.now_ns
        self.expected_ns[server] = self.now_ns + expected
        self.size[server] = len(members)
        begun_ns = self.now_ns
        self.records.append((begun_ns, begun_ns + drawn, len(members), longest, lane, server))
        self.env.process(self._batch(server, drawn))

    def _times(self, server: int, members: list[int], longest: int) -> tuple[int, int]:
        """Service time of a batch, and the time that the profile expects, ns."""
        service, noise, k = self.service, self.service.noise, int(self.batches[server])
        models = {0} if len(service.service_ns) == 1 else set(self.room.tier[members].tolist())
        drawn, usual = [], []
        for model in sorted(models):
            table = service.service_ns[model]
            usual.append(expected_ns(table, service.length_edges, len(members), longest))
            size = len(members)
            factor = noise_factor(
                noise.draws, noise.quantiles, noise.class_of_size, model, server, k, size
            )
            drawn.append(drawn_ns(usual[-1], factor))
        return max(drawn), drawn_ns(max(usual), 1.0)

    def _view(self, server: int) -> View:
        return View(
            now_ns=self.now_ns,
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
        """Columns of those who arrived and of the batches that ran."""
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
