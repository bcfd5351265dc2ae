"""One queue and the servers in front of it, as a policy sees them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from policies.contract import FIRE, NEVER, SHED, Policy, View, memory_slots, seals, sheds

from .answer import SOUND, blame, fault_of_ahead
from .service_times import Batch

if TYPE_CHECKING:
    from .station import Station


AHEAD = -1
"""In the place of a server: every one is busy, and what the policy fires is sealed."""


class Sealed(NamedTuple):
    """A batch that is formed and waits for a server; nobody joins it any more."""

    members: list[int]
    lane: int
    """-1 where it is mixed."""
    formed_ns: int


class ServedQueue:
    """Lanes and servers that belong together; a station has one, or one for each replica."""

    def __init__(
        self, station: Station, policy: Policy, lanes: slice, servers: range, tiers: int
    ) -> None:
        self.station, self.policy = station, policy
        self.lanes, self.servers = lanes, servers
        self.idle = list(servers)
        """Those that may start a batch, longest idle first, then by index."""
        self.up = np.ones(len(servers), dtype=np.bool_)
        """Whether each server may start batches, once it is idle."""
        self.ask_ns = NEVER
        """When the policy wants to be asked again; what happens to the queue asks it earlier."""
        self.touched = False
        """Whether something happened to it since the policy was asked."""
        self.arrived = self.present = self.in_service = 0
        """Requests that came so far, that wait (those in sealed batches too), and that run."""
        self.of_tier = np.zeros(tiers, dtype=np.int64)
        """Waiting requests of each tier."""
        self.finished = (0, 0, 0)
        self.memory = np.zeros(memory_slots(policy))
        self.seals = seals(policy)
        """How many sealed batches may wait."""
        self.sheds = sheds(policy)
        self.sealed: deque[Sealed] = deque()
        self.formed_ns = 0
        """When the policy fired last."""

    def take_over(self, policy: Policy, lanes: slice, arrived: int) -> None:
        """Another policy from now on, for which a run has just begun; batches that are sealed stay.

        Args:
            policy: bound.
            lanes: its own.
            arrived: how many requests it is told of.
        """
        self.policy, self.lanes, self.arrived = policy, lanes, arrived
        self.ask_ns, self.touched = NEVER, True
        self.finished, self.formed_ns = (0, 0, 0), 0
        self.memory = np.zeros(memory_slots(policy))
        self.seals, self.sheds = seals(policy), sheds(policy)

    @property
    def sealed_requests(self) -> int:
        """How many requests are in batches that wait for a server."""
        return sum(len(batch.members) for batch in self.sealed)

    @property
    def may_seal(self) -> bool:
        """Whether a batch may be formed ahead now."""
        return not self.idle and len(self.sealed) < self.seals

    @property
    def asks_ahead(self) -> bool:
        """Whether the policy is asked though no server is idle; there has to be one at all."""
        return not self.idle and bool(self.up.any()) and (self.sheds or self.may_seal)

    def ask(self, now_ns: int) -> tuple[int, int] | None:
        """Ask about every idle server, longest idle first, or about none where that is allowed.

        Returns:
            The server, or AHEAD, and FIRE or SHED; None where the policy waits.
        """
        self.ask_ns = NEVER
        if self.present == self.sealed_requests:
            return None
        room, largest = self.station.room, self.station.service.largest_batch
        take, waiting = room.take[self.lanes], room.waiting[self.lanes]
        earliest = NEVER
        for server in [AHEAD] if self.asks_ahead else self.idle:
            answer = int(self.policy.decide(self.view(server, now_ns)))
            may = (server != AHEAD or self.may_seal) + 2 * self.sheds
            fault = fault_of_ahead(answer, take, waiting, now_ns, largest, may)
            if fault != SOUND:
                blame(self.policy, fault, now_ns, largest)
            if answer in (FIRE, SHED):
                return server, answer
            earliest = min(earliest, answer)
        self.ask_ns = earliest
        return None

    def release(self, batch: Batch, finish_ns: int, now_ns: int) -> None:
        """A server is idle again: its batch is done, and the policy may look at it."""
        self.finished = (self.finished[0] + 1, len(batch.members), finish_ns - batch.start_ns)
        self.in_service -= len(batch.members)
        if self.up[batch.server - self.servers.start]:
            self.idle.append(batch.server)
        self.touched = True
        observe = getattr(self.policy, "observe", None)
        if observe is not None:
            observe(self.view(batch.server, now_ns))

    def view(self, server: int, now_ns: int) -> View:
        """What the policy sees about a server, or about none: AHEAD."""
        station, room, lanes = self.station, self.station.room, self.lanes
        servers = slice(self.servers.start, self.servers.stop)
        return View(
            now_ns=now_ns,
            waiting=room.waiting[lanes],
            oldest_ns=room.oldest_ns[lanes],
            head=room.head[lanes],
            tail=room.tail[lanes],
            arrival_ns=room.arrival_ns,
            length=room.length,
            tier=room.tier,
            deadline_ns=room.deadline_ns,
            next=room.next,
            server=AHEAD if server == AHEAD else server - servers.start,
            servers=len(self.servers),
            idle_servers=len(self.idle),
            idle_since_ns=-1 if server == AHEAD else int(station.idle_since_ns[server]),
            busy_since_ns=station.busy_since_ns[servers],
            size=station.size[servers],
            expected_finish_ns=station.expected_ns[servers],
            arrived=self.arrived,
            finished=self.finished[0],
            finished_size=self.finished[1],
            finished_service_ns=self.finished[2],
            memory=self.memory,
            take=room.take[lanes],
            formed_ns=self.formed_ns,
            sealed=len(self.sealed),
            sealed_requests=self.sealed_requests,
        )
