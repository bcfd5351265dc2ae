"""A server of a live run: a process of its own that serves one batch at a time.

1. The process opens what serves (a model, a function, an emulation), says what it is, and then
   answers each batch with how long it took inside.  Only lengths go in: a model makes its own
   inputs of these lengths.
2. Garbage collection is off in it, and Ctrl-C is left to the parent.  An emulation, which sleeps,
   goes before ordinary processes where the system allows it; a model, which computes, does not.
3. Whatever goes wrong there arrives here as a :class:`WorkerError` of one sentence.
"""

from __future__ import annotations

import gc
import json
import os
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

from profiles.runner import ModelError, OutOfMemory, Served

from .child import Child
from .emulated import EmulatedOpening
from .tensors import Group
from .timing import deaf, fine_timers, now_ns, pin, urgent

READY, DONE, FAILED = b"R", b"D", b"F"
OPENING_S = 300.0
"""A model may be compiled, or its weights read from a slow disk."""


class WorkerError(RuntimeError):
    """A server cannot serve; the text is one sentence that says why."""


class Serving(Protocol):
    """What runs in the worker's process: a part of :class:`profiles.runner.Runner`."""

    def about(self) -> Mapping[str, Any]:
        """What it is, as plain data."""
        ...

    def serve(self, lengths: Sequence[int]) -> Served:
        """Serve one batch."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Opening(Protocol):
    """How to open it there; has to be picklable."""

    def open(self, server: int) -> Serving:
        """Called once in the worker's process."""
        ...


@dataclass(frozen=True)
class ModelOpening:
    """A model as :func:`profiles.models.open_runner` knows it."""

    model: str
    device: str = "cpu"
    precision: str = "fp32"
    mode: str = "eager"
    threads: int = 1
    seed: int = 0
    each_its_own: bool = False
    """Whether each server has a GPU of its own, those from ``device:0`` on."""

    def open(self, server: int) -> Serving:
        """Load it."""
        from profiles.models import open_runner

        device = f"{self.device}:{server}" if self.each_its_own else self.device
        return open_runner(
            self.model, device=device, precision=self.precision, mode=self.mode,
            threads=self.threads, seed=self.seed,
        )  # fmt: skip


@dataclass(frozen=True)
class FunctionOpening:
    """Any function of a list of lengths, defined at the top of a module."""

    infer: Callable[[list[int]], Any]

    def open(self, server: int) -> Serving:
        """Nothing to load."""
        return _Function(self.infer)


class _Function:
    def __init__(self, infer: Callable[[list[int]], Any]) -> None:
        self.infer = infer

    def about(self) -> Mapping[str, Any]:
        return {"model": getattr(self.infer, "__qualname__", repr(self.infer))}

    def serve(self, lengths: Sequence[int]) -> Served:
        began_ns = now_ns()
        self.infer(list(lengths))
        return Served(now_ns() - began_ns, None)

    def close(self) -> None:
        pass


class Answer(NamedTuple):
    """What a worker says of a batch."""

    place: int
    """Of the batch in its run."""
    wall_ns: int
    """Of the call, without the way to the worker and back."""
    device_ns: int
    """-1 where the device has no clock of its own."""
    cpu_ns: int
    """Processor time of the worker's process."""
    outputs: Sequence[Group] = ()
    """Of each request, where it was given data (:mod:`sim.answering`)."""
    failure: str = ""
    """Why the batch failed, where its worker goes on."""


