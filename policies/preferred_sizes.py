"""Triton's dynamic batcher: preferred sizes go at once, anything goes when the delay is over."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import NO_VALUES, largest_or, require, whole_array, within
from .space import Part, Size, Space, Time


class PreferredSizes(NamedTuple):
    """Dispatch the largest preferred size that waits, or all when the oldest has waited too long.

    This is Triton's dynamic batcher for requests of one row (``GetDynamicBatch`` in
    ``dynamic_batch_scheduler.cc``) where it does not form batches ahead, which
    ``allow_timeout_override`` turns off; ``max_wait_ns`` is its ``max_queue_delay_microseconds``:

    - While the delay of the oldest request is not over, the largest preferred size that is waiting
      goes at once, so that a small preferred size starves a large one.
    - When it is over, everything up to ``max_batch_size`` goes, preferred or not.
    - With a delay of 0 nothing waits, and a preferred size only caps the batch.

    No preferred size stands for ``[max_batch_size]``, as in Triton.
    """

    preferred_batch_size: IntArray = NO_VALUES
    """int64 (sizes,), in any order."""
    max_batch_size: int = 0
    max_wait_ns: int = 0

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Size("max_batch_size"),
            Time("max_wait_ms", zero=True),
            Part("preferred_batch_size", of="max_batch_size"),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> PreferredSizes:
        """Check the parameters as Triton does when it loads a model."""
        largest = largest_or(self.max_batch_size, service_ns)
        preferred = whole_array("preferred_batch_size", self.preferred_batch_size)
        if preferred.size == 0:
            preferred = whole_array("preferred_batch_size", largest)
        require(
            bool(preferred.min() >= 1 and preferred.max() <= largest),
            f"1 <= preferred_batch_size <= {largest}",
            preferred_batch_size=preferred.tolist(),
        )
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(preferred_batch_size=preferred, max_batch_size=largest)

    def decide(self, view: View) -> int:
        """See the class."""
        pending = min(view.waiting[0], self.max_batch_size)
        due_ns = later(view.oldest_ns[0], self.max_wait_ns)
        if self.max_wait_ns == 0 or view.now_ns < due_ns:
            best = 0
            for size in self.preferred_batch_size:
                if best < size <= pending:
                    best = size
            if best > 0:
                return fire(view, 0, best)
            if self.max_wait_ns > 0:
                return wait_until(due_ns)
        return fire(view, 0, pending)
