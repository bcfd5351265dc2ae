"""The SimPy driver of continuous batching: the readable reference, for any rule in plain Python.

Arrivals and iterations are processes that note what happened and ask for a tick; the tick comes
after every normal event of its instant, and asks the rule.
"""

from __future__ import annotations

import simpy

from policies.contract import FIRE, NEVER
from policies.iteration.contract import Rule
from policies.iteration.times import step_ns
from sim.model import DECIDE, Events, Tick

from .serving import Serving
from .station import Iteration, IterationStation
from .trace import TokenTrace
from .workload import TokenWorkload


def run(rule: Rule, workload: TokenWorkload, serving: Serving) -> TokenTrace:
    """Simulate a rule until no event remains.

    Args:
        rule: any rule; it is bound to the engine first.
        workload: who arrives when, and how long prompts and outputs are.
        serving: the engine, and how long its iterations take.

    Raises:
        ValueError: a parameter of the rule is out of range.
        PolicyError: the rule broke the contract.
    """
    model = Model(IterationStation(rule, workload, serving), serving)
    model.env.run()
    return model.station.trace()


def duration_ns(serving: Serving, iteration: Iteration) -> int:
    """Time of an iteration: of its work and its copies, times its noise; at least 1 ns."""
    found = step_ns(
        serving.times,
        float(iteration.prefill),
        float(iteration.sequences),
        float(iteration.context),
        iteration.pairs,
    )
    found += serving.engine.swap_block_ns * iteration.swapped
    return max(1, round(found * float(serving.noise[iteration.number % len(serving.noise)])))


class Model:
    """A station in SimPy's time."""

    def __init__(self, station: IterationStation, serving: Serving) -> None:
        self.station, self.serving = station, serving
        self.env = simpy.Environment(initial_time=0)
        self.tick_ns = -1
        self.alarm_ns = NEVER
        self.env.process(self._arrivals())

    @property
    def now_ns(self) -> int:
        """The instant; SimPy's clock only ever adds integers here."""
        return int(self.env.now)

    def _arrivals(self) -> Events:
        for request, arrival_ns in enumerate(self.station.workload.arrival_ns.tolist()):
            if arrival_ns > self.now_ns:
                yield self.env.timeout(arrival_ns - self.now_ns)
            self.station.arrive(request)
            self._ask_for_tick()

    def _iteration(self, iteration: Iteration) -> Events:
        yield self.env.timeout(duration_ns(self.serving, iteration))
        self.station.complete(self.now_ns)
        self._ask_for_tick()

    def _alarm(self, alarm_ns: int) -> Events:
        yield self.env.timeout(alarm_ns - self.now_ns)
        if self.alarm_ns == alarm_ns:
            self._ask_for_tick()

    def _ask_for_tick(self) -> None:
        if self.tick_ns != self.now_ns:
            self.tick_ns = self.now_ns
            Tick(self.env, DECIDE, self._decide)

    def _decide(self, _: simpy.Event) -> None:
        station = self.station
        if station.iteration is not None or station.idle:
            return
        answer = station.ask(self.now_ns)
        self.alarm_ns = NEVER
        if answer == FIRE:
            self.env.process(self._iteration(station.start(self.now_ns)))
            return
        self.alarm_ns = station.next_question_ns(answer, self.now_ns)
        if self.alarm_ns != NEVER:
            self.env.process(self._alarm(self.alarm_ns))
