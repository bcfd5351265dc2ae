"""Python's own queue: in the memory of the server, and lost with it.

Nobody but this process takes from it, so that a job whose server dies is gone: what else
:mod:`.contract` promises holds here, too.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .contract import (
    Back,
    Counts,
    Ended,
    FullError,
    Handful,
    Job,
    State,
    Status,
    Taken,
    Taking,
)

BYTES_MOST = 2**28
"""Of all jobs, and as many again of results."""


@dataclass
class _Kept:
    job: Job
    digest: str
    since_s: float
    state: State = State.queued
    runs: int = 0
    content: bytes = b""


class MemoryQueue:
    """A :class:`~.contract.JobQueue`."""

    about = "the queue in memory"

    def __init__(
        self,
        capacity: int,
        keep_s: float,
        bytes_most: int = BYTES_MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty.

        Args:
            capacity: jobs that may be unfinished.
            keep_s: how long results are kept; the oldest go earlier where they need much room.
            bytes_most: of bodies, and of results.
            clock: seconds.
        """
        self.capacity, self.keep_s, self.bytes_most, self.clock = (
            capacity,
            keep_s,
            bytes_most,
            clock,
        )
        self._jobs: dict[str, _Kept] = {}
        self._waiting: deque[str] = deque()
        self._later: list[tuple[float, str]] = []
        self._unfinished: OrderedDict[str, None] = OrderedDict()
        """In the order in which they came."""
        self._over: OrderedDict[str, float] = OrderedDict()
        """When each is forgotten."""
        self._bytes = self._bytes_over = self._running = 0

    async def open(self) -> Sequence[str]:
        """Nothing to open."""
        return ()

    async def close(self) -> None:
        """Nothing is held."""

    async def submit(self, jobs: Sequence[Job], beside: int = 0) -> list[Taking]:
        """See the contract; an answer that is given once does not change."""
        self._forget()
        said = [self._known(job) for job in jobs]
        new = [job for job, taking in zip(jobs, said, strict=True) if taking is Taking.new]
        if new and len(self._unfinished) + len(new) + beside > self.capacity:
            raise FullError(f"{len(self._unfinished)} jobs are unfinished, of {self.capacity}")
        size = sum(len(job.body) for job in new)
        if self._bytes + size > self.bytes_most:
            raise FullError(f"jobs in memory may have {self.bytes_most} bytes")
        self._bytes += size
        now_s = self.clock()
        for job in new:
            self._jobs[job.identity] = _Kept(job, job.digest, now_s)
            self._unfinished[job.identity] = None
            self._waiting.append(job.identity)
        return said

    async def look(self, identities: Sequence[str]) -> list[Status]:
        """How it is with some."""
        self._forget()
        return [self._status(identity) for identity in identities]

    async def cancel(self, identity: str) -> State:
        """Cancel a job that is queued, or forget one that is over; gives the state it had."""
        kept = self._jobs.get(identity)
        if kept is None:
            return State.unknown
        before = kept.state
        if before is State.queued:
            self._finish(identity, State.cancelled, b"")
        elif before is not State.running:
            self._drop(identity)
        return before

    async def again(self, identity: str) -> State:
        """Nobody is ever dead here."""
        return self._status(identity).state

    async def buried(self, most: int) -> list[Status]:
        """Nobody is ever dead here."""
        return []

    async def take(self, most: int, mine: Sequence[Taken], *, apart: bool) -> Handful:
        """The oldest that wait."""
        now_s = self.clock()
        due = [identity for due_s, identity in self._later if due_s <= now_s]
        self._later = [each for each in self._later if each[0] > now_s]
        self._waiting.extendleft(reversed(due))
        found: list[Taken] = []
        while self._waiting and len(found) < most:
            identity = self._waiting.popleft()
            kept = self._jobs.get(identity)
            if kept is not None and kept.state is State.queued:  # not cancelled in between
                kept.state, kept.runs = State.running, kept.runs + 1
                self._running += 1
                found.append(Taken(kept.job, identity, str(kept.runs), kept.runs))
        return Handful(found)

    async def end(self, ended: Sequence[Ended]) -> list[bool]:
        """Keep results; says of each whether it is the first one of its job."""
        said = []
        for taken, state, content in ended:
            said.append(self._status(taken.job.identity).state is State.running)
            if said[-1]:
                self._finish(taken.job.identity, state, content)
        return said

    async def give_back(self, jobs: Sequence[Back]) -> None:
        """Let them be taken again."""
        for back in jobs:
            kept = self._jobs.get(back.taken.place)
            if kept is None or kept.state is not State.running:
                continue
            kept.state = State.queued
            kept.runs -= not back.ran
            self._running -= 1
            self._later.append((self.clock() + back.later_s, back.taken.place))

    async def counts(self) -> Counts:
        """How it is with all."""
        self._forget()
        oldest = next(iter(self._unfinished), None)
        oldest_s = 0.0 if oldest is None else self.clock() - self._jobs[oldest].since_s
        return Counts(len(self._unfinished) - self._running, self._running, 0, oldest_s)

    def _known(self, job: Job) -> Taking:
        kept = self._jobs.get(job.identity)
        if kept is None:
            return Taking.new
        return Taking.known if kept.digest == job.digest else Taking.other

    def _status(self, identity: str) -> Status:
        kept = self._jobs.get(identity)
        if kept is None:
            return Status(identity, State.unknown)
        return Status(identity, kept.state, kept.runs, kept.content)

    def _finish(self, identity: str, state: State, content: bytes) -> None:
        kept = self._jobs[identity]
        self._running -= kept.state is State.running
        self._bytes -= len(kept.job.body)
        self._bytes_over += len(content)
        kept.state, kept.content, kept.job = state, content, Job(identity, b"")
        del self._unfinished[identity]
        self._over[identity] = self.clock() + self.keep_s
        while self._bytes_over > self.bytes_most or len(self._over) > self.capacity:
            self._drop(next(iter(self._over)))

    def _forget(self) -> None:
        """Results that were kept long enough."""
        now_s = self.clock()
        while self._over and next(iter(self._over.values())) <= now_s:
            self._drop(next(iter(self._over)))

    def _drop(self, identity: str) -> None:
        del self._over[identity]
        self._bytes_over -= len(self._jobs.pop(identity).content)


__all__ = ["BYTES_MOST", "MemoryQueue"]
