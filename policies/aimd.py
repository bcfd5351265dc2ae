"""Clipper's adaptive batching: probe upwards step by step, back off when a batch was too slow."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import largest_or, require, tightest_slo_ns, within
from .space import Real, Size, Space, Time

EXTRA = 0
"""Cell of ``view.memory``: the batch limit less 1 (memory starts at 0, the limit at 1)."""


class Aimd(NamedTuple):
    """Learn the batch limit from an SLO: up by a step while batches meet it, down by a factor.

    Crankshaw et al., Clipper, NSDI 2017, section 4.3.1.  After each batch that took longer than
    ``slo_ns`` the limit is multiplied by ``decrease``; after each batch that met it and was as
    large as the limit, ``increase`` is added.  (A smaller batch says nothing about a larger one.)
    As in Clipper the objective is held against the service time of the batch, without the wait, so
    that it has to leave room for queueing.  ``slo_ns = 0`` stands for the tightest tier's SLO.
    ``max_wait_ns`` is Clipper's delayed batching (section 4.3.2): how long the oldest request may
    wait for a batch at the limit; 0 never waits.
    """

    slo_ns: int = 0
    max_batch_size: int = 0
    max_wait_ns: int = 0
    increase: float = 1.0
    decrease: float = 0.9

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Time("slo_ms", low=1.0),
            Size("max_batch_size"),
            Time("max_wait_ms", zero=True),
            Real("decrease", 0.3, 0.95),
        )

    @property
    def memory_slots(self) -> int:
        """One cell, the batch limit less 1."""
        return 1

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Aimd:
        """Check the parameters and take the SLO from the tiers where none is given."""
        require(self.increase > 0, "increase > 0", increase=self.increase)
        require(0 < self.decrease < 1, "0 < decrease < 1", decrease=self.decrease)
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(
            slo_ns=tightest_slo_ns(self.slo_ns, tiers),
            max_batch_size=largest_or(self.max_batch_size, service_ns),
        )

    def observe(self, view: View) -> None:
        """Learn from the batch that has just finished."""
        limit = view.memory[EXTRA] + 1.0
        if view.finished_service_ns > self.slo_ns:
            limit = max(1.0, limit * self.decrease)
        elif view.finished_size >= int(limit):
            limit = min(float(self.max_batch_size), limit + self.increase)
        view.memory[EXTRA] = limit - 1.0

    def decide(self, view: View) -> int:
        """Fire up to the limit; wait at most ``max_wait_ns`` to reach it."""
        limit = int(view.memory[EXTRA] + 1.0)
        waiting = view.waiting[0]
        due_ns = later(view.oldest_ns[0], self.max_wait_ns)
        if waiting >= limit or view.now_ns >= due_ns:
            return fire(view, 0, min(waiting, limit))
        return wait_until(due_ns)
