"""An open-loop load generator over HTTP, in a process of its own.

1. Every request is sent at its planned instant, whatever became of those before it; a late one is
   sent at once, and its latency counts from the plan (no coordinated omission).
2. Connections stay open and are used again, the last one first; there are as many as requests are
   under way, up to :data:`MOST_CONNECTIONS`.  They are opened before the first request is due.
3. A request whose kept connection turns out to be closed is sent once more, on a new one.
4. Nothing is reported before the end, so that nothing but sending and receiving takes time.

Instants are ns of ``CLOCK_MONOTONIC``, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import select
import selectors
import socket
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from experiments.sentences import RunFailed
from policies.contract import IntArray
from sim.child import Child
from sim.timing import deaf, fine_timers, now_ns, urgent

from .http_answers import Answer, AnswerError

MOST_CONNECTIONS = 900
"""Below the usual limit of open files, 1024."""
FIRST_CONNECTIONS = 32
HEAD_START_NS = 100_000_000
"""Between the plan's arrival in the process and its instant 0."""
CONNECT_S = 5.0


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


class _Line:
    """An open connection."""

    __slots__ = ("answer", "socket", "used", "who")

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = Answer()
        self.who = -1
        """The request that is under way on it; -1: none."""
        self.used = False
        """Whether it carried a request before."""


class _Run:
    """One plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.selector = selectors.DefaultSelector()
        self.idle: list[_Line] = []
        self.lines = self.under_way = self.next = 0
        count = len(plan.planned_ns)
        self.sent = np.full(count, -1, dtype=np.int64)
        self.done = np.full(count, -1, dtype=np.int64)
        self.status = np.zeros(count, dtype=np.int16)
        self.retried: set[int] = set()
        for _ in range(min(FIRST_CONNECTIONS, count)):
            self.idle.append(self._open())

    def run(self) -> Answers:
        """Send, receive, report."""
        origin_ns = now_ns() + HEAD_START_NS
        due = np.asarray(self.plan.planned_ns, dtype=np.int64) + origin_ns
        instants, count = due.tolist(), len(due)
        patience_ns = int(self.plan.patience_s * 1e9)
        give_up_ns = None
        while True:
            now = now_ns()
            while self.next < count and instants[self.next] <= now:
                if not self._send(self.next):
                    break
                self.next += 1
            if self.next == count:
                if not self.under_way:
                    break
                give_up_ns = give_up_ns or now_ns() + patience_ns
            until_ns = give_up_ns or instants[self.next]
            if self.next < count and instants[self.next] <= now:  # every connection is in use
                until_ns = now + patience_ns
            if not self._receive(until_ns) and now_ns() >= (give_up_ns or now + patience_ns):
                break
        self._close()
        return Answers(due, self.sent, self.done, self.status)

    def _open(self) -> _Line:
        line = _Line(self.plan.host, self.plan.port)
        line.socket.setblocking(False)
        self.selector.register(line.socket, selectors.EVENT_READ, line)
        self.lines += 1
        return line

    def _send(self, who: int) -> bool:
        """Send a request on a kept connection, or on a new one; False where none is left."""
        if not self.idle and self.lines >= MOST_CONNECTIONS:
            return False
        line = self.idle.pop() if self.idle else self._open()
        line.who, line.answer = who, Answer()
        self.under_way += 1
        if self.sent[who] < 0:
            self.sent[who] = now_ns()
        try:
            self._write(line, self.plan.requests[who])
        except OSError:
            self._lost(line)
        return True

    def _write(self, line: _Line, data: bytes) -> None:
        """Write all of a request; what does not fit into the buffer at once is waited for."""
        done = line.socket.send(data)
        while done < len(data):
            select.select([], [line.socket], [], CONNECT_S)
            done += line.socket.send(data[done:])

    def _receive(self, until_ns: int) -> bool:
        """Wait for answers until an instant; the wait is exact to microseconds."""
        left_s = max(0, until_ns - now_ns()) / 1e9
        if not select.select([self.selector], [], [], left_s)[0]:
            return False
        for key, _ in self.selector.select(0):
            self._read(key.data)
        return True

    def _read(self, line: _Line) -> None:
        try:
            data = line.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(line)
            return
        try:
            whole = line.who >= 0 and line.answer.feed(data)
        except (AnswerError, ValueError):
            self.retried.add(line.who)  # a second try would not be answered otherwise
            self._lost(line)
            return
        if whole:
            self._answered(line)

    def _answered(self, line: _Line) -> None:
        self.done[line.who], self.status[line.who] = now_ns(), line.answer.status
        self.under_way -= 1
        line.who, line.used = -1, True
        if line.answer.keeps:
            self.idle.append(line)
        else:
            self._drop(line)

    def _lost(self, line: _Line) -> None:
        """A connection was closed from the other side."""
        who, line.who = line.who, -1
        self._drop(line)
        if who < 0:
            self.idle.remove(line)
            return
        self.under_way -= 1
        if line.used and not line.answer.status and who not in self.retried:
            self.retried.add(who)
            with suppress(OSError):
                self.idle.append(self._open())
                self._send(who)

    def _drop(self, line: _Line) -> None:
        self.selector.unregister(line.socket)
        line.socket.close()
        self.lines -= 1

    def _close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.socket.close()
        self.selector.close()
