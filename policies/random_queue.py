"""A queue that lives at random: consistent views for the conformance suite.

Requests arrive, are refused, give up, and are served in the batches that the policy fires; batches
finish early or late.  Time moves on a random grid, so that ties happen.  It is no simulator: when
what happens is drawn, not planned, so that a policy sees more kinds of views than any one run has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .contract import (
    NEVER,
    NOBODY,
    FloatArray,
    IntArray,
    Policy,
    Tier,
    View,
    expected_ns,
    lane_count,
    memory_slots,
    seals,
    sheds,
)

GRIDS_NS = (1, 1_000, 500_000)
"""Coarse grids make ties, fine ones make odd numbers."""

MOST_WAITING = 120
"""Nobody is admitted beyond: a policy may wait for long, the suite may not."""


@dataclass(frozen=True)
class Bound:
    """What a policy was bound to."""

    service_ns: IntArray
    length_edges: IntArray
    tiers: tuple[Tier, ...]
    servers: int


@dataclass
class RandomQueue:
    """One history of a queue in front of a bound policy, up to ``requests`` arrivals."""

    policy: Policy
    bound: Bound
    rng: np.random.Generator
    requests: int = 400
    now_ns: int = 0
    arrived: int = 0
    finished: int = 0
    finished_size: int = 0
    finished_service_ns: int = 0
    formed_ns: int = 0
    sealed: list[list[int]] = field(default_factory=list)
    """Batches that wait for a server, oldest first."""
    lanes: list[list[int]] = field(default_factory=list)
    memory: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        rng, servers = self.rng, self.bound.servers
        self.grid_ns = int(rng.choice(GRIDS_NS))
        self.step_ns = int(rng.choice([10_000, 1_000_000, 20_000_000]))
        self.impatient = bool(rng.random() < 0.3)
        self.lanes = [[] for _ in range(lane_count(self.policy))]
        self.memory = np.zeros(memory_slots(self.policy))
        # Those who have not arrived hold what a rule must not look at.
        self.arrival_ns = np.full(self.requests, -1, dtype=np.int64)
        self.length = rng.integers(1, self.bound.length_edges[-1], self.requests, endpoint=True)
        self.tier = rng.integers(0, len(self.bound.tiers), self.requests)
        self.deadline_ns = np.full(self.requests, NEVER)
        self.idle_since_ns = np.zeros(servers, dtype=np.int64)
        self.busy_since_ns = np.full(servers, -1)
        self.size = np.zeros(servers, dtype=np.int64)
        self.expected_finish_ns = np.full(servers, -1)

    @property
    def waiting(self) -> int:
        """Requests that wait, in all lanes."""
        return sum(map(len, self.lanes))

    @property
    def may_seal(self) -> bool:
        """Whether the policy may form a batch ahead now."""
        return not self.idle() and len(self.sealed) < seals(self.policy)

    @property
    def asks_ahead(self) -> bool:
        """Whether the policy is asked though no server is idle."""
        return not self.idle() and (sheds(self.policy) or self.may_seal)

    def idle(self) -> list[int]:
        """Servers that run nothing."""
        return [int(server) for server in np.flatnonzero(self.busy_since_ns < 0)]

    def move(self, instant_ns: int | None = None) -> None:
        """Let time pass, to a given instant or by a random step, and let the impatient go."""
        if instant_ns is None:
            step = int(self.rng.exponential(self.step_ns)) // self.grid_ns
            instant_ns = self.now_ns + max(1, step) * self.grid_ns
        self.now_ns = instant_ns
        for lane in self.lanes:
            lane[:] = [request for request in lane if self.deadline_ns[request] > instant_ns]

    def finish(self, server: int) -> View:
        """End the batch of a server now; what the policy observes."""
        self.finished += 1
        self.finished_size = int(self.size[server])
        self.finished_service_ns = max(1, self.now_ns - int(self.busy_since_ns[server]))
        self.size[server] = 0
        self.busy_since_ns[server] = self.expected_finish_ns[server] = -1
        self.idle_since_ns[server] = self.now_ns
        return self.view(server)

    def admit(self, earliest_ns: int) -> None:
        """A random number of arrivals after ``earliest_ns`` and up to now; some are refused."""
        count = min(int(self.rng.geometric(0.4)), self.requests - self.arrived)
        offsets = self.rng.integers(earliest_ns + 1, self.now_ns, max(0, count), endpoint=True)
        for instant_ns in np.sort(
            np.where(self.rng.random(offsets.size) < 0.3, self.now_ns, offsets)
        ):
            request = self.arrived
            self.arrived += 1
            self.arrival_ns[request] = instant_ns
            if self.impatient and self.rng.random() < 0.5:
                patience = int(self.rng.integers(1, 50_000_000))
                self.deadline_ns[request] = self.now_ns + patience
            if self.rng.random() < 0.05 or self.waiting >= MOST_WAITING:
                continue
            self.lanes[self.lane_of(request)].append(request)

    def lane_of(self, request: int) -> int:
        """Where the policy puts a request."""
        own = getattr(self.policy, "lane_of", None)
        if own is None:
            return 0
        return int(own(int(self.length[request]), int(self.tier[request])))

    def remove(self, take: IntArray) -> list[int]:
        """Take ``take[lane]`` requests from the head of each lane."""
        taken: list[int] = []
        for lane, count in zip(self.lanes, take.tolist(), strict=True):
            taken += lane[:count]
            del lane[:count]
        return taken

    def form(self, take: IntArray) -> list[int]:
        """Make a batch of ``take[lane]`` requests from the head of each lane."""
        self.formed_ns = self.now_ns
        return self.remove(take)

    def start(self, server: int, batch: list[int]) -> None:
        """Run a batch."""
        longest = int(self.length[batch].max())
        planned = expected_ns(self.bound.service_ns, self.bound.length_edges, len(batch), longest)
        self.busy_since_ns[server] = self.now_ns
        self.size[server] = len(batch)
        self.expected_finish_ns[server] = self.now_ns + max(1, round(planned))

    def view(self, server: int) -> View:
        """The queue as the policy sees it, about a server or none (-1), in arrays of its own."""
        following = np.full(self.requests, NOBODY)
        for lane in self.lanes:
            following[lane[:-1]] = lane[1:]
        heads = [lane[0] if lane else NOBODY for lane in self.lanes]
        return View(
            now_ns=self.now_ns,
            waiting=np.array([len(lane) for lane in self.lanes], dtype=np.int64),
            oldest_ns=np.array([self.arrival_ns[head] if head >= 0 else NEVER for head in heads]),
            head=np.array(heads),
            tail=np.array([lane[-1] if lane else NOBODY for lane in self.lanes]),
            arrival_ns=self.arrival_ns.copy(),
            length=self.length.copy(),
            tier=self.tier.copy(),
            deadline_ns=self.deadline_ns.copy(),
            next=following,
            server=server,
            servers=self.bound.servers,
            idle_servers=len(self.idle()),
            idle_since_ns=int(self.idle_since_ns[server]) if server >= 0 else -1,
            busy_since_ns=self.busy_since_ns.copy(),
            size=self.size.copy(),
            expected_finish_ns=self.expected_finish_ns.copy(),
            arrived=self.arrived,
            finished=self.finished,
            finished_size=self.finished_size,
            finished_service_ns=self.finished_service_ns,
            memory=self.memory.copy(),
            take=np.zeros(len(self.lanes), dtype=np.int64),
            formed_ns=self.formed_ns,
            sealed=len(self.sealed),
            sealed_requests=sum(map(len, self.sealed)),
        )
