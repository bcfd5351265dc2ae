"""Batches closed by size or timer whether or not a server is free: Ray Serve's ``@serve.batch``."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NEVER, IntArray, Tier, View, fire, later, wait, wait_until
from .parameters import largest_or, within
from .space import Size, Space, Time


class SealedBatches(NamedTuple):
    """Close a batch when ``max_batch_size`` are in it, or ``max_wait_ns`` after its first request.

    The batcher takes the first request as soon as it is there and the batch before is closed, and
    starts the timer then.  It does not look at the servers: a batch that is closed while all are
    busy waits for one, in order, and never grows.  So batches are as large as the wait makes them,
    about ``rate x wait + 1``, however long the queue is, and a wait of 0 makes batches of one
    (except of those that come at one instant).

    This is Ray Serve (``_BatchQueue`` of ``ray/serve/batching.py``, with an async function;
    ``max_concurrent_batches`` are its servers) and MLServer with parallel workers.  With
    ``max_ongoing_requests`` no more than so many are batched or run, and the others wait outside,
    in Ray Serve's router; 0 is no limit.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    max_ongoing_requests: int = 0

    @property
    def seals(self) -> int:
        """Any number of closed batches may wait."""
        return NEVER

    @property
    def memory_slots(self) -> int:
        """When there was room again, after the limit had been reached."""
        return 1

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_wait_ms", zero=True))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> SealedBatches:
        """Check the parameters against the profile's largest batch."""
        within("max_wait_ns", self.max_wait_ns, 0)
        within("max_ongoing_requests", self.max_ongoing_requests, 0)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            max_ongoing_requests=self.max_ongoing_requests or NEVER,
        )

    def observe(self, view: View) -> None:
        """Note when there is room again."""
        ongoing = view.sealed_requests + view.size.sum()
        if ongoing + view.finished_size >= self.max_ongoing_requests:
            view.memory[0] = view.now_ns

    def decide(self, view: View) -> int:
        """Close a full batch, or what is there when the timer has run out."""
        room = self.max_ongoing_requests - view.sealed_requests - view.size.sum()
        inside = min(view.waiting[0], self.max_batch_size, room)
        if inside <= 0:
            return wait()
        taken_ns = max(view.oldest_ns[0], view.formed_ns, int(view.memory[0]))
        due_ns = later(taken_ns, self.max_wait_ns)
        if inside == self.max_batch_size or view.now_ns >= due_ns:
            return fire(view, 0, inside)
        return wait_until(due_ns)
