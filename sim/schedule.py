"""Who is planned to arrive when: an open loop's list, or the clients of a closed one.

Whoever has a clock takes from it those who are due: the world on a virtual clock, the scheduler of
a live run, or the process of its load generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from policies.contract import NEVER

from .workload import Workload


class Schedule:
    """Planned arrivals, at most as many as the workload has requests."""

    def __init__(
        self, arrival_ns: Sequence[int], think_ns: Sequence[Sequence[int]], total: int
    ) -> None:
        """Plan the first arrivals.

        Args:
            arrival_ns: of an open loop, not decreasing; empty in a closed one.
            think_ns: of a closed loop, think times by client and cycle; empty in an open one.
            total: how many requests there are.
        """
        self.left = total
        """How many are still to come."""
        self._think_ns = think_ns
        self._cycle = [0] * len(think_ns)
        self._coming = [(ns, who) for who, ns in enumerate(arrival_ns)]  # a sorted list is a heap
        for client in range(len(think_ns)):
            self.answer(client, 0)
        heapify(self._coming)

    @classmethod
    def of(cls, workload: Workload) -> Schedule:
        """The schedule of a workload."""
        closed = workload.closed
        think_ns = [] if closed is None else closed.think_ns.tolist()
        return cls(workload.arrival_ns.tolist(), think_ns, len(workload))

    @property
    def next_ns(self) -> int:
        """When the next one is due; NEVER where nobody is on the way."""
        return self._coming[0][0] if self._coming else NEVER

    @property
    def ended(self) -> bool:
        """Whether nobody comes any more unless a client is answered first."""
        return not self._coming or not self.left

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """Those who are due, in order: (planned instant, place in the open loop or client)."""
        found = []
        while self._coming and self._coming[0][0] <= now_ns:
            one = heappop(self._coming)
            if self.left:
                self.left -= 1
                found.append(one)
        return found

    def answer(self, client: int, now_ns: int) -> None:
        """A client of a closed loop thinks from now on, then comes again."""
        row = self._think_ns[client]
        heappush(self._coming, (now_ns + row[self._cycle[client] % len(row)], client))
        self._cycle[client] += 1
