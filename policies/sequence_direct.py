"""Triton's sequence batcher, strategy ``direct``: a batch has a place for each slot of a server."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import largest_or, require, within
from .space import Real, Size, Space, Time

IDLE_NS = 1_000_000_000
"""Triton's own: ``SEQUENCE_IDLE_DEFAULT_MICROSECONDS`` of ``constants.h`` is a second."""


class SequenceDirect(NamedTuple):
    """Keep each sequence in one place of one server's batch; take the next request of every one.

    A server has ``max_batch_size`` slots, and a sequence holds one from its first request to its
    last: a batch costs as much as one that is full up to the last slot in use.  It goes at once, or
    with ``max_wait_ns`` once ``min_slot_utilization`` of the slots have a request, or the oldest of
    those that are due has waited that long since it arrived.  A sequence that sends nothing for
    ``max_idle_ns`` loses its slot; new ones wait for one.

    This is ``sequence_batching { direct { } }`` (``DirectSequenceBatch`` of
    ``sequence_batch_scheduler.cc``): ``max_queue_delay_microseconds``,
    ``minimum_slot_utilization`` and ``max_sequence_idle_microseconds``.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    min_slot_utilization: float = 0.0
    max_idle_ns: int = IDLE_NS

    @property
    def places(self) -> bool:
        """A batch has one for each slot."""
        return True

    @property
    def slots(self) -> int:
        """One for each place of a batch."""
        return self.max_batch_size

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Size("max_batch_size"),
            Time("max_wait_ms", zero=True),
            Real("min_slot_utilization", 0.0, 1.0),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> SequenceDirect:
        """Check the parameters as Triton does when it loads a model."""
        within("max_wait_ns", self.max_wait_ns, 0)
        within("max_idle_ns", self.max_idle_ns, 1)
        share = self.min_slot_utilization
        require(0.0 <= share <= 1.0, "0 <= min_slot_utilization <= 1", min_slot_utilization=share)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def decide(self, view: View) -> int:
        """See the class."""
        due = min(view.waiting[0], self.max_batch_size)
        due_ns = later(view.oldest_ns[0], self.max_wait_ns)
        enough = due / self.max_batch_size >= self.min_slot_utilization
        if enough or view.now_ns >= due_ns:
            return fire(view, 0, due)
        return wait_until(due_ns)
