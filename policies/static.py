"""Batches of one exact size, however long that takes."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, wait
from .parameters import within
from .space import Size, Space


class Static(NamedTuple):
    """Dispatch exactly ``batch_size`` requests, and wait as long as it takes to have them.

    There is no timer: the last requests of a run, fewer than a batch, are never served.
    """

    batch_size: int

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("batch_size"),)

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Static:
        """Check the size against the profile's largest batch."""
        within("batch_size", self.batch_size, 1, service_ns.shape[0])
        return self

    def decide(self, view: View) -> int:
        """Fire a full batch or nothing."""
        if view.waiting[0] >= self.batch_size:
            return fire(view, 0, self.batch_size)
        return wait()