class Worker:
    """The parent's side."""

    def __init__(
        self,
        server: int,
        opening: Opening,
        chosen_cores: Sequence[int] = (),
        *,
        spins: bool = False,
        life: Callable[..., None] | None = None,
    ) -> None:
        """Start the process.

        Args:
            server: its number.
            opening: what to open there.
            chosen_cores: those that it keeps to; none: all.
            spins: never sleep while idle, so that the core neither slows down nor has to be woken
                up; for a server that has its core alone.
            life: what the process does; None: :func:`work`.
        """
        self.server = server
        self.child = Child(life or work, opening, server, list(chosen_cores), spins)
        self.connection = self.child.connection
        self._about: dict[str, Any] | None = None

    def about(self) -> dict[str, Any]:
        """What serves there; waits until it is open.

        Raises:
            WorkerError: it cannot be opened.
        """
        if self._about is None:
            if not self.connection.poll(OPENING_S):
                raise WorkerError(f"server {self.server} is not ready after {OPENING_S:.0f} s")
            self._about = json.loads(self._message(READY))
        return self._about

    def fileno(self) -> int:
        """Readable when a batch is done."""
        return self.connection.fileno()

    def start(self, place: int, lengths: Sequence[int], groups: Sequence[Group] = ()) -> None:
        """Send a batch.

        Raises:
            WorkerError: the worker has died.
        """
        assert not groups, "this worker takes lengths alone"
        try:
            self.connection.send_bytes(array("q", (place, *lengths)).tobytes())
        except OSError as error:
            raise self.died() from error

    def answer(self) -> Answer:
        """The next answer; waits for it.

        Raises:
            WorkerError: the batch failed there, or the worker has died.
        """
        place, wall_ns, device_ns, cpu_ns = array("q", self._message(DONE))
        return Answer(place, wall_ns, device_ns, cpu_ns)

    def hanging(self, waited_ns: int) -> WorkerError:
        """What to say when no answer comes."""
        return WorkerError(
            f"server {self.server} has not answered for {waited_ns / 1e9:.0f} s, so it is given up"
        )

    def close(self) -> None:
        """End the process."""
        self.child.close()

    def received(self) -> bytes:
        """The next message, whatever its kind; waits for it.

        Raises:
            WorkerError: the worker says why it ends, or has died.
        """
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self.died() from error
        if message[:1] == FAILED:
            raise WorkerError(message[1:].decode())
        return message

    def _message(self, kind: bytes) -> bytes:
        message = self.received()
        assert message[:1] == kind, f"unexpected answer {message[:1]!r}"
        return message[1:]

    def died(self) -> WorkerError:
        """How its process ended."""
        code = self.child.exit_code()
        how = "is silent" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by signal {-code}"
        return WorkerError(f"the process of server {self.server} {how} before its answer")


def work(
    connection: Connection,
    opening: Opening,
    server: int,
    chosen_cores: Sequence[int],
    spins: bool = False,
) -> None:
    """The worker's own life: open, say so, serve until the parent hangs up."""
    serving = opened(connection, opening, server, chosen_cores)
    if serving is None:
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while True:
            while spins and not connection.poll(0):
                pass
            place, *lengths = array("q", connection.recv_bytes())
            cpu_ns = time.process_time_ns()
            served = serving.serve(lengths)
            device_ns = -1 if served.device_ns is None else served.device_ns
            spent_ns = time.process_time_ns() - cpu_ns
            answer = array("q", (place, served.wall_ns, device_ns, spent_ns))
            connection.send_bytes(DONE + answer.tobytes())
    except (EOFError, ConnectionError):
        serving.close()
    except Exception as error:  # noqa: BLE001 - a function of the user's may raise anything
        _say(connection, error)


def opened(
    connection: Connection,
    opening: Opening,
    server: int,
    chosen_cores: Sequence[int] = (),
    more: Callable[[Serving], Mapping[str, Any]] = lambda _: {},
) -> Serving | None:
    """Open what serves, and say what it is; None, and a sentence, where it cannot be opened."""
    deaf()
    fine_timers()
    pin(chosen_cores)
    urgent(wanted=isinstance(opening, EmulatedOpening))
    try:
        serving = opening.open(server)
        about = {**serving.about(), "pid": os.getpid(), "cores": list(chosen_cores)}
        connection.send_bytes(READY + json.dumps({**about, **more(serving)}, default=str).encode())
    except (ModelError, OutOfMemory, ImportError, OSError, ValueError) as error:
        _say(connection, error)
        return None
    return serving


def sentence_of(error: BaseException) -> str:
    """What went wrong there, on one line."""
    known = isinstance(error, ModelError | OutOfMemory)
    reason = next(iter(str(error).splitlines()), "")
    return reason if known else f"the model raised {type(error).__name__}: {reason}"


def _say(connection: Connection, error: BaseException) -> None:
    try:
        connection.send_bytes(FAILED + sentence_of(error).encode())
    except OSError:
        return
