"""An open-loop load generator over HTTP, in a process of its own.

1. Every request is sent at its planned instant, whatever became of those before it; a late one is
   sent at once, and its latency counts from the plan (no coordinated omission).
2. Connections (:mod:`.lines`) are opened before the first request is due.
3. Nothing is reported before the end, so that nothing but sending and receiving takes time.

Instants are ns of ``CLOCK_MONOTONIC``, which all processes of a machine share.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from experiments.sentences import RunFailed
from policies.contract import IntArray
from sim.child import Child
from sim.timing import deaf, fine_timers, now_ns, urgent

from .lines import Done, Lines

FIRST_CONNECTIONS = 32
HEAD_START_NS = 100_000_000
"""Between the plan's arrival in the process and its instant 0."""
KEPT_BYTES = 8192
"""Of an answer's body; a longer one is not kept."""


class Plan(NamedTuple):
    """What is sent, and when."""

    host: str
    port: int
    planned_ns: Sequence[int]
    """From the beginning on, not decreasing."""
    requests: Sequence[bytes]
    """One for each instant, as it goes over the wire."""
    patience_s: float = 30.0
    """How long answers are waited for after the last request was sent."""
    keeps: bool = False
    """Whether what the answers say is wanted."""
    shared: bytes = b""
    """What requests end with."""
    shares: Sequence[int] = ()
    """How many bytes of it each request ends with; empty: none."""


class Answers(NamedTuple):
    """What became of the requests of a plan."""

    planned_ns: IntArray
    """int64 (N,): the instant that each was due."""
    sent_ns: IntArray
    """int64 (N,): the instant that it went off; -1: it did not."""
    done_ns: IntArray
    """int64 (N,): the instant that its answer was whole; -1: there was none."""
    status: NDArray[np.int16]
    """int16 (N,): of HTTP; 0: none."""
    content: Sequence[bytes] = ()
    """N bodies of answers; empty where the plan does not keep them."""

    @property
    def good(self) -> NDArray[np.bool_]:
        """Who was answered 200: bool (N,)."""
        return np.asarray(self.status == 200)

    @property
    def latency_ns(self) -> IntArray:
        """int64 (N,): from the plan to the answer; only for the good."""
        return self.done_ns - self.planned_ns

    @property
    def late_ns(self) -> IntArray:
        """int64 (N,): how late each went off; only for those that did."""
        return self.sent_ns - self.planned_ns


class SendingError(RunFailed):
    """The process of the load generator has died, or nobody listens where it sends."""


class Sender:
    """The parent's side; any number of plans, one after another."""

    def __init__(self) -> None:
        self.child = Child(send)

    def run(self, plan: Plan) -> Answers:
        """Send everything and wait for the answers.

        Raises:
            SendingError: the generator has died.
        """
        try:
            self.child.connection.send(plan)
            found: Any = self.child.connection.recv()
        except (EOFError, OSError) as error:
            raise SendingError("the process of the load generator has died") from error
        if isinstance(found, str):
            raise SendingError(found)
        return Answers(*found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.process.kill()
        self.child.close()


def send(connection: Connection[Any, Any]) -> None:
    """The generator's own life: one plan after another, until the parent hangs up."""
    deaf()
    fine_timers()
    urgent()
    gc.disable()
    try:
        while True:
            plan = connection.recv()
            try:
                found: Any = tuple(_Run(plan).run())
            except OSError as error:
                found = f"{plan.host}:{plan.port} cannot be reached: {error.strerror or error}"
            connection.send(found)
    except (EOFError, ConnectionError):
        return


class _Run:
    """One plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        count = len(plan.planned_ns)
        self.lines = Lines(plan.host, plan.port, min(FIRST_CONNECTIONS, count))
        self.shared = memoryview(plan.shared)
        self.next = 0
        self.sent = np.full(count, -1, dtype=np.int64)
        self.done = np.full(count, -1, dtype=np.int64)
        self.status = np.zeros(count, dtype=np.int16)
        self.content = [b""] * count if plan.keeps else []

    def run(self) -> Answers:
        """Send, receive, report."""
        origin_ns = now_ns() + HEAD_START_NS
        due = np.asarray(self.plan.planned_ns, dtype=np.int64) + origin_ns
        instants, count, lines = due.tolist(), len(due), self.lines
        patience_ns = int(self.plan.patience_s * 1e9)
        give_up_ns = None
        while True:
            now = now_ns()
            while self.next < count and instants[self.next] <= now and not lines.full:
                self._send(self.next)
                self.next += 1
            if self.next == count:
                if not lines.under_way and not lines.lost:
                    break
                give_up_ns = give_up_ns or now_ns() + patience_ns
            until_ns = give_up_ns or instants[self.next]
            if self.next < count and instants[self.next] <= now:  # every connection is in use
                until_ns = now + patience_ns
            found = lines.receive(until_ns)
            if found is None and now_ns() >= (give_up_ns or now + patience_ns):
                break
            for one in found or ():
                self._over(one)
        lines.close()
        return Answers(due, self.sent, self.done, self.status, self.content)

    def _send(self, who: int) -> None:
        self.sent[who] = now_ns()
        request, shares = self.plan.requests[who], self.plan.shares
        if shares:
            self.lines.send(who, request, self.shared[: shares[who]])
        else:
            self.lines.send(who, request)

    def _over(self, one: Done) -> None:
        self.status[one.who] = one.status
        if one.status:
            self.done[one.who] = one.instant_ns
        if self.content and len(one.content) <= KEPT_BYTES:
            self.content[one.who] = one.content
