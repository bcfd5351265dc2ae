"""A world on a virtual clock: the live driver without waiting, for tests and for replays."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from policies.contract import NEVER

from .service_times import Batch, ServiceTimes
from .workload import Workload


class VirtualWorld:
    """Requests of a workload, and servers that take the given times.

    Time jumps from event to event, as in the SimPy model.
    """

    def __init__(self, workload: Workload, times: ServiceTimes) -> None:
        self.workload, self.times = workload, times
        self.now_ns = 0
        self._running: list[tuple[int, int]] = []  # heap of (finish, server)
        self._coming: list[tuple[int, int]] = []  # heap of (arrival, client or request)
        self._cycle: list[int] = []
        self._client_of: list[int] = []
        if workload.closed is None:
            self._coming = [(ns, who) for who, ns in enumerate(workload.arrival_ns.tolist())]
        else:
            self._cycle = [0] * len(workload.closed.think_ns)
            for client in range(len(self._cycle)):
                self._think(client)

    @property
    def ended(self) -> bool:
        """Nobody is on the way."""
        return not self._coming

    def wait(self, until_ns: int) -> tuple[int, Sequence[tuple[int, int]]]:
        """Jump to the next event."""
        heads = [heap[0][0] for heap in (self._running, self._coming) if heap]
        self.now_ns = min(until_ns, *heads) if heads else until_ns
        assert self.now_ns != NEVER, "nothing can happen any more"
        done = []
        while self._running and self._running[0][0] == self.now_ns:
            done.append(heappop(self._running))
        return self.now_ns, done

    def arrivals(self) -> Sequence[int]:
        """All who are due now."""
        arrived = []
        while self._coming and self._coming[0][0] == self.now_ns:
            instant_ns, who = heappop(self._coming)
            if len(self._client_of) < len(self.workload):
                self._client_of.append(who)
                arrived.append(instant_ns)
        return arrived

    def start(self, batch: Batch) -> None:
        """The batch takes its time."""
        heappush(self._running, (batch.start_ns + self.times(batch), batch.server))

    def answer(self, requests: Sequence[int], now_ns: int) -> None:
        """The clients of a closed loop think, then come again."""
        if self.workload.closed is not None:
            for request in requests:
                self._think(self._client_of[request])

    def _think(self, client: int) -> None:
        assert self.workload.closed is not None
        row = self.workload.closed.think_ns[client]
        think_ns = int(row[self._cycle[client] % len(row)])
        self._cycle[client] += 1
        heappush(self._coming, (self.now_ns + think_ns, client))
