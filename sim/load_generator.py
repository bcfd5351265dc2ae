"""The load generator of a live run: requests on an absolute schedule.

1. Open loops: every request is sent at its planned instant, whatever becomes of those before it; a
   late one is sent at once, and its latency still counts from the plan (no coordinated omission).
2. Closed loops: a client plans its next request from the instant of its answer plus its think
   time.
3. It is a process of its own where there is a core for it; otherwise the scheduler's thread keeps
   the schedule itself, since two processes on one core only make each other late.
4. A message is int64 triples: planned, who, sent; instants are ns from the run's origin.
"""

from __future__ import annotations

import gc
import select
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol

from policies.contract import NEVER

from .child import Child
from .schedule import Schedule
from .timing import SPIN_NS, deaf, fine_timers, now_ns, pin, sleep_until, urgent
from .worker import WorkerError
from .workload import Workload

JOB, ANSWERS, STOP = 0, 1, 2


class Sent(NamedTuple):
    """A request on its way."""

    planned_ns: int
    who: int
    """Its place in an open loop; the client in a closed one."""
    sent_ns: int


class Load(Protocol):
    """What a live run takes its requests from."""

    @property
    def next_ns(self) -> int:
        """When it has to be asked next; NEVER where it sends messages by itself."""
        ...

    def files(self) -> list[int]:
        """Readable when requests arrive."""
        ...

    def begin(self, workload: Workload, origin_ns: int) -> None:
        """Send the requests of a workload, from an instant of the shared clock on."""
        ...

    def sent(self, now_ns: int) -> list[Sent]:
        """The next requests."""
        ...

    def answer(self, clients: Sequence[int], now_ns: int) -> None:
        """Tell clients of a closed loop that they are answered."""
        ...

    def stop(self) -> None:
        """Send nothing more of this run."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class OwnSchedule:
    """The scheduler's thread keeps the schedule."""

    def __init__(self) -> None:
        self._schedule = Schedule([], [], 0)

    @property
    def next_ns(self) -> int:
        """When the next request is due."""
        return self._schedule.next_ns

    def files(self) -> list[int]:
        """None."""
        return []

    def begin(self, workload: Workload, origin_ns: int) -> None:
        """Plan."""
        self._schedule = Schedule.of(workload)

    def sent(self, now_ns: int) -> list[Sent]:
        """Those who are due."""
        return [Sent(*one, now_ns) for one in self._schedule.due(now_ns)]

    def answer(self, clients: Sequence[int], now_ns: int) -> None:
        """Plan their next requests."""
        for client in clients:
            self._schedule.answer(client, now_ns)

    def stop(self) -> None:
        """Forget the plan."""
        self._schedule = Schedule([], [], 0)

    def close(self) -> None:
        """Nothing is held."""


class LoadGenerator:
    """The parent's side of a process that keeps the schedule, for any number of runs."""

    next_ns = NEVER

    def __init__(self, chosen_cores: Sequence[int] = (), *, spins: bool = False) -> None:
        self.child = Child(generate, list(chosen_cores), spins)
        self.connection = self.child.connection

    def files(self) -> list[int]:
        """Its pipe."""
        return [self.connection.fileno()]

    def begin(self, workload: Workload, origin_ns: int) -> None:
        """Send it the plan.

        Raises:
            WorkerError: the generator has died.
        """
        think_ns = [] if workload.closed is None else workload.closed.think_ns.tolist()
        width = len(think_ns[0]) if think_ns else 0
        flat = [ns for row in think_ns for ns in row]
        head = [origin_ns, len(workload), len(think_ns), width]
        self._send(JOB, [*head, *flat, *workload.arrival_ns.tolist()])

    def sent(self, now_ns: int) -> list[Sent]:
        """The next message.

        Raises:
            WorkerError: the generator has died.
        """
        try:
            numbers = array("q", self.connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerError("the process of the load generator has died") from error
        return [Sent(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)]

    def answer(self, clients: Sequence[int], now_ns: int) -> None:
        """Send the answers back."""
        self._send(ANSWERS, [now_ns, *clients])

    def stop(self) -> None:
        """Send nothing more of this run."""
        self._send(STOP, [])

    def close(self) -> None:
        """End the process."""
        self.child.close()

    def _send(self, kind: int, numbers: list[int]) -> None:
        try:
            self.connection.send_bytes(array("q", [kind, *numbers]).tobytes())
        except OSError as error:
            raise WorkerError("the process of the load generator has died") from error


def generate(connection: Connection, chosen_cores: Sequence[int], spins: bool = False) -> None:
    """The generator's own life: one job after another, until the parent hangs up."""
    deaf()
    fine_timers()
    pin(chosen_cores)
    urgent()
    gc.disable()
    try:
        while True:
            kind, *numbers = array("q", connection.recv_bytes())
            if kind == JOB:  # else an answer to the run before, which had all it needed
                _run(connection, numbers, SPIN_NS if spins else 0)
    except (EOFError, ConnectionError):
        return


def _run(connection: Connection, numbers: list[int], spin_ns: int) -> None:
    origin_ns, total, clients, width = numbers[:4]
    end = 4 + clients * width
    think_ns = [numbers[i : i + width] for i in range(4, end, width)] if width else []
    schedule = Schedule(numbers[end:], think_ns, total)
    while schedule.left:
        if clients and not _listened(connection, schedule, origin_ns, spin_ns):
            return
        if not clients:
            sleep_until(origin_ns + schedule.next_ns, spin_ns)
        instant_ns = now_ns() - origin_ns
        message = array("q")
        for planned_ns, who in schedule.due(instant_ns):
            message.extend((planned_ns, who, instant_ns))
        if message:
            connection.send_bytes(message.tobytes())


def _listened(connection: Connection, schedule: Schedule, origin_ns: int, spin_ns: int) -> bool:
    """Take in answers until somebody is due; False where the run is stopped."""
    due_ns = schedule.next_ns
    wait_s = None
    if due_ns != NEVER:
        wait_s = max(0, origin_ns + due_ns - now_ns() - spin_ns) / 1e9
    if not select.select([connection], [], [], wait_s)[0]:
        sleep_until(origin_ns + due_ns, spin_ns)
        return True
    kind, *numbers = array("q", connection.recv_bytes())
    for client in numbers[1:]:
        schedule.answer(client, numbers[0])
    return kind != STOP
