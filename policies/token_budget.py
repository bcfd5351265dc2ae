"""A limit on the padded tokens of a batch, so that its time is bounded whatever the lengths."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire, later, wait_until
from .parameters import largest_or, within
from .space import Size, Space, Time, Tokens


class TokenBudget(NamedTuple):
    """Fill a batch until its size times its longest length would exceed ``max_tokens``.

    Requests join in order of arrival.  A batch is full when the next request would exceed the
    budget or ``max_batch_size``; a batch that is not full goes when its oldest request has waited
    ``max_wait_ns``.  A request longer than the budget goes alone.  (Tokens are the unit of the
    profile's lengths; for speech, milliseconds of audio.)
    """

    max_tokens: int
    max_batch_size: int = 0
    max_wait_ns: int = 0

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Tokens("max_tokens"), Size("max_batch_size"), Time("max_wait_ms", zero=True))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> TokenBudget:
        """Check the parameters against the profile's largest batch."""
        within("max_tokens", self.max_tokens, 1)
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def within_memory(self, length: IntArray, most: IntArray) -> TokenBudget:
        """The largest budget with which a batch of each longest length fits."""
        largest = self.max_batch_size or int(most[0])
        largest = min(largest, int(most[0]))
        # A batch of the longest length l has at most max_tokens // l requests.
        budgets = (most + 1) * length - 1
        binding = budgets[most < largest]
        budget = min([self.max_tokens, *binding.tolist()])
        return self._replace(max_tokens=budget, max_batch_size=largest)

    def decide(self, view: View) -> int:
        """Fire a full batch, or what waits when the timer has run out."""
        waiting = view.waiting[0]
        most = min(waiting, self.max_batch_size)
        request = view.head[0]
        longest = int(view.length[request])
        count = 1
        while count < most:
            request = view.next[request]
            longest = max(longest, int(view.length[request]))
            if (count + 1) * longest > self.max_tokens:
                break
            count += 1
        full = count < waiting or count == self.max_batch_size
        due_ns = later(view.oldest_ns[0], self.max_wait_ns)
        if full or (count + 1) * longest > self.max_tokens or view.now_ns >= due_ns:
            return fire(view, 0, count)
        return wait_until(due_ns)
