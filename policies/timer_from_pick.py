"""A timer that starts when a free batcher takes the first request: TorchServe, KServe, MLServer."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, shared, wait_until
from .parameters import largest_or, require, within
from .space import Size, Space, Time


class TimerFromPick(NamedTuple):
    """Dispatch a full batch, or what was taken ``max_wait_ns`` after the first request was.

    A server that becomes idle takes who waits then; what is not full waits for more, however long
    it has waited before.  Of several idle servers one collects at a time.  The clocks of stacks:

    - ``clock_ns``: the wait is counted in whole ticks of a clock, and what is left of it anew
      whenever a request is taken; when nothing is left the batch goes.  So it ends up to a tick
      early or late, and a wait of 0 makes batches of at most two.  TorchServe's ``pollBatch`` has
      ticks of 1 ms (the clock is that of the run, from its origin).
    - ``poll_ns``: the timer is looked at when a request is taken and every ``poll_ns`` after.
      KServe's batcher looks every 0.1 ms.

    MLServer with a model that blocks its loop has neither, nor has Ray Serve with such a function.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    clock_ns: int = 0
    poll_ns: int = 0

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("max_wait_ms", zero=True))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> TimerFromPick:
        """Check the parameters against the profile's largest batch."""
        within("max_wait_ns", self.max_wait_ns, 0)
        within("clock_ns", self.clock_ns, 0)
        within("poll_ns", self.poll_ns, 0)
        both = self.clock_ns > 0 and self.poll_ns > 0
        rule = "clock_ns or poll_ns, not both"
        require(not both, rule, clock_ns=self.clock_ns, poll_ns=self.poll_ns)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def decide(self, view: View) -> int:
        """Fire a full batch, or what is there when the timer has run out."""
        inside = min(view.waiting[0], self.max_batch_size)
        first_ns = max(view.oldest_ns[0], view.idle_since_ns, view.formed_ns)
        if self.clock_ns > 0 and self.max_wait_ns < self.clock_ns:
            return fire(view, 0, min(inside, 2))
        last_ns = first_ns
        if inside == view.waiting[0]:
            last_ns = max(first_ns, view.arrival_ns[view.tail[0]])
        due_ns = later(first_ns, self.max_wait_ns)
        if self.clock_ns > 0:
            due_ns = ticked(first_ns, last_ns, self.max_wait_ns, self.clock_ns)
        elif self.poll_ns > 0 and due_ns > last_ns:
            polls = (due_ns - last_ns - 1) // self.poll_ns + 1
            due_ns = later(last_ns, polls * self.poll_ns)
        if inside == self.max_batch_size or view.now_ns >= due_ns:
            return fire(view, 0, inside)
        return wait_until(due_ns)


@shared
def ticked(first_ns: int, last_ns: int, wait_ns: int, clock_ns: int) -> int:
    """When a wait in whole ticks ends that is counted anew from the last request that was taken.

    Args:
        first_ns: when the first request was taken.
        last_ns: when the last one was.
        wait_ns: the whole wait.
        clock_ns: a tick.
    """
    left = wait_ns // clock_ns - (last_ns // clock_ns - first_ns // clock_ns)
    return later(last_ns, max(0, left) * clock_ns)
