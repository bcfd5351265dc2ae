"""Serve what waits as soon as a server is idle: the baseline that is hard to beat."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire
from .parameters import largest_or
from .space import Size, Space


class Greedy(NamedTuple):
    """Dispatch whatever waits, up to ``max_batch_size``, as soon as a server is idle.

    ``max_batch_size = 0`` stands for the profile's largest batch.
    """

    max_batch_size: int = 0

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"),)

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Greedy:
        """Check the size against the profile's largest batch."""
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def decide(self, view: View) -> int:
        """Never wait."""
        return fire(view, 0, min(view.waiting[0], self.max_batch_size))
