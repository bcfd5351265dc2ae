"""An asyncio loop on a clock of its own: a stack's batcher runs on exact instants, without waiting.

1. The clock is a fraction of seconds, a whole number of ns: sums of waits are exact.
2. It jumps to the next timer when nothing is left to do, and stands still otherwise.
3. A model that blocks lets time pass while nothing else runs (:meth:`VirtualLoop.block`).
"""

import asyncio
import selectors
from fractions import Fraction

SECOND_NS = 10**9


def seconds(ns: int) -> Fraction:
    """Exactly."""
    return Fraction(int(ns), SECOND_NS)


def snapped(instant) -> Fraction:
    """The nearest whole ns: what a stack adds up in floats is not exact."""
    return seconds(round(instant * SECOND_NS))


class JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: the clock jumps instead."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout=None):
        events = super().select(0)
        if timeout and not events:
            self.clock.now += snapped(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock that jumps from timer to timer."""

    def __init__(self) -> None:
        self.now = Fraction(0)
        super().__init__(JumpingSelector(self))
        self._clock_resolution = seconds(1)  # asyncio takes what is due before now plus this

    def time(self) -> Fraction:
        return self.now

    @property
    def now_ns(self) -> int:
        return int(self.now * SECOND_NS)

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(snapped(when), callback, *args, context=context)

    def block(self, ns: int) -> None:
        """Time passes in which the loop does nothing."""
        self.now += seconds(ns)


def run(loop: VirtualLoop, arrivals_ns, request) -> None:
    """Call ``request(i)`` at every arrival and wait until the last has its answer."""
    tasks = []

    async def all_served() -> None:
        asyncio.set_event_loop(loop)
        while len(tasks) < len(arrivals_ns):
            await asyncio.sleep(1)
        await asyncio.gather(*tasks, return_exceptions=True)

    for i, instant_ns in enumerate(arrivals_ns):
        loop.call_at(seconds(instant_ns), lambda i=i: tasks.append(loop.create_task(request(i))))
    loop.run_until_complete(all_served())
