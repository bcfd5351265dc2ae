"""The event loop around a desk: who arrives, what serves, what time it is.

1. Everything happens in one thread.  Requests that are read in one pass of the loop come in one
   turn.
2. A batch is done when the loop learns of it, as in :mod:`sim.wall`.
3. A server that fails or dies, or a policy that breaks its contract, ends the driver: everybody
   who waits is told, and ``failed`` is called once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from policies.contract import NEVER, IntArray, Policy
from sim.endless import Comer
from sim.service_times import Batch
from sim.tensors import Group
from sim.timing import now_ns
from sim.wall import HANGING_NS
from sim.worker import Answer, WorkerError

from .alarm import Alarm
from .desk import Desk, Guest, Outcome, Refusal, Tell

MEMORY = 0.95
"""Weight of the batches before one, in the rate at which requests are served."""


class Busy(Protocol):
    """What the driver needs of a :class:`sim.worker.Worker`."""

    server: int

    def fileno(self) -> int:
        """Readable when a batch is done."""
        ...

    def start(self, place: int, lengths: Sequence[int], groups: Sequence[Group] = ()) -> None:
        """Send a batch, with the data of its requests where there are any."""
        ...

    def answer(self) -> Answer:
        """What it says of the batch."""
        ...

    def hanging(self, waited_ns: int) -> WorkerError:
        """What to say when no answer comes."""
        ...


class DriverError(RuntimeError):
    """The driver has ended; the text is one sentence that says why."""


class Driver:
    """Turns of a desk in real time."""

    def __init__(
        self,
        desk: Desk,
        workers: Sequence[Busy],
        rate_per_s: float,
        table: Mapping[str, Any],
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Begin; there is a running loop.

        Args:
            desk: with nobody there; as many servers as there are workers.
            workers: open, idle.
            rate_per_s: how fast requests are served, until that is known.
            table: the desk's policy, as a scenario writes it.
            failed: called when the driver cannot go on.
        """
        assert len(workers) == desk.station.service.servers, "one worker for each server"
        self.desk, self.workers, self.failed = desk, workers, failed
        self.table, self.changes = table, 0
        self.failure: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self.origin_ns = now_ns()
        self.shortest = int(desk.station.service.length_edges[0])
        self._alarm = Alarm(self.loop, self._turn)
        self._comers: list[Guest] = []
        self._open: dict[asyncio.Future[Outcome], Tell] = {}
        self._leaving: set[Tell] = set()
        self._done: list[tuple[int, int]] = []
        self._answers: dict[int, Answer] = {}
        self._served, self._busy_s = 1.0, len(workers) / rate_per_s
        for worker in workers:
            self.loop.add_reader(worker.fileno(), self._readable, worker)

    @property
    def rate_per_s(self) -> float:
        """How fast requests are served while all servers are busy: of the last batches."""
        return len(self.workers) * self._served / self._busy_s

    @property
    def retry_s(self) -> float:
        """How long the queue, as it is now, takes to be served."""
        return self.desk.station.waiting / self.rate_per_s

    def submit(
        self, length: int, tier: int, timeout_ns: int = NEVER, group: Group | None = None
    ) -> asyncio.Future[Outcome]:
        """Let a request arrive.

        Args:
            length: in the unit of the model.
            tier: its place.
            timeout_ns: how long it waits.
            group: its tensors, and the outputs that it wants, where servers compute.

        Raises:
            DriverError: the driver has ended.
        """
        if self.failure is not None:
            raise DriverError(str(self.failure))
        future: asyncio.Future[Outcome] = self.loop.create_future()

        def tell(outcome: Outcome) -> None:
            self._open.pop(future, None)
            if not future.done():
                future.set_result(outcome)

        self._open[future] = tell
        if not self._comers:
            self.loop.call_soon(self._turn)
        self._comers.append(Guest(Comer(self.now_ns(), length, tier, timeout_ns), tell, group))
        return future

    def leave(self, future: asyncio.Future[Outcome]) -> None:
        """Whoever submitted this wants no answer any more: its place is free from the next turn on.

        Where its batch is sealed or runs it stays in it, and nobody is told.
        """
        tell = self._open.pop(future, None)
        if not future.done():
            future.set_result(Refusal.gone)
        if tell is None:
            return
        if not self._leaving:
            self.loop.call_soon(self._turn)
        self._leaving.add(tell)

    def change(
        self, policy: Policy, table: Mapping[str, Any], service_ns: IntArray | None = None
    ) -> None:
        """Another policy from the next batch on.

        Args:
            policy: not bound.
            table: the same, as a scenario writes it.
            service_ns: what batches cost, for all that policies know; None: as before.

        Raises:
            ValueError: a parameter of the policy is out of range; the old one stays.
            DriverError: the driver has ended.
        """
        if self.failure is not None:
            raise DriverError(str(self.failure))
        self.desk.change(policy, service_ns)
        self.table, self.changes = table, self.changes + 1
        self._turn()

    def close(self) -> None:
        """Watch nothing any more; who still waits is told."""
        for worker in self.workers:
            self.loop.remove_reader(worker.fileno())
        self._alarm.close()
        self._end(self.failure or DriverError("the server ends"))

    def check_hanging(self) -> None:
        """End the driver where a server has not answered for too long."""
        for batch in self.desk.station.running:
            if batch is not None and self.now_ns() - batch.start_ns > HANGING_NS:
                self._fail(self.workers[batch.server].hanging(HANGING_NS))

    def now_ns(self) -> int:
        """Since the driver began."""
        return now_ns() - self.origin_ns

    def _readable(self, worker: Busy) -> None:
        try:
            self._answers[worker.server] = worker.answer()
        except WorkerError as error:
            self.loop.remove_reader(worker.fileno())
            self._fail(error)
            return
        self._done.append((self.now_ns(), worker.server))
        self._turn()

    def _turn(self) -> None:
        if self.failure is not None:
            return
        done, self._done = self._done, []
        comers, self._comers = self._comers, []
        answers, self._answers = self._answers, {}
        for finish_ns, server in done:
            if not answers[server].failure:
                self._learn(finish_ns, server)
        try:
            if self._leaving:
                comers = self._without_leavers(comers)
            for batch in self.desk.turn(self.now_ns(), done, comers, answers):
                self._start(batch)
        except Exception as error:  # noqa: BLE001 - a policy of the user's may raise anything
            self._fail(error)
            return
        next_ns = self.desk.next_ns
        self._alarm.set(NEVER if next_ns == NEVER else self.origin_ns + next_ns)

    def _start(self, batch: Batch) -> None:
        worker, lengths = self.workers[batch.server], self.desk.lengths(batch)
        groups = self.desk.hand_over(batch)
        if groups:
            worker.start(batch.place, lengths, groups)
        else:
            worker.start(batch.place, [max(length, self.shortest) for length in lengths])

    def _without_leavers(self, comers: Sequence[Guest]) -> list[Guest]:
        leaving, self._leaving = self._leaving, set()
        self.desk.leave(leaving, self.now_ns())
        return [guest for guest in comers if guest.tell not in leaving]

    def _learn(self, finish_ns: int, server: int) -> None:
        batch = self.desk.station.running[server]
        if batch is not None:
            self._served = MEMORY * self._served + len(batch.members)
            self._busy_s = MEMORY * self._busy_s + (finish_ns - batch.start_ns) / 1e9

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            self._end(error)
            self.failed(error)

    def _end(self, error: Exception) -> None:
        for future in self._open:
            if not future.done():
                future.set_exception(DriverError(str(error)))
        self._open.clear()


def whole_seconds(seconds: float) -> int:
    """What Retry-After says: at least one."""
    return max(1, math.ceil(seconds))


__all__ = ["Busy", "Driver", "DriverError", "whole_seconds"]
