"""Serve the batch size with the best throughput among those that wait: it needs no parameter."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NO_EDGES, NO_TABLE, IntArray, Tier, View, fire
from .parameters import largest_or
from .planning import planned_ns
from .space import Size, Space


class Snap(NamedTuple):
    """Never wait; of the sizes possible now take the one with most requests per second.

    That is the ``k <= min(queue, max_batch_size)`` with the largest ``k / S(k)``, the larger on
    ties, where ``S(k)`` is the profile's time at the longest length among the first ``k``.  Where
    times rise in steps (padding to powers of two, tiles) it stops at the edge of a step; where they
    are smooth it is greedy.  Fractions are compared as whole numbers, so ties are exact.
    """

    max_batch_size: int = 0
    service_ns: IntArray = NO_TABLE
    length_edges: IntArray = NO_EDGES

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"),)

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Snap:
        """Check the size and take the profile."""
        return Snap(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            service_ns=service_ns.copy(),
            length_edges=length_edges.copy(),
        )

    def decide(self, view: View) -> int:
        """Fire the size with the largest ``k / S(k)``."""
        best = 0
        best_ns = 1
        longest = 0
        request = view.head[0]
        for size in range(1, min(view.waiting[0], self.max_batch_size) + 1):
            longest = max(longest, int(view.length[request]))
            size_ns = planned_ns(self.service_ns, self.length_edges, size, longest)
            if size * best_ns >= best * size_ns:
                best = size
                best_ns = size_ns
            request = view.next[request]
        return fire(view, 0, best)
