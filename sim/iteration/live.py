"""The live driver of continuous batching: any rule in front of anything that runs iterations.

It owns no clock.  Who arrives, what computes and what time it is, is a ``World``:
:mod:`sim.iteration.virtual` has one whose time is simulated, in which this driver equals the SimPy
model iteration for iteration, and :mod:`sim.iteration.wall` one of a process and real time.  A
turn:

1. wait for the end of the iteration, an arrival, or the instant that the rule asked for;
2. complete the iteration, take in arrivals, ask the rule: the order of
   :mod:`sim.iteration.station`.

What the scheduler takes for a turn is part of the iteration that the turn begins, since an
iteration lasts from the instant of one turn to that of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from policies.contract import FIRE, NEVER
from policies.iteration.contract import Rule

from .serving import Serving
from .station import Iteration, IterationStation
from .trace import TokenTrace
from .workload import TokenWorkload


class Gone(NamedTuple):
    """A sequence that left the batch since the iteration before."""

    request: int
    ended: bool
    """Whether it is answered; otherwise it was put back and comes again."""


class World(Protocol):
    """What is outside the station."""

    @property
    def ended(self) -> bool:
        """Whether nobody will arrive any more."""
        ...

    def wait(self, until_ns: int) -> tuple[int, bool]:
        """Wait for something to happen, until an instant at the latest.

        Returns:
            The instant of this turn, and whether the iteration has ended.
        """
        ...

    def arrivals(self) -> int:
        """How many arrived since the last turn."""
        ...

    def start(self, iteration: Iteration, gone: Sequence[Gone]) -> None:
        """Let an iteration begin."""
        ...


def run(rule: Rule, workload: TokenWorkload, serving: Serving, world: World) -> TokenTrace:
    """Drive a rule until nothing can happen any more.

    Args:
        rule: any rule; it is bound to the engine first.
        workload: who is to arrive; the world says when they do.
        serving: the engine, and what is known of its times.
        world: the requests, the engine and the clock.

    Raises:
        ValueError: a parameter of the rule is out of range, or the engine swaps.
        PolicyError: the rule broke the contract.
    """
    if serving.engine.swaps:
        raise ValueError("a live engine computes again what it lost: swaps must be False")
    station, asked_ns = IterationStation(rule, workload, serving), NEVER
    gone: list[Gone] = []
    while station.iteration is not None or asked_ns != NEVER or not world.ended:
        now_ns, done = world.wait(asked_ns)
        asked_ns = NEVER
        if done:
            gone += _left(station, now_ns)
        for _ in range(world.arrivals()):
            station.arrive(station.arrived)
        if station.iteration is not None or station.idle:
            continue
        answer = station.ask(now_ns)
        if answer != FIRE:
            asked_ns = station.next_question_ns(answer, now_ns)
            continue
        before = list(station.batch)
        iteration = station.start(now_ns)
        there = set(station.batch)
        gone += [Gone(request, ended=False) for request in before if request not in there]
        world.start(iteration, gone)
        gone = []
    return station.trace()


def _left(station: IterationStation, now_ns: int) -> list[Gone]:
    """Complete the iteration; who was answered."""
    before = list(station.batch)
    station.complete(now_ns)
    there = set(station.batch)
    return [Gone(request, ended=True) for request in before if request not in there]
