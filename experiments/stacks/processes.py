"""A server as a group of processes that ends whatever happens to this one.

1. It is started in a session of its own, so that Ctrl-C at the terminal does not reach it before
   this process has decided, and so that all its descendants can be found.
2. It ends by SIGTERM to its group, and then by SIGKILL to every process that carries its mark, by
   id: some servers leave workers behind that have not heard of the end, or are in groups and
   sessions of their own.  The mark is a variable of their environment, which all descendants have.
3. A watchdog holds the other end of a pipe of this process.  When this process is gone without
   having ended its server, even by SIGKILL, the watchdog does.
4. Output goes into a file, whose last lines explain a failure.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from .contract import Command, StackFailed

LOCALHOST = "127.0.0.1"

LAST_LINES = 3
"""Of a server's log: what a failure shows."""

MARK = "BATCHWRIGHT_SERVER"
"""The variable whose value tells the processes of one server."""

WATCHDOG = """
read word && exit
kill -TERM -- "-$1"; sleep 2
for file in $(grep -laF "$2" /proc/[0-9]*/environ); do
  id=${file#/proc/}; kill -KILL "${id%/environ}"
done
"""
"""Ends a server when its own input ends without a word."""


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a process is ended; the first raises ``KeyboardInterrupt`` by itself."""


class Stop(NamedTuple):
    """How long a server has to end by itself."""

    signal: int = signal.SIGTERM
    seconds: float = 5.0


class Server:
    """A started server; :func:`serving` ends it."""

    def __init__(self, command: Command, log: Path, *, urgent: bool = False) -> None:
        """Start it.

        Args:
            command: what to start.
            log: a file for its output.
            urgent: before all ordinary processes, where the system allows it.

        Raises:
            StackFailed: there is no such program.
        """
        self.log = log
        self.mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        environment = {**os.environ, **command.environment, MARK: self.mark}
        environment = {name: value for name, value in environment.items() if value}
        argv = [*_before_others(urgent), *map(str, command.argv)]
        try:
            with log.open("wb") as output:
                self.process = subprocess.Popen(  # noqa: S603 - a command of this package
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True, env=environment, cwd=log.parent,
                )  # fmt: skip
        except OSError as error:
            raise StackFailed(f"{argv[0]} cannot be started: {error.strerror}") from error
        self.group = self.process.pid
        self.watchdog = subprocess.Popen(  # noqa: S603 - the text above
            ["/bin/sh", "-c", WATCHDOG, "watchdog", str(self.group), f"{MARK}={self.mark}"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def check(self, what: str) -> None:
        """Refuse to go on with a server that has ended.

        Raises:
            StackFailed: it has.
        """
        code = self.process.poll()
        if code is not None:
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            raise StackFailed(f"{what} ended {how}: {self.last_lines()}")

    def last_lines(self) -> str:
        """The end of its output, and where the rest is."""
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            said = " | ".join(line.strip() for line in lines[-LAST_LINES:] if line.strip())
            if said:
                return f"{said} (all of it: {self.log})"
        return f"it said nothing ({self.log})"

    def end(self, stop: Stop) -> None:
        """End every process of it; returns when none is left."""
        _signal_group(self.group, stop.signal)
        deadline = time.monotonic() + stop.seconds
        while self.processes() and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
            time.sleep(0.02)
        deadline = time.monotonic() + stop.seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()
        with suppress(OSError):
            self.watchdog.communicate(b"ended\n", timeout=stop.seconds)

    def processes(self) -> list[int]:
        """Its living processes."""
        self.process.poll()
        return processes_with(self.mark, self.group)


def processes_with(mark: str, group: int) -> list[int]:
    """The living processes that carry a mark; the leader of a group where there is no ``/proc``."""
    proc, text = Path("/proc"), f"{MARK}={mark}".encode()
    if not (proc / "self" / "environ").is_file():
        return _leader_of(group)
    found = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has gone, or is another user's
                if text in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _leader_of(group: int) -> list[int]:
    try:
        os.killpg(group, 0)
    except OSError:
        return []
    return [group]


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _before_others(urgent: bool) -> list[str]:
    """``chrt`` before a command, where it is there and allowed."""
    return ["chrt", "-r", "1"] if urgent and can_be_urgent() else []


def can_be_urgent() -> bool:
    """Whether processes may be run before all ordinary ones here."""
    try:
        done = subprocess.run(
            ["chrt", "-r", "1", "true"],  # noqa: S607 - of util-linux, wherever it is
            check=False, capture_output=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def serving(
    command: Command, log: Path, stop: Stop | None = None, *, urgent: bool = False
) -> Iterator[Server]:
    """A server that is ended in the end, however that comes.

    Raises:
        StackFailed: there is no such program.
    """
    server = None
    with ended_by_signals():
        try:
            with deferred():  # a started server must be known before anything ends this process
                server = Server(command, log, urgent=urgent)
            yield server
        finally:
            if server is not None:
                with shielded():
                    server.end(stop or Stop())


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: through every ``finally``."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    with _handled(ENDING[1:], leave):
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals that end this process wait until the end of this."""
    came: list[int] = []
    with _handled(ENDING, lambda number, _frame: came.append(number)):
        yield
    for number in came[:1]:
        signal.raise_signal(number)


@contextmanager
def shielded() -> Iterator[None]:
    """Let no signal interrupt what ends a server."""
    with _handled(ENDING, signal.SIG_IGN):
        yield


@contextmanager
def _handled(
    numbers: Sequence[int],
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
) -> Iterator[None]:
    """Another handler meanwhile; only the main thread can set one, others are never asked."""
    before = {}
    with suppress(ValueError):
        for number in numbers:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind((LOCALHOST, 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def wait_until_ready(server: Server, port: int, path: str, seconds: float, what: str) -> float:
    """Wait until a server answers 200; returns how many seconds that took.

    Raises:
        StackFailed: it ended, or was not ready in time.
    """
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        server.check(what)
        if answers(port, path):
            return time.monotonic() - began
        time.sleep(0.1)
    raise StackFailed(f"{what} was not ready after {seconds:.0f} s: {server.last_lines()}")


def answers(port: int, path: str) -> bool:
    """Whether a server on the loopback answers 200."""
    connection = HTTPConnection(LOCALHOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
