"""Windows back to back, whether or not anybody comes: LitServe's loop."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import largest_or, within
from .space import Size, Space, Time


class CollectionWindow(NamedTuple):
    """Collect for ``max_wait_ns`` from when the server became free, then serve who came.

    An idle server opens a window when it becomes idle and the next one when that ends without
    anybody, so that a lone request waits for what is left of a window: anything up to
    ``max_wait_ns``, half of it in the mean.  A window ends early with ``max_batch_size``.  A wait
    of 0 takes what is there.

    This is LitServe (``collate_requests`` of ``litserve/loops/base.py``, ``batch_timeout``).  With
    several servers all that wait go to the one whose window ends first; LitServe's workers share
    them out one by one, in smaller batches.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_wait_ms", zero=True))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> CollectionWindow:
        """Check the parameters against the profile's largest batch."""
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def decide(self, view: View) -> int:
        """Fire when the window that the oldest request fell into has ended, or is full."""
        waiting = view.waiting[0]
        if waiting >= self.max_batch_size or self.max_wait_ns == 0:
            return fire(view, 0, min(waiting, self.max_batch_size))
        since_ns = max(0, view.oldest_ns[0] - view.idle_since_ns)
        opened_ns = view.idle_since_ns + since_ns // self.max_wait_ns * self.max_wait_ns
        due_ns = later(opened_ns, self.max_wait_ns)
        if view.now_ns >= due_ns:
            return fire(view, 0, waiting)
        return wait_until(due_ns)
