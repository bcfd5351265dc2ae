"""Servers, load generator and scheduler of a live run, and what is measured with them.

1. The scheduler (this process), the generator and the servers keep to cores of their own where
   there are enough, and go before ordinary processes where the system allows it (servers that
   compute do not).
2. Calibration, sentinel and windows take the same way through the same processes.
3. A call outside a window meets the server as it is in one: it follows a batch of one, which leaves
   other things in the caches than a large one, and as often an idle time, in which clocks may fall
   and caches become another's.  Where there are several servers the others go on meanwhile, one
   batch at a time, so that the scheduler is no colder than in a window.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from policies.contract import IntArray, Policy
from profiles.measure import quiet_memory
from sim.load_generator import Load, LoadGenerator, OwnSchedule
from sim.service import Service
from sim.timing import cores, now_ns, pin, shared_out, sleep_until, urgent
from sim.trace import Trace
from sim.wall import Alone, Readings, run_live
from sim.worker import Opening, Worker
from sim.workload import Workload

from .shapes import Shape

WARM_CALLS = 2
"""Of each shape, before anything counts: a new shape may allocate and choose kernels."""


class Trip(NamedTuple):
    """One calibrating call, from the scheduler to the server and back."""

    batch_size: int
    length: int
    block: int
    start_ns: int
    took_ns: int
    idle_ns: int
    """How long the server was idle before."""
    server: int = 0


@dataclass(frozen=True)
class Pace:
    """What comes before a call outside a window."""

    pool: IntArray
    """int64 (N,): lengths of requests."""
    idle_share: float
    """How often the server is idle before a batch."""
    idle_ns: float
    """Mean of the exponential idle time then."""
    rng: np.random.Generator

    @property
    def mean_idle_ns(self) -> float:
        """Over all calls."""
        return self.idle_share * self.idle_ns

    def single(self) -> Shape:
        """A batch of one, of any length that requests have."""
        return 1, int(self.rng.choice(self.pool))

    def idle(self) -> int:
        """How long the server is to be idle, ns."""
        idles = self.rng.random() < self.idle_share
        return int(self.rng.exponential(self.idle_ns)) if idles else 0


class Rig:
    """Everything that a live run needs, open until the end of a ``with``."""

    def __init__(self, opening: Opening, service: Service, *, spins: bool) -> None:
        """Start the processes.

        Args:
            opening: how each server opens what it serves with.
            service: what is thought of the servers; as many are started.
            spins: whether an idle server may spin, which it does where it has a core of its own.
        """
        self._before, self.service, servers = cores(), service, service.servers
        own, theirs = shared_out(servers)
        alone = len(self._before) > servers
        pin(own[:1])
        self.workers: list[Worker] = []
        self.load: Load = OwnSchedule()
        try:
            if len(own) > 1:
                self.load = LoadGenerator(own[1:], spins=True)
            for server, chosen in enumerate(theirs):
                self.workers.append(Worker(server, opening, chosen, spins=spins and alone))
            self.about = [worker.about() for worker in self.workers]
            urgent()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.close()

    def close(self) -> None:
        """End all processes, and give the cores back."""
        for worker in self.workers:
            worker.close()
        self.load.close()
        pin(self._before)
        urgent(wanted=False)

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        """Call every shape on every server, and forget it."""
        for shape in shapes:
            for worker in self.workers:
                for _ in range(WARM_CALLS):
                    Alone(worker, self.service, shape).serve()

    def calibrate(self, block: int, calls: Mapping[Shape, int], pace: Pace) -> list[Trip]:
        """Call every shape as often as asked, in random order, servers of a profile in turn."""
        trips: list[Trip] = []
        kinds = self.service.grouping.profiles.tolist()
        turns = [
            cycle([worker for worker in self.workers if kinds[worker.server] == kind])
            for kind in sorted(set(kinds))
        ]
        wanted = [
            (shape, turn) for turn in turns for shape, count in calls.items() for _ in range(count)
        ]
        with quiet_memory():
            for place in pace.rng.permutation(len(wanted)):
                shape, turn = wanted[place]
                worker = next(turn)
                before = Alone(worker, self.service, pace.single())
                call = Alone(worker, self.service, shape)
                before.serve()
                trips.append(self._trip(call, block, pace))
        return trips

    def sentinel(self, calls: int, pace: Pace) -> list[Trip]:
        """Call batches of one, one server after the other, each right after a call of its own."""
        servers = len(self.workers)
        each = -(-calls // servers)
        singles = [
            [Alone(worker, self.service, pace.single()) for _ in range(1 + each)]
            for worker in self.workers
        ]
        trips: list[Trip] = []
        with quiet_memory():
            for first, *counted in singles:
                first.serve()
                trips += [self._trip(call, -1, pace) for call in counted]
        return trips

    def window(
        self, policy: Policy, workload: Workload, service: Service
    ) -> tuple[Trace, Readings]:
        """One live run."""
        with quiet_memory():
            return run_live(policy, workload, service, self.workers, self.load)

    def _trip(self, call: Alone, block: int, pace: Pace) -> Trip:
        """One call after an idle time; the server's last batch has just ended.

        It was made ready before, so that the scheduler, too, comes out of an idle time.
        """
        ended_ns = now_ns()
        self._others_go_on(call.worker, ended_ns + pace.idle(), pace)
        start_ns = now_ns()
        took_ns = call.serve()
        idle_ns, server = start_ns - ended_ns, call.worker.server
        return Trip(call.size, call.length, block, start_ns, took_ns, idle_ns, server)

    def _others_go_on(self, worker: Worker, until_ns: int, pace: Pace) -> None:
        """Wait while the other servers get a batch of one now and then, one at a time."""
        others = [other for other in self.workers if other is not worker]
        mean_ns = pace.idle_ns / len(self.workers)
        while others and now_ns() < until_ns:
            next_ns = now_ns() + int(pace.rng.exponential(mean_ns))
            if next_ns >= until_ns:
                break
            sleep_until(next_ns)
            other = others[int(pace.rng.integers(len(others)))]
            Alone(other, self.service, pace.single()).serve()
        sleep_until(until_ns)


def load_average() -> float | None:
    """Of the last minute, where the system knows it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def described(about: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the servers are: that of the first, and on how many cores they are together."""
    alike = {key: value for key, value in about[0].items() if key not in ("pid", "cores")}
    if len(about) == 1:
        return alike
    together = {core for one in about for core in one["cores"]}
    return {**alike, "servers": len(about), "server_cores": len(together)}
