"""What a queue of jobs promises, wherever it keeps them.

1. A job that was accepted is kept until it is done, failed, dead or cancelled; then what became of
   it is kept for a while.
2. A job runs at most twice.  A run is counted before the job is handed to a server, and taken back
   only where it is certain that it did not begin: a policy refused it, or nobody handed it over.
3. Who ran twice in servers that died is dead: it is kept, with the reason, until somebody asks for
   it to be run again.
4. Whoever was in a server that died is run again apart from all other jobs, so that a job that
   kills its server does not take others with it twice.
5. Handing over, ending and giving back may each be said twice, as after a broken connection: the
   second time changes nothing.  The first result of a job is its result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple, Protocol

IDENTITY = re.compile(r"[A-Za-z0-9._:-]{1,128}")
RUNS_MOST = 2
LATER_S = 1.0
"""After a policy has refused a job, it is tried again."""


class State(StrEnum):
    """Of a job."""

    queued = "queued"
    running = "running"
    done = "done"
    failed = "failed"
    """It cannot be served: the sentence says why."""
    dead = "dead"
    """The servers that it ran in died, twice."""
    cancelled = "cancelled"
    unknown = "unknown"
    """It was never here, or is forgotten."""


class Taking(StrEnum):
    """What became of a job that came."""

    new = "new"
    known = "known"
    """The same job is here already, under the same name."""
    other = "other"
    """Another job has its name."""


class FullError(RuntimeError):
    """No more jobs can be kept; the text is one sentence."""


class AwayError(RuntimeError):
    """The queue cannot be reached; the text is one sentence."""


class Job(NamedTuple):
    """What is asked."""

    identity: str
    body: bytes
    """A request of the Open Inference Protocol."""
    header_bytes: int | None = None
    """How long its JSON is, where tensors follow it as bytes."""

    @property
    def digest(self) -> str:
        """The same for the same job only."""
        said = b"%d:" % (-1 if self.header_bytes is None else self.header_bytes)
        return blake2b(said + self.body, digest_size=16).hexdigest()


class Taken(NamedTuple):
    """A job that is to be handed over now; its run is counted."""

    job: Job
    place: str
    """Where the queue has it."""
    run: str
    """Names this run."""
    attempt: int = 1
    """Which of its runs it is."""


class Handful(NamedTuple):
    """What a server gets when it asks for jobs."""

    taken: Sequence[Taken] = ()
    apart: bool = False
    """It is one job, and no other is to run beside it."""
    held: bool = False
    """A job waits to run apart: it comes once no other runs."""
    buried: int = 0
    """Jobs that were found dead meanwhile."""


class Ended(NamedTuple):
    """What became of a job that was handed over."""

    taken: Taken
    state: State
    """Done or failed."""
    content: bytes
    """The answer, as JSON; or the sentence."""


class Back(NamedTuple):
    """A job that is given back, to be taken by any server."""

    taken: Taken
    ran: bool
    """Whether its run may have begun; if not, it does not count."""
    reason: str = ""
    later_s: float = 0.0


class Status(NamedTuple):
    """How it is with a job."""

    identity: str
    state: State
    runs: int = 0
    content: bytes = b""
    """The answer of who is done; the reason of who is failed or dead."""


class Counts(NamedTuple):
    """How it is with all."""

    waiting: int = 0
    running: int = 0
    dead: int = 0
    oldest_s: float = 0.0
    """Age of the oldest that is neither done nor dead."""


class JobQueue(Protocol):
    """Where jobs are kept; every method may raise :class:`AwayError`."""

    about: str
    """For people."""
    capacity: int
    """Jobs that may be unfinished."""

    async def open(self) -> Sequence[str]:
        """Begin; gives sentences of warning.

        Raises:
            ScenarioError: there is no such queue, and waiting will not help.
        """
        ...

    async def close(self) -> None:
        """End."""
        ...

    async def submit(self, jobs: Sequence[Job], beside: int = 0) -> list[Taking]:
        """Take jobs, all or none of them.

        Args:
            jobs: their names differ.
            beside: as many more belong to them and will come, for which there has to be room, too;
                negative: so many came before, and found it.

        Raises:
            FullError: there is no room for all.
        """
        ...

    async def look(self, identities: Sequence[str]) -> list[Status]:
        """How it is with some."""
        ...

    async def cancel(self, identity: str) -> State:
        """Cancel a job that is queued, or forget one that is over; gives the state it had."""
        ...

    async def again(self, identity: str) -> State:
        """Queue a dead job once more, as if it had never run; gives the state it had."""
        ...

    async def buried(self, most: int) -> list[Status]:
        """Those that are dead, the last ones first."""
        ...

    async def take(self, most: int, mine: Sequence[Taken], *, apart: bool) -> Handful:
        """Jobs for a server, and a sign of life of those that it has.

        Args:
            most: as many as it can use; 0 is a sign of life only.
            mine: those that it has not ended or given back; it has nothing else.
            apart: whether to hold others back for one that has to run apart.
        """
        ...

    async def end(self, ended: Sequence[Ended]) -> list[bool]:
        """Keep results; says of each whether it is the first one of its job."""
        ...

    async def give_back(self, jobs: Sequence[Back]) -> None:
        """Let others take them."""
        ...

    async def counts(self) -> Counts:
        """How it is with all."""
        ...


__all__ = [
    "IDENTITY",
    "LATER_S",
    "RUNS_MOST",
    "AwayError",
    "Back",
    "Counts",
    "Ended",
    "FullError",
    "Handful",
    "Job",
    "JobQueue",
    "State",
    "Status",
    "Taken",
    "Taking",
]  # fmt: skip
