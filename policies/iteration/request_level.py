"""Batches of whole requests: the baseline that continuous batching is held against."""

from __future__ import annotations

from typing import NamedTuple

from policies.contract import later
from policies.parameters import within

from .contract import (
    NOBODY,
    Engine,
    Tier,
    View,
    admit,
    first_lane,
    iterate,
    pad_sequences,
    pad_tokens,
    remaining,
    wait_until,
)
from .moves import give_or_preempt
from .space import Sequences, TokenSpace, Wait
from .times import StepTimes


class RequestLevel(NamedTuple):
    """Start a batch of requests, and start nobody else before all of it are done.

    A batch starts when ``max_num_seqs`` wait or the oldest has waited ``max_wait_ns``.  ``padded``
    is how frameworks without support for it do it: prompts are filled up to the longest, sequences
    that are done are computed on with the others, and all answers leave together.  Otherwise those
    that are done drop out.  What padding adds to attention, pairs of longer prompts and context of
    sequences filled up from the left, is not counted: padded batches take at least as long.
    """

    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""
    max_wait_ns: int = 0
    padded: bool = True

    @property
    def together(self) -> bool:
        """Whether those who started together leave together."""
        return self.padded

    def bind(self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> RequestLevel:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences)
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(max_num_seqs=most or engine.sequences)

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return (Sequences(low=1), Wait())

    def plan(self, view: View) -> int:
        """Go on with the batch, or start one."""
        if view.running > 0:
            for position in range(view.running):
                request = view.order[position]
                left = remaining(view, request)
                if left > 0 and view.leaves[position] == 0:
                    give_or_preempt(view, position, left, False)
                elif left == 0 and self.padded:
                    pad_sequences(view, 1, view.computed[request])
            return iterate()
        if view.waiting[0] < self.max_num_seqs:
            due_ns = later(view.arrival_ns[view.front[0]], self.max_wait_ns)
            if view.now_ns < due_ns:
                return wait_until(due_ns)
        longest, count, total = 0, 0, 0
        while count < self.max_num_seqs and first_lane(view) != NOBODY:
            tokens = remaining(view, view.front[0])
            if not admit(view, 0, tokens):
                break
            count, total, longest = count + 1, total + tokens, max(longest, tokens)
        if self.padded:
            pad_tokens(view, longest * count - total)
        return iterate()
