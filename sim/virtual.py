"""A world on a virtual clock: the live driver without waiting, for tests and for replays."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from policies.contract import NEVER

from .schedule import Schedule
from .service_times import Batch, ServiceTimes
from .workload import Workload


class VirtualWorld:
    """Requests of a workload, and servers that take the given times.

    Time jumps from event to event, as in the SimPy model.
    """

    def __init__(self, workload: Workload, times: ServiceTimes) -> None:
        self.schedule, self.times = Schedule.of(workload), times
        self.closed = workload.closed is not None
        self.now_ns = 0
        self._running: list[tuple[int, int]] = []  # heap of (finish, server)
        self._client_of: list[int] = []

    @property
    def ended(self) -> bool:
        """Nobody is on the way."""
        return self.schedule.ended

    def wait(self, until_ns: int) -> tuple[int, Sequence[tuple[int, int]]]:
        """Jump to the next event."""
        running_ns = self._running[0][0] if self._running else NEVER
        self.now_ns = min(until_ns, running_ns, self.schedule.next_ns)
        assert self.now_ns != NEVER, "nothing can happen any more"
        done = []
        while self._running and self._running[0][0] == self.now_ns:
            done.append(heappop(self._running))
        return self.now_ns, done

    def arrivals(self) -> Sequence[int]:
        """All who are due now."""
        due = self.schedule.due(self.now_ns)
        self._client_of += [who for _, who in due]
        return [planned_ns for planned_ns, _ in due]

    def start(self, batch: Batch) -> None:
        """The batch takes its time."""
        heappush(self._running, (batch.start_ns + self.times(batch), batch.server))

    def answer(self, requests: Sequence[int], now_ns: int) -> None:
        """The clients of a closed loop think, then come again."""
        if self.closed:
            for request in requests:
                self.schedule.answer(self._client_of[request], now_ns)
