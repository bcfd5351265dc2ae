"""A world of iterations on a virtual clock: the live driver without waiting, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from policies.contract import NEVER

from .live import Gone
from .model import duration_ns
from .serving import Serving
from .station import Iteration
from .workload import TokenWorkload


class VirtualWorld:
    """Requests of a workload, and an engine that takes the given times."""

    def __init__(self, workload: TokenWorkload, serving: Serving) -> None:
        self.arrival_ns = workload.arrival_ns.tolist()
        self.serving = serving
        self.now_ns, self.taken, self.finish_ns = 0, 0, NEVER

    @property
    def ended(self) -> bool:
        """All have arrived."""
        return self.taken == len(self.arrival_ns)

    def wait(self, until_ns: int) -> tuple[int, bool]:
        """Jump to the next event."""
        self.now_ns = min(until_ns, self.finish_ns, self._next_ns())
        assert self.now_ns != NEVER, "nothing can happen any more"
        done = self.finish_ns == self.now_ns
        if done:
            self.finish_ns = NEVER
        return self.now_ns, done

    def arrivals(self) -> int:
        """All who are due now."""
        before = self.taken
        while self._next_ns() <= self.now_ns:
            self.taken += 1
        return self.taken - before

    def start(self, iteration: Iteration, gone: Sequence[Gone]) -> None:
        """It takes its time."""
        self.finish_ns = self.now_ns + duration_ns(self.serving, iteration)

    def _next_ns(self) -> int:
        return NEVER if self.ended else int(self.arrival_ns[self.taken])
