"""Triton's batcher where it forms batches ahead of an instance, for a model of fixed shapes.

With a delay, without preferred sizes, priorities or time-outs, and with inputs of one shape, the
batcher is not woken by every request (``DynamicBatchScheduler::Enqueue`` of triton-inference-server
/core, 2026-06): only once so many are queued as make a full batch, once the delay of the oldest has
passed, or when the batch ahead is taken.  So rules:

1. The batch ahead is formed when the oldest request has waited for the delay, or when the batch
   before it is taken, if that is later; or as soon as a full batch is there.
2. It holds who is there at that instant.  Requests that come while it waits for an instance do not
   join it, unless a full batch of them has come: then it is filled up.

With inputs of several shapes every request wakes the batcher and joins, which is
``size_or_timeout``.  Without a delay it is ``greedy`` in either case.
"""

from __future__ import annotations

from typing import NamedTuple

from policies.contract import IntArray, Tier, View, fire, later, wait_until
from policies.parameters import within


class FormedAhead(NamedTuple):
    """Take who was there when the batch ahead was formed."""

    max_batch_size: int
    max_wait_ns: int

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> FormedAhead:
        """Check the parameters."""
        within("max_batch_size", self.max_batch_size, 1, service_ns.shape[0])
        within("max_wait_ns", self.max_wait_ns, 0)
        return self

    def decide(self, view: View) -> int:
        """Fire the batch that was formed, or wait until one is."""
        waiting, most = view.waiting[0], self.max_batch_size
        formed_ns = max(view.formed_ns, later(view.oldest_ns[0], self.max_wait_ns))
        size, request = 0, view.head[0]
        while size < min(waiting, most) and view.arrival_ns[request] <= formed_ns:
            size += 1
            request = view.next[request]
        if size == most or waiting - size >= most:
            return fire(view, 0, most)
        if view.now_ns >= formed_ns:
            return fire(view, 0, size)
        return wait_until(formed_ns)
