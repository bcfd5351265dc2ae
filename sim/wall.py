"""A world of real time: workers that serve, a load that arrives, and one thread between.

1. The scheduler's thread sleeps in one ``select`` on all of them, and spins for the last stretch
   before an instant that the policy asked for.
2. It wakes at least every ``HEARTBEAT_NS``.  How late it wakes is written down: stalls of the
   machine show there, whatever the requests do.
3. A request below the shortest known length is padded up to it, as the profile says.
4. Instants are ns from the run's origin.  A batch is done when the scheduler learns of it, a
   request arrived when it was planned to.
5. A backlog that is always there (:mod:`sim.backlog`) waits before the origin comes: the first turn
   takes it in as a whole, at the instant at which the last of it arrived, and is over before that.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from policies.contract import Policy, View, fire, wait

from .backlog import places_of, taken
from .live import run
from .load_generator import Load
from .service import Service
from .service_times import Batch
from .station import Station
from .timing import SPIN_NS, fine_timers, now_ns, sleep_until
from .trace import Trace
from .worker import Answer, Worker
from .workload import Workload

HEARTBEAT_NS = 5_000_000
LEAD_NS = 20_000_000
"""From the call to the origin: the generator has to unpack its plan."""
CROWD_NS = 100_000
"""And more for each request of a backlog: the scheduler has to take it in."""
HANGING_NS = 120 * 10**9
"""A batch that takes longer is given up."""


@dataclass
class Readings:
    """What the scheduler noted beside the requests; none of it is made of latencies."""

    lag_ns: list[int] = field(default_factory=list)
    """Of each request: sent after it was planned."""
    late_ns: list[int] = field(default_factory=list)
    """Of each wake-up that nothing but the clock caused: after the instant asked for."""
    answers: list[Answer] = field(default_factory=list)
    """Of each batch, in the order of their ends."""
    span_ns: int = 0
    """From the origin to the last turn."""
    crowd: int = 0
    """Requests that were taken in with a backlog, before the origin; nobody sent them."""


class WallWorld:
    """See :mod:`sim.live`."""

    def __init__(
        self, workload: Workload, service: Service, workers: Sequence[Worker], load: Load
    ) -> None:
        self.workload, self.workers, self.load = workload, workers, load
        self.lengths = np.maximum(workload.length, service.length_edges[0]).tolist()
        self._crowd = crowd_of(workload)
        self.readings = Readings(crowd=self._crowd)
        self._watched = [*load.files(), *(worker.fileno() for worker in workers)]
        self._of_file = {worker.fileno(): worker for worker in workers}
        self._client_of: list[int] = []
        self._arrived: list[int] = []
        self._thinking = 0 if workload.closed is None else len(workload.closed.think_ns)
        self._started_ns: dict[int, int] = {}
        fine_timers()
        self.origin_ns = now_ns() + LEAD_NS + CROWD_NS * self._crowd
        rest = np.arange(self._crowd, len(workload))
        load.begin(taken(workload, rest) if self._crowd else workload, self.origin_ns)

    @property
    def ended(self) -> bool:
        """All have arrived, or every client of a closed loop waits for an answer."""
        if len(self._client_of) == len(self.workload):
            return True
        return self.workload.closed is not None and self._thinking == 0

    def wait(self, until_ns: int) -> tuple[int, Sequence[tuple[int, int]]]:
        """Sleep until a file is readable or the instant has come."""
        if self._crowd and not self._client_of:
            return self._take_in(), []
        beat_ns = self._now_ns() + HEARTBEAT_NS
        asked_ns = min(until_ns, self.load.next_ns)
        wanted_ns = min(asked_ns, beat_ns)
        ready = self._select(wanted_ns, spin=asked_ns <= beat_ns)
        instant_ns = self._now_ns()
        self.readings.span_ns = instant_ns
        if not ready and wanted_ns > 0:
            self.readings.late_ns.append(max(0, instant_ns - wanted_ns))
        done = []
        for file in ready:
            worker = self._of_file.get(file)
            if worker is None:
                self._receive(instant_ns)
                continue
            self.readings.answers.append(worker.answer())
            self._started_ns.pop(worker.server)
            done.append((instant_ns, worker.server))
        if self.load.next_ns <= instant_ns:
            self._receive(instant_ns)
        self._check_hanging(instant_ns)
        return max(instant_ns, 0), done

    def arrivals(self) -> Sequence[int]:
        """Planned instants of those whose message came."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def start(self, batch: Batch) -> None:
        """Send the batch to its worker."""
        if batch.start_ns > self._now_ns():
            sleep_until(self.origin_ns + batch.start_ns)
        lengths = [self.lengths[member] for member in batch.members]
        self._started_ns[batch.server] = batch.start_ns
        self.workers[batch.server].start(batch.place, lengths)

    def answer(self, requests: Sequence[int], now_ns: int) -> None:
        """Let the clients of a closed loop think."""
        if self.workload.closed is None or not requests:
            return
        self._thinking += len(requests)
        if len(self._client_of) < len(self.workload):
            self.load.answer([self._client_of[request] for request in requests], now_ns)

    def _take_in(self) -> int:
        """The backlog, and who is planned to arrive in its midst; gives the instant."""
        planned_ns = self.workload.arrival_ns[: self._crowd]
        instant_ns = int(planned_ns[-1])
        self._client_of = list(range(self._crowd))
        self._arrived = planned_ns.tolist()
        self.readings.lag_ns = (instant_ns - planned_ns).tolist()
        return instant_ns

    def _now_ns(self) -> int:
        return now_ns() - self.origin_ns

    def _select(self, wanted_ns: int, *, spin: bool) -> list[int]:
        spin_ns = SPIN_NS if spin else 0
        left_ns = max(0, wanted_ns - self._now_ns() - spin_ns)
        ready = select.select(self._watched, [], [], left_ns / 1e9)[0]
        while not ready and self._now_ns() < wanted_ns:
            ready = select.select(self._watched, [], [], 0)[0]
        return ready

    def _receive(self, instant_ns: int) -> None:
        for sent in self.load.sent(instant_ns):
            self._client_of.append(sent.who)
            self._arrived.append(sent.planned_ns)
            self.readings.lag_ns.append(sent.sent_ns - sent.planned_ns)
            if self.workload.closed is not None:
                self._thinking -= 1

    def _check_hanging(self, instant_ns: int) -> None:
        for server, started_ns in self._started_ns.items():
            if instant_ns - started_ns > HANGING_NS:
                raise self.workers[server].hanging(HANGING_NS)


