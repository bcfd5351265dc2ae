"""Kept connections to one server, each with one request at a time under way.

1. Connections stay open and are used again, the last one first; there are as many as requests are
   under way, up to :data:`MOST_CONNECTIONS`.
2. A request whose kept connection turns out to be closed is sent once more, on a new one.
3. What is no answer of HTTP, or breaks off, is an answer with status 0.
"""

from __future__ import annotations

import select
import selectors
import socket
from typing import Any, NamedTuple

from sim.timing import now_ns

from .http_answers import Answer, AnswerError

MOST_CONNECTIONS = 900
"""Below the usual limit of open files, 1024."""
CONNECT_S = 5.0
READ_BYTES = 65_536


class Done(NamedTuple):
    """A request that is over."""

    who: int
    instant_ns: int
    """When its answer was whole."""
    status: int
    """Of HTTP; 0: none came."""
    content: bytes


class _Line:
    """An open connection."""

    __slots__ = ("answer", "request", "socket", "used", "who")

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.answer = Answer()
        self.who = -1
        """The request that is under way on it; -1: none."""
        self.request: tuple[bytes | memoryview, ...] = ()
        self.used = False
        """Whether it carried a request before."""


class Lines:
    """See the module's docstring."""

    def __init__(self, host: str, port: int, first: int) -> None:
        """Open the first connections.

        Raises:
            OSError: nobody listens.
        """
        self.host, self.port = host, port
        self.selector = selectors.DefaultSelector()
        self.idle: list[_Line] = []
        self.lines = self.under_way = 0
        self._retried: set[int] = set()
        self._lost_ones: list[Done] = []
        for _ in range(first):
            self.idle.append(self._open())

    @property
    def full(self) -> bool:
        """Whether every connection that may be open is in use."""
        return not self.idle and self.lines >= MOST_CONNECTIONS

    @property
    def lost(self) -> bool:
        """Whether the next :meth:`receive` has something to say without waiting."""
        return bool(self._lost_ones)

    def send(self, who: int, *parts: bytes | memoryview) -> None:
        """Send a request on a kept connection, or on a new one; there is one left."""
        line = self.idle.pop() if self.idle else self._open()
        line.who, line.request, line.answer = who, parts, Answer()
        self.under_way += 1
        try:
            for part in parts:
                _write(line.socket, part)
        except OSError:
            self._lost(line)

    def receive(self, until_ns: int, *more: int) -> list[Done] | None:
        """Wait for answers until an instant, exactly to microseconds.

        Args:
            until_ns: of the monotonic clock.
            more: files that end the wait, too, when they can be read.

        Returns:
            The requests that are over; None where the time was.
        """
        left_s = max(0, until_ns - now_ns()) / 1e9
        if self._lost_ones:
            left_s = 0.0
        watched: list[Any] = [self.selector, *more]
        ready = select.select(watched, [], [], left_s)[0]
        found, self._lost_ones = self._lost_ones, []
        if self.selector in ready:
            for key, _ in self.selector.select(0):
                found += self._read(key.data)
        return found if ready or found else None

    def close(self) -> None:
        """Hang up."""
        for key in list(self.selector.get_map().values()):
            key.data.socket.close()
        self.selector.close()

    def _open(self) -> _Line:
        line = _Line(self.host, self.port)
        self.selector.register(line.socket, selectors.EVENT_READ, line)
        self.lines += 1
        return line

    def _read(self, line: _Line) -> list[Done]:
        """What is over with what came on a connection."""
        try:
            data = line.socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._lost(line)
            return []
        try:
            whole = line.who >= 0 and line.answer.feed(data)
        except (AnswerError, ValueError):
            self._retried.add(line.who)  # a second try would not be answered otherwise
            self._lost(line)
            return []
        return [self._answered(line)] if whole else []

    def _answered(self, line: _Line) -> Done:
        found = Done(line.who, now_ns(), line.answer.status, line.answer.content)
        self.under_way -= 1
        line.who, line.used = -1, True
        if line.answer.keeps:
            self.idle.append(line)
        else:
            self._drop(line)
        return found

    def _lost(self, line: _Line) -> None:
        """A connection was closed from the other side."""
        who, line.who = line.who, -1
        self._drop(line)
        if who < 0:
            self.idle.remove(line)
            return
        self.under_way -= 1
        if line.used and not line.answer.status and who not in self._retried:
            self._retried.add(who)
            try:
                self.idle.append(self._open())
            except OSError:
                pass
            else:
                self.send(who, *line.request)
                return
        self._lost_ones.append(Done(who, now_ns(), 0, b""))

    def _drop(self, line: _Line) -> None:
        self.selector.unregister(line.socket)
        line.socket.close()
        self.lines -= 1


def _write(connection: socket.socket, data: bytes | memoryview) -> None:
    """Write all of it; what does not fit into the buffer at once is waited for."""
    done = connection.send(data)
    if done < len(data):
        rest = memoryview(data)
        while done < len(rest):
            select.select([], [connection], [], CONNECT_S)
            done += connection.send(rest[done:])


__all__ = ["CONNECT_S", "MOST_CONNECTIONS", "Done", "Lines"]
