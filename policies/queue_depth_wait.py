"""A timer that grows shorter as the queue grows longer."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import largest_or, within
from .space import Size, Space, Time


class QueueDepthWait(NamedTuple):
    """Wait less the more requests wait: all of ``max_wait_ns`` for one, nothing for a full batch.

    The wait, counted from the arrival of the oldest request, falls linearly with the queue:
    ``max_wait_ns * (max_batch_size - waiting) / (max_batch_size - 1)``.
    """

    max_batch_size: int
    max_wait_ns: int

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_wait_ms", zero=True))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> QueueDepthWait:
        """Check the parameters against the profile's largest batch."""
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def decide(self, view: View) -> int:
        """Fire a full batch, or what waits when the timer for this depth has run out."""
        missing = self.max_batch_size - view.waiting[0]
        if missing <= 0:
            return fire(view, 0, self.max_batch_size)
        # Whole steps and the rest apart: the product max_wait_ns * missing could overflow.
        steps = self.max_batch_size - 1
        rest_ns = self.max_wait_ns % steps * missing // steps
        due_ns = later(view.oldest_ns[0], self.max_wait_ns // steps * missing + rest_ns)
        if view.now_ns >= due_ns:
            return fire(view, 0, view.waiting[0])
        return wait_until(due_ns)