def crowd_of(workload: Workload) -> int:
    """How many requests arrive up to the last one of a backlog; 0 without one."""
    places = places_of(workload.tiers)
    if not places:
        return 0
    waiting = np.flatnonzero(np.isin(workload.tier, places))
    return int(waiting[-1]) + 1 if len(waiting) else 0


def run_live(
    policy: Policy,
    workload: Workload,
    service: Service,
    workers: Sequence[Worker],
    load: Load,
) -> tuple[Trace, Readings]:
    """Drive a policy in real time: one window.

    Args:
        policy: any policy.
        workload: who is to arrive.
        service: what is known of the workers; as many servers as there are workers.
        workers: open, idle.
        load: idle.

    Raises:
        WorkerError: a worker or the generator failed or died.
        PolicyError: the policy broke the contract.
    """
    assert len(workers) == service.servers, "one worker for each server"
    world = WallWorld(workload, service, workers, load)
    trace = run(policy, workload, service, world)
    if workload.closed is not None:
        load.stop()
    return trace, world.readings


def _unlimited(service: Service) -> Service:
    """One server with the same times, which refuses nobody."""
    return Service(service.service_ns, service.length_edges, idling=service.idling)


class Exactly(NamedTuple):
    """Fires when so many requests wait."""

    size: int

    def decide(self, view: View) -> int:
        """All of them, or nobody."""
        return fire(view, 0, self.size) if view.waiting[0] == self.size else wait()


class Alone:
    """One batch that is served as a run does it, by a station, but with nothing beside it."""

    def __init__(self, worker: Worker, service: Service, shape: tuple[int, int]) -> None:
        """Make ready: all but the last request wait.

        Args:
            worker: idle when the batch is served.
            service: what is known of it.
            shape: batch size and length of every request.
        """
        self.worker, (self.size, self.length) = worker, shape
        requests = Workload(np.full(self.size, self.length, dtype=np.int32))
        self.station = Station(Exactly(self.size), requests, _unlimited(service))
        self.station.admit(0, [0] * (self.size - 1))

    def serve(self) -> int:
        """Let the last request arrive; ns from then to the end of the batch.

        What the scheduler does at that instant is part of the time, as it is in a run.

        Raises:
            WorkerError: the worker failed or died.
        """
        began_ns = now_ns()
        self.station.admit(began_ns, [began_ns])
        for batch in self.station.dispatch(began_ns):
            self.worker.start(batch.place, [self.length] * self.size)
        if not select.select([self.worker.fileno()], [], [], HANGING_NS / 1e9)[0]:
            raise self.worker.hanging(HANGING_NS)
        took_ns = now_ns() - began_ns
        self.worker.answer()
        return took_ns


__all__ = ["Alone", "Readings", "WallWorld", "run_live"]
