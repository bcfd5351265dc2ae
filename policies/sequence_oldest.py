"""Triton's sequence batcher, strategy ``oldest``: dynamic batches, one request of each sequence."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NEVER, IntArray, Tier, View, fire, later, shared, wait_until
from .parameters import NO_VALUES, largest_or, require, whole_array, within
from .sequence_direct import IDLE_NS
from .space import Part, Size, Space, Time


class SequenceOldest(NamedTuple):
    """Keep each sequence on one server, and batch the requests whose turn it is, oldest first.

    A server has ``max_candidates`` sequences at a time (0: as many as a batch), and a batch takes
    at most one request of each: the next, once the one before is answered and it is ready.  Those
    are batched as by ``preferred_sizes``: a preferred size goes at once, anything up to
    ``max_batch_size`` when the oldest has been ready for ``max_wait_ns``; no preferred size stands
    for ``[max_batch_size]``.  But while the server is busy its next batch is formed ahead, from
    those that are ready then: who becomes ready only because that batch ends is not in it.

    A sequence that sends nothing for ``max_idle_ns`` loses its slot; new ones wait for one.

    This is ``sequence_batching { oldest { } }`` (``OldestSequenceBatch`` of
    ``sequence_batch_scheduler.cc``): ``max_candidate_sequences``, ``preferred_batch_size``,
    ``max_queue_delay_microseconds`` and ``max_sequence_idle_microseconds``.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    max_candidates: int = 0
    preferred_batch_size: IntArray = NO_VALUES
    """int64 (sizes,), in any order."""
    max_idle_ns: int = IDLE_NS

    @property
    def slots(self) -> int:
        """The candidates."""
        return self.max_candidates

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
    ) -> SequenceOldest:
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
        within("max_idle_ns", self.max_idle_ns, 1)
        most = within("max_candidates", self.max_candidates, 0, NEVER - 1)
        return self._replace(
            max_batch_size=largest,
            preferred_batch_size=preferred,
            max_candidates=most or largest,
        )

    def decide(self, view: View) -> int:
        """See the class."""
        due_ns = later(view.oldest_ns[0], self.max_wait_ns)
        most = min(view.waiting[0], self.max_batch_size)
        ahead, request = 0, view.head[0]
        while ahead < most and view.arrival_ns[request] < view.idle_since_ns:
            ahead += 1
            request = view.next[request]
        sizes = self.preferred_batch_size
        formed = preferred(sizes, ahead)
        if ahead > 0 and formed == preferred(sizes, self.max_batch_size):
            formed = ahead  # above the largest preferred size a batch ahead goes on growing
        elif formed == 0 and ahead > 0 and due_ns <= view.idle_since_ns:
            formed = ahead
        if formed == 0 and (self.max_wait_ns == 0 or view.now_ns < due_ns):
            formed = preferred(sizes, most)
        if formed > 0:
            return fire(view, 0, formed)
        if view.now_ns < due_ns:
            return wait_until(due_ns)
        return fire(view, 0, most)


@shared
def preferred(sizes: IntArray, most: int) -> int:
    """The largest preferred size up to ``most``; 0 where there is none."""
    best = 0
    for size in sizes:
        if best < size <= most:
            best = size
    return best
