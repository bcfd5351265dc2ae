"""A token budget, one batch ahead: text-embeddings-inference."""

from __future__ import annotations

from typing import NamedTuple

from .contract import IntArray, Tier, View, fire
from .parameters import largest_or, within
from .space import Size, Space, Tokens


class TokenBudgetAhead(NamedTuple):
    """Fill a batch at once from who waits, up to ``max_tokens``, and the next one while it runs.

    Nobody waits for more to come.  Requests join in order of arrival until the next would exceed
    the budget (size times longest length; the sum of lengths unless ``padded``) or
    ``max_batch_size``; one longer than the budget goes alone.  As soon as a server has taken a
    batch the next is formed of who waits then, be it one request, and sealed: who comes later is in
    the batch after.  So at moderate load a batch of one stands behind every running batch.

    This is text-embeddings-inference (``core/src/queue.rs`` and ``infer.rs``: a channel of one
    place between the batching task and the backend).
    """

    max_tokens: int
    max_batch_size: int = 0
    padded: bool = True

    @property
    def seals(self) -> int:
        """One batch is formed ahead."""
        return 1

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Tokens("max_tokens"), Size("max_batch_size"))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> TokenBudgetAhead:
        """Check the parameters against the profile's largest batch."""
        within("max_tokens", self.max_tokens, 1)
        return self._replace(max_batch_size=largest_or(self.max_batch_size, service_ns))

    def decide(self, view: View) -> int:
        """Fire as many as fit into the budget."""
        most = min(view.waiting[0], self.max_batch_size)
        request = view.head[0]
        longest = total = int(view.length[request])
        count = 1
        while count < most:
            request = view.next[request]
            length = int(view.length[request])
            longest, total = max(longest, length), total + length
            tokens = (count + 1) * longest if self.padded else total
            if tokens > self.max_tokens:
                break
            count += 1
        return fire(view, 0, count)
