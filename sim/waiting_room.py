"""The SimPy model's waiting room: lanes of requests, and what a view shows of them."""

from __future__ import annotations

from bisect import bisect
from collections import deque

import numpy as np

from policies.contract import NEVER, NOBODY

from .workload import Workload


class WaitingRoom:
    """A FIFO per lane; the columns always say what the queues are."""

    def __init__(self, workload: Workload, lanes: int) -> None:
        total = len(workload)
        self.set_lanes(lanes)
        self.arrival_ns = np.full(total, -1)
        self.length = workload.length.astype(np.int64)
        self.tier = workload.tier.astype(np.int64) if len(workload.tier) else np.zeros(total, int)
        self.deadline_ns = np.full(total, NEVER)
        self.next = np.full(total, NOBODY)
        self.lane = np.full(total, -1)

    def set_lanes(self, lanes: int) -> None:
        """Begin with so many lanes, and nobody in them."""
        self.present = 0
        """How many wait."""
        self.queue: list[deque[int]] = [deque() for _ in range(lanes)]
        self.waiting, self.take = np.zeros(lanes, dtype=np.int64), np.zeros(lanes, dtype=np.int64)
        self.oldest_ns = np.full(lanes, NEVER)
        self.head, self.tail = np.full(lanes, NOBODY), np.full(lanes, NOBODY)

    def join(self, request: int, lane: int) -> None:
        """Put a request at the tail of a lane."""
        self.lane[request] = lane
        if self.queue[lane]:
            self.next[self.queue[lane][-1]] = request
        self.queue[lane].append(request)
        self.present += 1
        self._show(lane)

    def join_by_id(self, request: int, lane: int) -> None:
        """Put a request into a lane that is in the order of ids, and stays so."""
        queue = self.queue[lane]
        place = bisect(queue, request)
        self.lane[request] = lane
        self.next[request] = queue[place] if place < len(queue) else NOBODY
        if place > 0:
            self.next[queue[place - 1]] = request
        queue.insert(place, request)
        self.present += 1
        self._show(lane)

    def leave(self, request: int) -> None:
        """Take a request out of its lane, wherever it stands."""
        lane = int(self.lane[request])
        place = self.queue[lane].index(request)
        if place > 0:
            self.next[self.queue[lane][place - 1]] = self.next[request]
        del self.queue[lane][place]
        self.present -= 1
        self._show(lane)

    def collect(self) -> tuple[list[int], int]:
        """Take those that ``take`` names; returns them and their lane, -1 if they are mixed."""
        lanes = np.flatnonzero(self.take).tolist()
        members: list[int] = []
        for lane in lanes:
            members += [self.queue[lane].popleft() for _ in range(self.take[lane])]
            self._show(lane)
        self.take[:] = 0
        self.present -= len(members)
        return members, lanes[0] if len(lanes) == 1 else -1

    def _show(self, lane: int) -> None:
        queue = self.queue[lane]
        self.waiting[lane] = len(queue)
        self.head[lane] = queue[0] if queue else NOBODY
        self.tail[lane] = queue[-1] if queue else NOBODY
        self.oldest_ns[lane] = self.arrival_ns[queue[0]] if queue else NEVER
