"""A stack's server at work, and what is measured on it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.loading import echo
from experiments.loading.http_answers import request_bytes
from experiments.loading.sending import Answers, Plan, Sender
from policies.contract import IntArray

from . import Row
from .contract import Command, Wish
from .learned import Past
from .model_files import Logged, logged
from .processes import LOCALHOST, Server, free_ports, serving, wait_until_ready

LOG = "server.log"


class Sent(NamedTuple):
    """What was sent, and what became of it on the client's side."""

    first: int
    """The identity of its first request; the others follow."""
    length: NDArray[np.int32]
    """int32 (N,)."""
    answers: Answers


@dataclass(frozen=True, eq=False)
class Window:
    """N requests that were sent to a server, and the M batches that it made of them.

    Instants are ns from when the first request was due.
    """

    planned_ns: IntArray
    """int64 (N,)."""
    sent_ns: IntArray
    """int64 (N,)."""
    done_ns: IntArray
    """int64 (N,): -1 where there was no answer."""
    good: NDArray[np.bool_]
    """bool (N,): answered 200, and in a batch."""
    length: NDArray[np.int32]
    """int32 (N,)."""
    batch: IntArray
    """int64 (N,): index of its batch; -1: none."""
    begin_ns: IntArray
    """int64 (M,), increasing: when the model began."""
    end_ns: IntArray
    """int64 (M,)."""
    size: IntArray
    """int64 (M,)."""
    instance: IntArray
    """int64 (M,): the process of the model."""
    before: Past = Past()
    """What the server had done before the first request was due."""

    def __len__(self) -> int:
        return len(self.planned_ns)


class Rig:
    """A server that is ready."""

    def __init__(self, server: Server, module: Any, folder: Path, ports: Sequence[int]) -> None:
        self.server, self.module, self.folder, self.ports = server, module, folder, ports
        self.sender = Sender()
        self._next = 0
        self._went_ns: list[IntArray] = []
        """When requests were sent, or should have been, by identity."""
        self._length: list[NDArray[np.int32]] = []

    def send(self, planned_ns: IntArray, length: NDArray[np.int32]) -> Sent:
        """Send requests at instants.

        Args:
            planned_ns: int64 (N,), not decreasing.
            length: int32 (N,).

        Raises:
            StackFailed: the server has ended.
        """
        first, self._next = self._next, self._next + len(length)
        requests = [
            raw(self.module.request(first + place, each), self.ports[0])
            for place, each in enumerate(length.tolist())
        ]
        plan = Plan(LOCALHOST, self.ports[0], planned_ns.tolist(), requests)
        answers = self.sender.run(plan)
        self._went_ns.append(np.where(answers.sent_ns < 0, answers.planned_ns, answers.sent_ns))
        self._length.append(length)
        self.server.check("the server")
        return Sent(first, length, answers)

    def windows(self, sent: Sequence[Sent]) -> list[Window]:
        """Batches and requests of what was sent, brought together by identity."""
        batches = logged(self.folder)
        went_ns, length = np.concatenate(self._went_ns), np.concatenate(self._length)
        return [_window(each, batches, went_ns, length) for each in sent]


def _window(
    sent: Sent, batches: Sequence[Logged], went_ns: IntArray, length: NDArray[np.int32]
) -> Window:
    """What became of requests.

    Args:
        sent: the requests.
        batches: all that the server has made.
        went_ns: int64 (any,), when requests were sent, by identity.
        length: int32 (any,), of requests, by identity.
    """
    first, count = sent.first, len(sent.length)
    mine = [each for each in batches if first <= each.identities[0] < first + count]
    batch = np.full(count, -1, dtype=np.int64)
    for place, each in enumerate(mine):
        batch[np.array(each.identities, dtype=np.int64) - first] = place
    answers = sent.answers
    zero = int(answers.planned_ns[0])
    done = np.where(answers.done_ns < 0, -1, answers.done_ns - zero)
    return Window(
        planned_ns=answers.planned_ns - zero,
        sent_ns=np.where(answers.sent_ns < 0, -1, answers.sent_ns - zero),
        done_ns=done,
        good=answers.good & (batch >= 0),
        length=sent.length,
        batch=batch,
        begin_ns=np.array([each.begin_ns - zero for each in mine], dtype=np.int64),
        end_ns=np.array([each.end_ns - zero for each in mine], dtype=np.int64),
        size=np.array([len(each.identities) for each in mine], dtype=np.int64),
        instance=np.array([each.process for each in mine], dtype=np.int64),
        before=Past.of(batches, went_ns, length.astype(np.int64), zero),
    )


def raw(request: Any, port: int) -> bytes:
    """A stack's request as it goes over the wire."""
    return request_bytes(
        f"{LOCALHOST}:{port}", request.path, request.body, request.content_type, request.method
    )


def module_of(row: Row) -> Any:
    """The module of a stack."""
    return importlib.import_module(f"{__package__}.{row.module}")


@contextmanager
def running(
    row: Row, wish: Wish, folder: Path, python: Path, *, urgent: bool = False
) -> Iterator[Rig]:
    """A stack's server with a model of known cost, ready; it is ended in the end.

    Args:
        row: the stack.
        wish: what it shall do.
        folder: for its files; it must not be there.
        python: the interpreter that has the stack.
        urgent: before all ordinary processes, where the system allows it.

    Raises:
        StackFailed: it did not start, or was not ready in time.
        NotExpressible: the stack cannot do what the policy does.
    """
    module = module_of(row)
    folder = folder.resolve()  # a server has a working directory of its own
    folder.mkdir(parents=True)
    module.write(folder, wish)
    ports = free_ports(module.PORTS)
    command = module.command(folder, python, ports)
    stop = getattr(module, "STOPS", None)
    with serving(command, folder / LOG, stop, urgent=urgent) as server:
        ready = ports[getattr(module, "READY_PORT", 0)]
        wait_until_ready(server, ready, module.READY, row.ready_s, row.title)
        rig = Rig(server, module, folder, ports)
        with rig.sender:
            yield rig


def floor(planned_ns: IntArray, body: bytes, log: Path, *, urgent: bool = False) -> Answers:
    """What the client alone costs: the same instants against a bare server.

    Args:
        planned_ns: int64 (N,), not decreasing.
        body: of every request.
        log: a file for what the server says.
        urgent: as in :func:`running`.

    Raises:
        StackFailed: it did not start.
    """
    (port,), log = free_ports(1), log.resolve()
    command = Command([sys.executable, echo.__file__, str(port)], {})
    with serving(command, log, urgent=urgent) as server, Sender() as sender:
        wait_until_ready(server, port, "/", 30.0, "the echo server")
        request = request_bytes(f"{LOCALHOST}:{port}", "/", body)
        return sender.run(Plan(LOCALHOST, port, planned_ns.tolist(), [request] * len(planned_ns)))
