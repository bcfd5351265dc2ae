"""The SimPy driver: the readable reference, for any policy in plain Python.

Clients, batches and patience are SimPy processes and events.  They only *note* what happened and
ask for a tick.  The tick works through the instant in the order of :mod:`sim.station`: who gave up
and what completed is settled in an event after all normal ones of the instant (``SETTLE``), and
arrivals are admitted and the policy asked in one after that (``DECIDE``).  Between them the
clients of a closed loop react to their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from operator import itemgetter
from typing import Any

import numpy as np
import simpy
from simpy.events import EventPriority

from policies.contract import NEVER, IntArray, Policy

from .sequences import with_slots
from .service import Service
from .service_times import Batch, DrawnTimes, ServiceTimes
from .station import Station
from .trace import UNFINISHED, Trace
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


def run(
    policy: Policy,
    workload: Workload,
    service: Service,
    times: ServiceTimes | None = None,
    late_ns: IntArray | None = None,
) -> Trace:
    """Simulate a policy until no event remains.

    Args:
        policy: any policy; it is bound to the service first.
        workload: who arrives when.
        service: how long a batch takes, and on how many servers.
        times: how long each batch takes instead, as in a replay of recorded times.
        late_ns: int64 (N,), how long after its arrival each request of an open loop is noticed, as
            in a live run; by default at once.

    Raises:
        ValueError: a parameter of the policy is out of range.
        PolicyError: the policy broke the contract.
    """
    if service.stages is not None:
        with_slots(policy, workload, service)
        from .model_stages import run_staged

        return run_staged(policy, workload, service, times or DrawnTimes(service))
    model = Model(Station(policy, workload, service), times or DrawnTimes(service), late_ns)
    model.env.run()
    return model.station.trace()


class Model:
    """A station in SimPy's time."""

    def __init__(
        self, station: Station, times: ServiceTimes, late_ns: IntArray | None = None
    ) -> None:
        self.station, self.times = station, times
        self.noticed_ns = station.workload.arrival_ns
        if late_ns is not None:
            # requests are noticed in order: one cannot overtake another
            self.noticed_ns = np.maximum.accumulate(self.noticed_ns + late_ns)
        self.env = simpy.Environment(initial_time=0)
        self.answered: dict[int, simpy.Event] = {}
        self.noted_done: list[tuple[int, int]] = []
        self.noted_arrivals: list[tuple[int, simpy.Event | None]] = []
        self.tick_ns = -1
        self.alarm_ns = NEVER
        self._start_sources()

    @property
    def now_ns(self) -> int:
        """The instant; SimPy's clock only ever adds integers here."""
        return int(self.env.now)

    # what happens to requests and servers: processes that note and ask for a tick

    def _start_sources(self) -> None:
        if self.station.replicas is not None:
            self._ask_for_tick()  # replicas may change before anybody arrives
        closed = self.station.workload.closed
        if closed is None:
            self.env.process(self._open_arrivals())
            return
        for client, think_ns in enumerate(closed.think_ns):
            self.env.process(self._client(client, think_ns))

    def _open_arrivals(self) -> Events:
        for request, noticed_ns in enumerate(self.noticed_ns.tolist()):
            if noticed_ns > self.now_ns:
                yield self.env.timeout(noticed_ns - self.now_ns)
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

    def _patience(self, request: int, deadline_ns: int) -> Events:
        yield self.env.timeout(deadline_ns - self.now_ns)
        if self.station.status[request] == UNFINISHED:
            self._ask_for_tick()

    def _batch(self, batch: Batch) -> Events:
        yield self.env.timeout(self.times(batch))
        if self.station.running[batch.server] is not batch:
            return  # its replica failed meanwhile
        self.noted_done.append((self.now_ns, batch.server))
        self._ask_for_tick()

    def _alarm(self, alarm_ns: int) -> Events:
        yield self.env.timeout(alarm_ns - self.now_ns)
        if self.alarm_ns == alarm_ns:
            self._ask_for_tick()

    def _ask_for_tick(self) -> None:
        if self.tick_ns != self.now_ns:
            self.tick_ns = self.now_ns
            Tick(self.env, SETTLE, self._settle)

    # the two halves of a tick

    def _settle(self, _: simpy.Event) -> None:
        self._answer(self.station.settle(self.now_ns, self.noted_done))
        self.noted_done.clear()
        Tick(self.env, DECIDE, self._admit_and_dispatch)

    def _admit_and_dispatch(self, _: simpy.Event) -> None:
        self._admit()
        for batch in self.station.dispatch(self.now_ns):
            self.env.process(self._batch(batch))
        self.alarm_ns = self.station.next_ns
        if self.alarm_ns != NEVER:
            self.env.process(self._alarm(self.alarm_ns))

    def _admit(self) -> None:
        station, first = self.station, self.station.arrived
        noted = sorted(self.noted_arrivals, key=itemgetter(0))
        waiting = [answer for _, answer in noted]
        self.noted_arrivals.clear()
        planned_ns = station.workload.arrival_ns
        closed = station.workload.closed is not None
        arrived_ns = [self.now_ns if closed else int(planned_ns[who]) for who, _ in noted]
        refused = station.admit(self.now_ns, arrived_ns)
        for request, answer in zip(range(first, station.arrived), waiting, strict=False):
            if answer is not None:
                self.answered[request] = answer
            deadline_ns = int(station.room.deadline_ns[request])
            if self.now_ns < deadline_ns < NEVER:
                self.env.process(self._patience(request, deadline_ns))
        self._answer(refused)

    def _answer(self, requests: Iterable[int]) -> None:
        for request in requests:
            if request in self.answered:
                self.answered.pop(request).succeed()
