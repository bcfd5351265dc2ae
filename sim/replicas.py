"""The replicas of a station that come and go; the rules are those of :mod:`sim.changes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.contract import NEVER, IntArray
from policies.scaling import ScaleView, held

from .changes import DOWN, LEAVING, OFF, READY, STARTING
from .served_queue import ServedQueue
from .trace import LOST, UNFINISHED

if TYPE_CHECKING:
    from .station import Station


class Replicas:
    """States of the replicas, and what changes them."""

    def __init__(self, station: Station) -> None:
        self.station, self.group = station, station.service.grouping
        count = self.group.replicas
        self.state = np.where(np.arange(count) < self.group.initial, READY, OFF)
        self.until_ns = np.full(count, NEVER)
        """When one that is starting or down is ready."""
        self.outage = np.zeros(count, dtype=np.int64)
        """Outages of each that are over or have begun."""
        self.tick_ns = self.group.scaler.interval_ns
        self.memory = np.zeros(self.group.scaler.memory_slots)
        self.log = [(0, *self._counts())]
        for replica in np.flatnonzero(self.state == OFF):
            self._show(int(replica))

    @property
    def change_ns(self) -> int:
        """When the next change may come."""
        outages = (self._next_outage_ns(replica) for replica in range(len(self.state)))
        return int(min(self.tick_ns, self.until_ns.min(), *outages))

    def available(self) -> IntArray:
        """int64 (replicas,): who takes requests, or will, where nobody does."""
        ready = self.state == READY
        if not ready.any():
            ready = (self.state == STARTING) | (self.state == DOWN)
        takes: IntArray = ready.astype(np.int64)
        return takes

    def change(self, now_ns: int) -> list[int]:
        """Work through the changes of an instant; returns the requests that were lost."""
        station, orphans = self.station, []
        for replica in range(len(self.state)):
            if self.state[replica] in (STARTING, DOWN) and self.until_ns[replica] <= now_ns:
                self._serves(replica, now_ns)
            while self._next_outage_ns(replica) <= now_ns:
                orphans += self._fails(replica, now_ns)
        lost = []
        for request in sorted(orphans, key=lambda one: (station.room.arrival_ns[one], one)):
            if self.group.loses:
                self._lose(request, now_ns)
                lost.append(request)
            else:
                self._join_again(request, now_ns)
        if self.tick_ns <= now_ns:
            self._tick(now_ns)
        counts = self._counts()
        if counts != self.log[-1][1:]:
            self.log.append((now_ns, *counts))
        return lost

    def _counts(self) -> tuple[int, int]:
        return int((self.state == READY).sum()), int((self.state == STARTING).sum())

    def _next_outage_ns(self, replica: int) -> int:
        place = self.outage[replica]
        outages = self.group.outages_ns
        return int(outages[replica, place, 0]) if place < outages.shape[1] else NEVER

    def _servers(self, replica: int) -> list[int]:
        return np.flatnonzero(self.group.replica_of == replica).tolist()

    def _queue(self, replica: int) -> ServedQueue:
        return self.station.queues[replica if self.group.own_queues else 0]

    def _show(self, replica: int) -> None:
        """Let the queue know which servers of a replica may start batches."""
        serves = self.state[replica] == READY
        serves |= self.state[replica] == LEAVING and self.group.own_queues
        queue, station = self._queue(replica), self.station
        for server in self._servers(replica):
            queue.up[server - queue.servers.start] = serves
            idle = serves and station.running[server] is None
            if idle and server not in queue.idle:
                queue.idle.append(server)
            elif not idle and server in queue.idle:
                queue.idle.remove(server)
        queue.idle.sort(key=lambda server: (station.idle_since_ns[server], server))
        queue.touched = True

    def _serves(self, replica: int, now_ns: int) -> None:
        self.state[replica], self.until_ns[replica] = READY, NEVER
        self.station.idle_since_ns[self._servers(replica)] = now_ns
        self._show(replica)

    def _fails(self, replica: int, now_ns: int) -> list[int]:
        """Begin an outage; returns the requests that the replica held."""
        up_ns = int(self.group.outages_ns[replica, self.outage[replica], 1])
        self.outage[replica] += 1
        before = self.state[replica]
        if before == OFF:
            return []
        if before == LEAVING:
            self.state[replica] = OFF
        else:
            self.state[replica] = DOWN
            self.until_ns[replica] = max(up_ns, self.until_ns[replica] if before == DOWN else 0)
        orphans: list[int] = []
        for server in self._servers(replica):
            orphans += self._abort(server, now_ns)
        if self.group.own_queues:
            orphans += self._empty(self._queue(replica))
        self._show(replica)
        return orphans

    def _tick(self, now_ns: int) -> None:
        station, scaler = self.station, self.group.scaler
        if station.arrived == len(station.workload):
            self.tick_ns = NEVER
            return
        self.tick_ns += scaler.interval_ns
        for replica in np.flatnonzero(self.state == LEAVING):
            if self._has_nothing(int(replica)):
                self.state[replica] = OFF
                self._show(int(replica))
        ready, starting = self._counts()
        view = ScaleView(
            now_ns=now_ns,
            ready=ready,
            starting=starting,
            ongoing=station.ongoing,
            ongoing_ns=float(station.ongoing_ns),
            arrived=station.arrived,
            memory=self.memory,
        )
        target = held(int(scaler.target(view)), scaler.min_replicas, scaler.max_replicas)
        self._grow(target - ready - starting, now_ns)
        self._shrink(ready + starting - target)

    def _has_nothing(self, replica: int) -> bool:
        busy = any(self.station.running[server] is not None for server in self._servers(replica))
        return not busy and not (self.group.own_queues and self._queue(replica).present)

    def _grow(self, more: int, now_ns: int) -> None:
        for state in (LEAVING, OFF):
            for replica in np.flatnonzero(self.state == state)[: max(0, more)].tolist():
                more -= 1
                if state == LEAVING:
                    self.state[replica] = READY
                    self._show(replica)
                elif self.group.cold_start_ns == 0:
                    self._serves(replica, now_ns)
                else:
                    self.state[replica] = STARTING
                    self.until_ns[replica] = now_ns + self.group.cold_start_ns

    def _shrink(self, fewer: int) -> None:
        for state in (STARTING, READY):
            last_first = np.flatnonzero(self.state == state)[::-1]
            for replica in last_first[: max(0, fewer)].tolist():
                fewer -= 1
                self.until_ns[replica] = NEVER
                leaves = state == READY and not self._has_nothing(replica)
                self.state[replica] = LEAVING if leaves else OFF
                self._show(replica)

    def _abort(self, server: int, now_ns: int) -> list[int]:
        """End the batch of a server whose replica fails; returns who was in it."""
        station = self.station
        batch = station.running[server]
        if batch is None:
            return []
        station.records[batch.place][1] = now_ns
        station.failed.append(batch.place)
        station.frees(server, now_ns)
        station.queues[station.queue_of[server]].in_service -= len(batch.members)
        station.status[list(batch.members)] = UNFINISHED
        return list(batch.members)

    def _empty(self, queue: ServedQueue) -> list[int]:
        """Let everybody leave a queue; returns who waited there."""
        station = self.station
        waiting = [one for lane in station.room.queue[queue.lanes] for one in lane]
        for request in waiting:
            station.room.leave(request)
        waiting += [one for batch in queue.sealed for one in batch.members]
        queue.sealed.clear()
        station.left(queue, waiting)
        return waiting

    def _lose(self, request: int, now_ns: int) -> None:
        """A request is lost with its replica."""
        station = self.station
        station.status[request] = LOST
        station.lost_ns[request] = now_ns
        station.ongoing -= 1

    def _join_again(self, request: int, now_ns: int) -> None:
        """A request whose replica failed takes the place that its id gives it, in a queue anew."""
        station = self.station
        queue = station.route(request, now_ns)
        lane = queue.lanes.start + station.lane_for(request, queue)
        station.room.join_by_id(request, lane)
        queue.present += 1
        queue.of_tier[station.room.tier[request]] += 1
        queue.touched = True
