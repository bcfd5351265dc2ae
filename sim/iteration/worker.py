"""The engine of a live run: a process of its own that runs one iteration at a time.

1. It opens what computes (a decoder, or an emulation), says what it is, and answers each order with
   how long it took inside and with the tokens that follow.
2. Only numbers go in: who has how many tokens computed.  The texts are in that process.
3. Garbage collection is off in it, and Ctrl-C is left to the parent.  It goes before ordinary
   processes where it only sleeps, or where that is asked for.  Linux stops whoever does so for the
   rest of any second of which it took 95 % (sched(7), ``sched_rt_runtime_us``): then it rests after
   each iteration, before it answers, so that this rest is part of every time that is measured.
4. Whatever goes wrong there arrives here as a :class:`sim.worker.WorkerError` of one sentence.
"""

from __future__ import annotations

import gc
import json
import os
import time
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from profiles.runner import ModelError, OutOfMemory
from sim.child import Child
from sim.timing import deaf, fine_timers, now_ns, pin, urgent
from sim.worker import DONE, FAILED, OPENING_S, READY, WorkerError, _say

from .engines import EmulatedOpening, Engine, Opening
from .orders import BEGIN, Order

REST = 0.08
"""Share of an iteration's time, where the engine goes first and computes."""


class Answer(NamedTuple):
    """What the worker says of an iteration."""

    number: int
    wall_ns: int
    """Of the call, without the way to the worker and back."""
    cpu_ns: int
    """Processor time of the worker's process."""
    tokens: tuple[int, ...]
    """What follows each piece."""


class IterationWorker:
    """The parent's side."""

    def __init__(
        self, opening: Opening, chosen_cores: Sequence[int] = (), *, first: bool = False
    ) -> None:
        """Start the process.

        Args:
            opening: what to open there.
            chosen_cores: those that it keeps to; none: all.
            first: go before ordinary processes, where the system allows it.
        """
        self.child = Child(work, opening, list(chosen_cores), first)
        self.connection = self.child.connection
        self._about: dict[str, Any] | None = None

    def about(self) -> dict[str, Any]:
        """What runs there; waits until it is open.

        Raises:
            WorkerError: it cannot be opened.
        """
        if self._about is None:
            if not self.connection.poll(OPENING_S):
                raise WorkerError(f"the engine is not ready after {OPENING_S:.0f} s")
            self._about = json.loads(self._message(READY))
        return self._about

    def fileno(self) -> int:
        """Readable when an iteration has ended."""
        return self.connection.fileno()

    def begin(self, prompts: Sequence[int]) -> None:
        """A run begins; waits until the engine is ready for it.

        Raises:
            WorkerError: the worker has died.
        """
        self.about()
        self._send(array("q", (BEGIN, *prompts)).tobytes())
        self.answer()

    def start(self, order: Order) -> None:
        """Send an iteration.

        Raises:
            WorkerError: the worker has died.
        """
        self._send(order.packed())

    def answer(self) -> Answer:
        """The next answer; waits for it.

        Raises:
            WorkerError: the iteration failed there, or the worker has died.
        """
        number, wall_ns, cpu_ns, *tokens = array("q", self._message(DONE))
        return Answer(number, wall_ns, cpu_ns, tuple(tokens))

    def hanging(self, waited_ns: int) -> WorkerError:
        """What to say when no answer comes."""
        return WorkerError(
            f"the engine has not answered for {waited_ns / 1e9:.0f} s, so it is given up"
        )

    def close(self) -> None:
        """End the process."""
        self.child.close()

    def _send(self, content: bytes) -> None:
        try:
            self.connection.send_bytes(content)
        except OSError as error:
            raise self._died() from error

    def _message(self, kind: bytes) -> bytes:
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if message[:1] == FAILED:
            raise WorkerError(message[1:].decode())
        assert message[:1] == kind, f"unexpected answer {message[:1]!r}"
        return message[1:]

    def _died(self) -> WorkerError:
        code = self.child.exit_code()
        how = "is silent" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by signal {-code}"
        return WorkerError(f"the process of the engine {how} before its answer")


def work(
    connection: Connection, opening: Opening, chosen_cores: Sequence[int], first: bool = False
) -> None:
    """The worker's own life: open, say so, run iterations until the parent hangs up."""
    deaf()
    fine_timers()
    pin(chosen_cores)
    sleeps = isinstance(opening, EmulatedOpening)
    rest = REST if urgent(wanted=first or sleeps) and not sleeps else 0.0
    try:
        engine = opening.open()
        about = {**engine.about(), "pid": os.getpid(), "cores": list(chosen_cores)}
        about["rest"] = rest
        connection.send_bytes(READY + json.dumps(about, default=str).encode())
    except (ModelError, OutOfMemory, ImportError, OSError, ValueError) as error:
        _say(connection, error)
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while True:
            connection.send_bytes(DONE + _served(engine, array("q", connection.recv_bytes()), rest))
    except (EOFError, ConnectionError):
        engine.close()
    except Exception as error:  # noqa: BLE001 - whatever a model raises is told to the parent
        _say(connection, error)


def _served(engine: Engine, numbers: array[int], rest: float) -> bytes:
    """Carry out an order, and rest; the answer."""
    if numbers[0] == BEGIN:
        engine.begin(numbers[1:].tolist())
        return array("q", (-1, 0, 0)).tobytes()
    began_ns, cpu_ns = now_ns(), time.process_time_ns()
    order = Order.unpacked(numbers.tolist())
    tokens = engine.step(order)
    if rest:
        time.sleep(rest * (now_ns() - began_ns) / 1e9)
    spent = (now_ns() - began_ns, time.process_time_ns() - cpu_ns)
    return array("q", (order.number, *spent, *tokens)).tobytes()
