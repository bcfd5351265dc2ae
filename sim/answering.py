"""A worker that gives outputs: each request's own data go in, and what the model makes of them out.

1. A batch is its lengths, as for any :class:`~sim.worker.Worker`, or the tensors of its requests
   (:mod:`sim.tensors`) where what serves is :class:`profiles.runner.Answering`.  What it takes and
   gives is the ``contract`` of :meth:`~sim.worker.Worker.about`.
2. A batch that fails fails alone, where the worker can go on: a model must then serve a batch of
   its own making, and a function goes on unless it ends the process (``SystemExit``).  A GPU whose
   context is broken never comes back, so such a worker ends, with its reason.
3. It lives for long and runs code of the user's, so garbage is collected.
"""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, cast

import numpy as np

from profiles.runner import Answering, Contract, ModelError, Served, contract_of

from .tensors import Group, Tensor, read, send, tensor_of
from .worker import DONE, Answer, Opening, Serving, Worker, _say, opened, sentence_of

BROKEN = b"B"
"""A batch failed; the worker goes on."""
REFUSED, FAILED_ALONE = 400, 500
"""Statuses of HTTP that a request gets which has no outputs: its own fault, and another's."""
LOST = "AcceleratorError"
"""What torch raises where the device itself failed: nothing that follows can succeed."""
TRACEBACK_NS = 1_000_000_000
"""Tracebacks are written at most so often."""


class Answerer(Worker):
    """The parent's side."""

    def __init__(self, server: int, opening: Opening) -> None:
        super().__init__(server, opening, life=respond)

    def contract(self) -> Contract | None:
        """What its model takes and gives; None: it takes lengths alone.

        Raises:
            WorkerError: it cannot be opened.
        """
        said = self.about().get("contract")
        return None if said is None else contract_of(said)

    def start(self, place: int, lengths: Sequence[int], groups: Sequence[Group] = ()) -> None:
        """Send a batch.

        Args:
            place: of the batch.
            lengths: of its requests.
            groups: the tensors of each, and the names of the outputs that it wants; none: the
                model makes inputs of these lengths itself, and gives no outputs.

        Raises:
            WorkerError: the worker has died.
        """
        try:
            # libuv makes the files that it watches return with a part of a message.
            os.set_blocking(self.fileno(), True)
            send(self.connection, b"", [place, list(lengths)], groups)
        except OSError as error:
            raise self.died() from error

    def answer(self) -> Answer:
        """The next answer, with the outputs or why there are none; waits for it.

        Raises:
            WorkerError: the worker ends, or has died.
        """
        message = self.received()
        if message[:1] == BROKEN:
            return Answer(0, 0, -1, 0, failure=message[1:].decode())
        try:
            (place, wall_ns, device_ns, cpu_ns), groups = read(self.connection, message[1:])
        except (EOFError, OSError) as error:
            raise self.died() from error
        return Answer(place, wall_ns, device_ns, cpu_ns, groups)


def respond(
    connection: Connection,
    opening: Opening,
    server: int,
    chosen_cores: Sequence[int] = (),
    spins: bool = False,  # noqa: ARG001 - as every life of a worker
) -> None:
    """The worker's own life: open, say so, serve until the parent hangs up."""
    serving = opened(connection, opening, server, chosen_cores, _says)
    if serving is None:
        return
    gc.collect()
    gc.freeze()
    life = _Life(connection, serving)
    try:
        while True:
            life.batch()
    except (EOFError, ConnectionError):
        serving.close()
    except Exception as error:  # noqa: BLE001 - a function of the user's may raise anything
        _say(connection, error)


class _Life:
    def __init__(self, connection: Connection, serving: Serving) -> None:
        self.connection, self.serving = connection, serving
        self.written_ns = -TRACEBACK_NS

    def batch(self) -> None:
        """Serve the next one."""
        (place, lengths), asked = read(self.connection, self.connection.recv_bytes())
        cpu_ns = time.process_time_ns()
        try:
            served, outputs = self._served(lengths, asked)
        except Exception as error:
            self._write_traceback()
            if not self._goes_on(error):
                raise
            self.connection.send_bytes(BROKEN + sentence_of(error).encode())
            return
        device_ns = -1 if served.device_ns is None else served.device_ns
        numbers = [place, served.wall_ns, device_ns, time.process_time_ns() - cpu_ns]
        send(self.connection, DONE, numbers, outputs)

    def _served(self, lengths: list[int], asked: Sequence[Group]) -> tuple[Served, list[Group]]:
        if not asked:
            return self.serving.serve(lengths), []
        requests = [{part.name: part.array() for part in parts} for parts, _ in asked]
        wanted = sorted({name for _, names in asked for name in names})
        found, served = cast("Answering", self.serving).respond(requests, wanted)
        return served, [_group(one, names) for one, (_, names) in zip(found, asked, strict=True)]

    def _goes_on(self, error: BaseException) -> bool:
        """Whether it can serve after an error."""
        reason: BaseException | None = error
        while reason is not None:
            if type(reason).__name__ == LOST:
                return False
            reason = reason.__cause__ or reason.__context__
        recovers: Callable[[], bool] = getattr(self.serving, "recovers", lambda: True)
        return recovers()

    def _write_traceback(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self.written_ns >= TRACEBACK_NS:
            self.written_ns = now_ns
            traceback.print_exc()


def _says(serving: Serving) -> dict[str, Any]:
    """What is added to what it says of itself."""
    contract = getattr(serving, "contract", None)
    found = None if contract is None else contract()
    return {} if found is None else {"contract": found}


def _group(found: Any, names: Sequence[str]) -> Group:
    """The outputs of one request, those that it names, or a status and a sentence."""
    if isinstance(found, Exception):
        fault = REFUSED if isinstance(found, ValueError) else FAILED_ALONE
        reason = str(found) if isinstance(found, ModelError | ValueError) else sentence_of(found)
        return (), [fault, " ".join(reason.split()) or type(found).__name__]
    missing = [name for name in names if name not in found]
    if missing:
        given = ", ".join(found) or "nothing"
        return (), [REFUSED, f"there is no output {missing[0]!r}: the model gives {given}"]
    kept = names or list(found)
    tensors: list[Tensor] = [tensor_of(name, np.asarray(found[name])) for name in kept]
    return tensors, None


__all__ = ["Answerer", "respond"]
