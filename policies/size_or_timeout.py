"""Fire when enough requests wait, or when the oldest has waited long enough.

Minimum size, maximum size and wait are one rule.
"""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import within
from .space import Part, Size, Space, Time


class SizeOrTimeout(NamedTuple):
    """Dispatch ``min(queue, max_batch_size)`` once enough wait or the timer has run out.

    Enough is ``min_batch_size``; 0 stands for ``max_batch_size``: a full batch or the timer.
    The timer runs from the arrival of the oldest request, also while every server is busy (Triton's
    ``max_queue_delay_microseconds``); with ``from_idle`` it starts no earlier than the server
    became idle, as on stacks whose batcher takes requests only then (see ``timer_from_pick``).
    """

    max_batch_size: int
    max_wait_ns: int
    min_batch_size: int = 0
    from_idle: bool = False

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Size("max_batch_size"),
            Time("max_wait_ms", zero=True),
            Part("min_batch_size", of="max_batch_size"),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> SizeOrTimeout:
        """Check the parameters against the profile's largest batch."""
        within("max_batch_size", self.max_batch_size, 1, service_ns.shape[0])
        within("max_wait_ns", self.max_wait_ns, 0)
        smallest = within("min_batch_size", self.min_batch_size, 0, self.max_batch_size)
        return self._replace(min_batch_size=smallest or self.max_batch_size)

    def decide(self, view: View) -> int:
        """Fire when enough wait or the timer has run out."""
        waiting = view.waiting[0]
        start_ns = view.oldest_ns[0]
        if self.from_idle:
            start_ns = max(start_ns, view.idle_since_ns)
        due_ns = later(start_ns, self.max_wait_ns)
        if waiting >= self.min_batch_size or view.now_ns >= due_ns:
            return fire(view, 0, min(waiting, self.max_batch_size))
        return wait_until(due_ns)
