"""A world of real time for iterations: one engine, a load that arrives, and one thread between.

Its rules are those of :mod:`sim.wall`: the thread sleeps in one ``select`` and spins for the last
stretch, wakes at every heartbeat, and writes down how late; a request arrived when it was planned
to.  *Noticed* is the instant of the turn that took it in.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.contract import NEVER
from policies.iteration.contract import Rule
from sim.load_generator import Load
from sim.timing import SPIN_NS, fine_timers, now_ns
from sim.wall import HANGING_NS, HEARTBEAT_NS, LEAD_NS
from sim.workload import Workload

from .live import Gone, run
from .orders import order_of
from .serving import Serving
from .station import Iteration
from .trace import TokenTrace
from .worker import Answer, IterationWorker
from .workload import TokenWorkload


@dataclass
class Readings:
    """What the scheduler noted beside the requests."""

    lag_ns: list[int] = field(default_factory=list)
    """Of each request: sent after it was planned."""
    noticed_ns: list[int] = field(default_factory=list)
    """Of each request: the instant of the turn that took it in."""
    late_ns: list[int] = field(default_factory=list)
    """Of each wake-up that nothing but the clock caused: after the instant asked for."""
    answers: list[Answer] = field(default_factory=list)
    """Of each iteration."""
    span_ns: int = 0
    """From the origin to the last turn."""
    pairs: list[float] = field(default_factory=list)
    """Of each iteration: of query and key, in the attention of its prompts."""


class WallWorld:
    """See :mod:`sim.iteration.live`."""

    def __init__(self, workload: TokenWorkload, worker: IterationWorker, load: Load) -> None:
        self.workload, self.worker, self.load = workload, worker, load
        self.readings = Readings()
        self._watched = [*load.files(), worker.fileno()]
        self._started_ns, self._arrived, self._taken = NEVER, 0, 0
        worker.begin(workload.prompt.tolist())
        fine_timers()
        self.origin_ns = now_ns() + LEAD_NS
        load.begin(Workload(workload.prompt, workload.arrival_ns), self.origin_ns)

    @property
    def ended(self) -> bool:
        """All have arrived and were taken in."""
        return self._taken == len(self.workload)

    def wait(self, until_ns: int) -> tuple[int, bool]:
        """Sleep until a file is readable or the instant has come."""
        beat_ns = self._now_ns() + HEARTBEAT_NS
        asked_ns = min(until_ns, self.load.next_ns)
        wanted_ns = min(asked_ns, beat_ns)
        ready = self._select(wanted_ns, spin=asked_ns <= beat_ns)
        instant_ns = self._now_ns()
        self.readings.span_ns = instant_ns
        if not ready and wanted_ns > 0:
            self.readings.late_ns.append(max(0, instant_ns - wanted_ns))
        done = self.worker.fileno() in ready
        if done:
            self.readings.answers.append(self.worker.answer())
            self._started_ns = NEVER
        if self.load.next_ns <= instant_ns or any(file in ready for file in self.load.files()):
            self._receive(instant_ns)
        if instant_ns - self._started_ns > HANGING_NS:
            raise self.worker.hanging(HANGING_NS)
        return max(instant_ns, 0), done

    def arrivals(self) -> int:
        """Those whose message came."""
        arrived, self._arrived = self._arrived, 0
        self._taken += arrived
        return arrived

    def start(self, iteration: Iteration, gone: Sequence[Gone]) -> None:
        """Send the iteration to the engine."""
        self._started_ns = self._now_ns()
        self.readings.pairs.append(float(iteration.pairs))
        self.worker.start(order_of(iteration, gone))

    def _now_ns(self) -> int:
        return now_ns() - self.origin_ns

    def _select(self, wanted_ns: int, *, spin: bool) -> list[int]:
        left_ns = max(0, wanted_ns - self._now_ns() - (SPIN_NS if spin else 0))
        ready = select.select(self._watched, [], [], left_ns / 1e9)[0]
        while not ready and self._now_ns() < wanted_ns:
            ready = select.select(self._watched, [], [], 0)[0]
        return ready

    def _receive(self, instant_ns: int) -> None:
        for sent in self.load.sent(instant_ns):
            self._arrived += 1
            self.readings.lag_ns.append(sent.sent_ns - sent.planned_ns)
            self.readings.noticed_ns.append(max(instant_ns, 0))


def run_live(
    rule: Rule,
    workload: TokenWorkload,
    serving: Serving,
    worker: IterationWorker,
    load: Load,
) -> tuple[TokenTrace, Readings]:
    """Drive a rule in real time: one window.

    Args:
        rule: any rule.
        workload: who is to arrive, in an open loop: nobody waits for an answer to send.
        serving: the engine, and what is known of its times.
        worker: open, idle, with a slot for each sequence of the engine.
        load: idle.

    Raises:
        WorkerError: the engine or the generator failed or died.
        PolicyError: the rule broke the contract.
    """
    world = WallWorld(workload, worker, load)
    return run(rule, workload, serving, world), world.readings
