"""The load generator of a live run: a process that sends requests on an absolute schedule.

1. Open loops: every request is sent at its planned instant, whatever becomes of those before it; a
   late one is sent at once, and its latency still counts from the plan (no coordinated omission).
2. Closed loops: a client plans its next request from the instant of its answer plus its think
   time.
3. A message is int64 triples: who, planned, sent; instants are ns from the run's origin.
"""

from __future__ import annotations

import gc
import select
from array import array
from collections.abc import Sequence
from heapq import heappop, heappush
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

from .timing import deaf, fine_timers, now_ns, pin, sleep_until
from .worker import GOODBYE_S, WorkerError
from .workload import Workload

JOB, ANSWERS, STOP = 0, 1, 2


class Sent(NamedTuple):
    """A request on its way."""

    who: int
    """Its place in an open loop; the client in a closed one."""
    planned_ns: int
    sent_ns: int


class LoadGenerator:
    """The parent's side; one process for any number of runs."""

    def __init__(self, chosen_cores: Sequence[int] = ()) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=generate, args=(theirs, list(chosen_cores)), daemon=True
        )
        self.process.start()
        theirs.close()

    def begin(self, workload: Workload, origin_ns: int) -> None:
        """Send the requests of a workload, from an instant of the shared clock on."""
        if workload.closed is None:
            self._send(JOB, [origin_ns, 0, *workload.arrival_ns.tolist()])
            return
        think_ns = workload.closed.think_ns
        shape = [origin_ns, think_ns.shape[0], len(workload), think_ns.shape[1]]
        self._send(JOB, shape + think_ns.ravel().tolist())

    def fileno(self) -> int:
        """Readable when requests arrive."""
        return self.connection.fileno()

    def sent(self) -> list[Sent]:
        """The next requests.

        Raises:
            WorkerError: the generator has died.
        """
        try:
            numbers = array("q", self.connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerError("the process of the load generator has died") from error
        return [Sent(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)]

    def answer(self, clients: Sequence[tuple[int, int]]) -> None:
        """Tell clients of a closed loop: (client, instant of the answer)."""
        self._send(ANSWERS, [number for pair in clients for number in pair])

    def stop(self) -> None:
        """Send nothing more of this run."""
        self._send(STOP, [])

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.join(GOODBYE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(GOODBYE_S)

    def _send(self, kind: int, numbers: list[int]) -> None:
        try:
            self.connection.send_bytes(array("q", [kind, *numbers]).tobytes())
        except OSError as error:
            raise WorkerError("the process of the load generator has died") from error


def generate(connection: Connection, chosen_cores: Sequence[int]) -> None:
    """The generator's own life: one job after another, until the parent hangs up."""
    deaf()
    fine_timers()
    pin(chosen_cores)
    gc.disable()
    try:
        while True:
            kind, *numbers = array("q", connection.recv_bytes())
            if kind != JOB:
                continue  # an answer to the run before, which had all it needed
            origin_ns, clients = numbers[:2]
            if clients:
                _closed_loop(connection, origin_ns, numbers[2], _rows(numbers[4:], numbers[3]))
            else:
                _open_loop(connection, origin_ns, numbers[2:])
    except (EOFError, ConnectionError):
        return


def _open_loop(connection: Connection, origin_ns: int, planned_ns: list[int]) -> None:
    place, total = 0, len(planned_ns)
    while place < total:
        sleep_until(origin_ns + planned_ns[place], spin_ns=0)
        instant_ns = now_ns() - origin_ns
        message = array("q")
        while place < total and planned_ns[place] <= instant_ns:
            message.extend((place, planned_ns[place], instant_ns))
            place += 1
        connection.send_bytes(message.tobytes())


def _closed_loop(
    connection: Connection, origin_ns: int, total: int, think_ns: list[list[int]]
) -> None:
    cycle = [1] * len(think_ns)
    coming: list[tuple[int, int]] = []
    for client, row in enumerate(think_ns):
        heappush(coming, (row[0], client))
    sent = 0
    while sent < total:
        wait_s = max(0, origin_ns + coming[0][0] - now_ns()) / 1e9 if coming else None
        if select.select([connection], [], [], wait_s)[0]:
            kind, *numbers = array("q", connection.recv_bytes())
            if kind == STOP:
                return
            for client, answered_ns in zip(numbers[::2], numbers[1::2], strict=True):
                row = think_ns[client]
                heappush(coming, (answered_ns + row[cycle[client] % len(row)], client))
                cycle[client] += 1
        instant_ns = now_ns() - origin_ns
        message = array("q")
        while coming and coming[0][0] <= instant_ns and sent < total:
            planned_ns, client = heappop(coming)
            message.extend((client, planned_ns, instant_ns))
            sent += 1
        if message:
            connection.send_bytes(message.tobytes())


def _rows(numbers: list[int], width: int) -> list[list[int]]:
    return [numbers[i : i + width] for i in range(0, len(numbers), width)]


__all__ = ["LoadGenerator", "Sent", "generate"]
